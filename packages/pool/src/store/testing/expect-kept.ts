import { expect } from "vitest";
import type { NewCredit, Store } from "../types.ts";
import type { TestDatabase } from "./test-store.ts";

/** What the caller of `credit` was told. */
export type Outcome = "credited" | "already-credited" | "not-written" | "maybe-written";

export async function outcomeOf(credited: Promise<"credited" | "already-credited">): Promise<Outcome> {
  try {
    return await credited;
  } catch (error) {
    const info = error instanceof Error && "info" in error ? error.info : undefined;
    expect(info).toMatchObject({ code: "store/unavailable" });
    return typeof info === "object" && info && "written" in info && info.written === "no"
      ? "not-written"
      : "maybe-written";
  }
}

/** What the database holds, seen without the store. */
export async function booked(
  database: TestDatabase,
): Promise<{ jobs: string[]; facts: number[]; positions: number[] }> {
  const rows = await database.query<{ position: string; type: string; data: { job: string; n: number } }>(
    "select position, type, data from openpool.events order by position",
  );
  return {
    jobs: rows.filter((row) => row.type === "job.credited").map((row) => row.data.job),
    facts: rows.filter((row) => row.type === "fact").map((row) => row.data.n),
    positions: rows.map((row) => Number(row.position)),
  };
}

/** The promise of the whole thing: what was confirmed is there, once; what was denied is not; nothing is there twice. */
export async function expectKept(
  store: Store,
  database: TestDatabase,
  credits: ReadonlyMap<NewCredit, Outcome>,
  facts: readonly number[],
): Promise<void> {
  const found = await booked(database);
  expect(found.positions).toEqual(found.positions.map((_, i) => i + 1));
  const jobs = new Set(found.jobs);
  expect(jobs.size).toBe(found.jobs.length);
  const wrong = [...credits].filter(
    ([{ job }, outcome]) => outcome !== "maybe-written" && jobs.has(job) === (outcome === "not-written"),
  );
  expect(wrong).toEqual([]);
  expect(found.facts.toSorted((a, b) => a - b)).toEqual(facts.toSorted((a, b) => a - b));
  expect(await store.checkTotals()).toEqual([]);
}
