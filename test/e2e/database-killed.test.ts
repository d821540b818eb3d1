import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findCluster } from "../../packages/pool/src/store/postgres-cluster.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { ADA, BOB, creditsOf, pushUnhurried, startStreams, startTestPool, until } from "./pool.ts";

const STREAMS = 8;
const KILLS = 2;
/** Between the segments of a stream. */
const PACE_MS = 30;

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
  const streams = startStreams(STREAMS, (stream, seq) => pushUnhurried(gateway, `stream-${stream}`, seq), PACE_MS);
  try {
    await streams.moreOfAll(3);
    for (let kill = 0; kill < KILLS; kill++) {
      const pid = await postmaster();
      expect(pid).toBeGreaterThan(0);
      process.kill(pid, "SIGKILL");
      await until(async () => (await postmaster()) !== pid, 60_000);
      await streams.moreOfAll(3);
    }
  } finally {
    await streams.stop();
  }
  const { outcomes } = streams;
  expect(outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
  expect(await pool.credited()).toEqual(creditsOf(outcomes.length));
  const { ledger } = pool.running.node.admin;
  // The books follow the log.
  await until(async () => (await ledger?.check(true))?.jobs === outcomes.length, 60_000);
  expect((await ledger?.check(true))?.violations).toEqual([]);
}, 240_000);
