import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { findCluster } from "../../packages/pool/src/store/postgres-cluster.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { ADA, BOB, EARNED_WEI, pushUnhurried, startTestPool, until } from "./pool.ts";

const STREAMS = 8;
const KILLS = 2;

test("Postgres is killed while eight streams run: every segment is answered, each is credited once, and the books are right", async () => {
  await using pool = await startTestPool();
  const cluster = await findCluster(pool.dataDir);
  const postmaster = async (): Promise<number> =>
    Number((await readFile(join(cluster ?? "", "postmaster.pid"), "utf8").catch(() => "0")).split("\n")[0]);
  for (const secret of [`${ADA}.one`, `${BOB}.two`]) {
    await pool.transcoder({ secret, capacity: STREAMS, behaviour: behaviours.after(30) });
  }
  await pool.untilConnected(2);
  const gateway = pool.gateway();
  const outcomes: string[] = [];
  let running = true;
  const streams = Promise.all(
    Array.from({ length: STREAMS }, async (_, stream) => {
      for (let seq = 0; running; seq++) {
        const outcome = await pushUnhurried(gateway, `stream-${stream}`, seq);
        outcomes.push(outcome.kind === "done" ? "done" : JSON.stringify(outcome));
        await sleep(30);
      }
    }),
  );
  /** Every stream has had some more segments. */
  const moreOfAll = async (): Promise<void> => {
    const before = outcomes.length;
    await until(() => outcomes.length >= before + 3 * STREAMS, 60_000);
  };
  try {
    await moreOfAll();
    for (let kill = 0; kill < KILLS; kill++) {
      const pid = await postmaster();
      expect(pid).toBeGreaterThan(0);
      process.kill(pid, "SIGKILL");
      await until(async () => (await postmaster()) !== pid, 60_000);
      await moreOfAll();
    }
  } finally {
    running = false;
    await streams;
  }
  expect(outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
  expect(await pool.credited()).toEqual({
    segments: outcomes.length,
    creditedWei: BigInt(outcomes.length) * EARNED_WEI,
  });
  const { ledger } = pool.running.node.admin;
  // The books follow the log.
  await until(async () => (await ledger?.check(true))?.jobs === outcomes.length, 60_000);
  expect((await ledger?.check(true))?.violations).toEqual([]);
}, 240_000);
