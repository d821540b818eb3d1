import { expect, test, vi } from "vitest";
import { expectKept, type Outcome, outcomeOf } from "./testing/expect-kept.ts";
import { ada, creditOf } from "./testing/sample-credit.ts";
import { openTestStore, testPostgres } from "./testing/test-store.ts";
import type { NewCredit } from "./types.ts";

test("killing Postgres under load loses no confirmed credit and doubles none", async () => {
  const postgres = await testPostgres();
  await using store = await openTestStore();
  const credits = new Map<NewCredit, Outcome>();
  const stop = new AbortController();
  const lanes = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const credit = creditOf(ada, "one", BigInt(credits.size + 1));
      credits.set(credit, "maybe-written");
      credits.set(credit, await outcomeOf(store.credit(credit)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  for (let kill = 1; kill <= 2; kill++) {
    const before = credits.size;
    await vi.waitFor(() => expect(credits.size).toBeGreaterThan(before + 50), { timeout: 20_000, interval: 5 });
    const { restarts } = postgres;
    process.kill(postgres.pid ?? 0, "SIGKILL");
    await vi.waitFor(() => expect(store.writable).toBe(false), { timeout: 20_000, interval: 1 });
    await vi.waitFor(() => expect([postgres.restarts, store.writable]).toEqual([restarts + 1, true]), {
      timeout: 20_000,
      interval: 5,
    });
  }
  stop.abort();
  await Promise.all(lanes);
  expect(new Set(credits.values())).toEqual(new Set(["credited"]));
  await expectKept(store, store.database, credits, []);
}, 60_000);
