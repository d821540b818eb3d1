import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCode, silentLogger, systemClock } from "@openpool/base";
import { defaultWorkerOptions, startWorker, type Worker } from "@openpool/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readyProfiles, SOURCE_DURATION_MS, sourceSegment } from "../peers/media.ts";
import { ADA, BOB, push, pushUnhurried, startTestPool, type TestPool, UNHURRIED_MS, until } from "./pool.ts";

let pool: TestPool;
let workDir: string;
let worker: Worker;

beforeAll(async () => {
  pool = await startTestPool();
  workDir = await mkdtemp(join(tmpdir(), "openpool-cancelled-"));
  worker = await startWorker(
    {
      ...defaultWorkerOptions,
      pool: pool.addr,
      secret: `${ADA}.ours`,
      devices: "cpu",
      maxSessions: 2,
      workDir,
      transcodeTimeoutMs: 600_000,
    },
    { version: "0.1.0", logger: silentLogger, clock: systemClock },
  );
  await pool.untilConnected(1, 60_000);
}, 240_000);
afterAll(async () => {
  for (const pid of await encoders()) signal(pid, "SIGCONT");
  await worker?.[Symbol.asyncDispose]();
  await pool?.[Symbol.asyncDispose]();
  await rm(workDir, { recursive: true, force: true });
});

/** The FFmpeg processes of the worker: children of this process. */
async function encoders(): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")));
  return stats.flatMap((stat) => {
    const [, pid, state, parent] = /^(\d+) \(ffmpeg\) (\w) (\d+) /.exec(stat) ?? [];
    return Number(parent) === process.pid && state !== "Z" ? [Number(pid)] : [];
  });
}

/** False: it is gone already. */
function signal(pid: number, what: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, what);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return false;
    throw error;
  }
}

/** Waits until the worker has so many tasks, and stops their FFmpeg processes: none of them comes to its end by itself. */
async function freeze(tasks: number): Promise<number[]> {
  let pids: number[] = [];
  await until(async () => {
    if (worker.status().segmentsInFlight !== tasks) return false;
    pids = (await encoders()).filter((pid) => signal(pid, "SIGSTOP"));
    return pids.length > 0;
  });
  return pids;
}

async function untilGone(pids: readonly number[]): Promise<void> {
  await until(async () => !(await encoders()).some((pid) => pids.includes(pid)));
  await until(() => worker.status().segmentsInFlight === 0);
}

test("a gateway that leaves in the middle of a segment costs our worker nothing from then on, and its stream stays there", async () => {
  const gateway = pool.gateway();
  for (const seq of [0, 1]) {
    const leaving = new AbortController();
    const pushed = gateway.pushSegment({
      manifestId: "left",
      seq,
      data: sourceSegment,
      durationMs: UNHURRIED_MS,
      profiles: readyProfiles,
      container: "mpegts",
      signal: leaving.signal,
    });
    const gone = expect(pushed).rejects.toThrow();
    const pids = await freeze(1);
    leaving.abort();
    await gone;
    await untilGone(pids);
  }
  expect(await pushUnhurried(gateway, "left", 2)).toMatchObject({ kind: "done" });
  expect(worker.status()).toMatchObject({ segmentsDone: 1 });
  // What ends by itself now is nothing that the next test could stop.
  await until(async () => (await encoders()).length === 0);
}, 240_000);

test("a worker of ours that was too slow, so that another one was first, stops what nobody wants any more", async () => {
  const gateway = pool.gateway();
  const late = push(gateway, "slow", 0, 4 * SOURCE_DURATION_MS);
  const pids = await freeze(1);
  const heir = await pool.transcoder({ secret: `${BOB}.heir` });
  expect(await late).toMatchObject({ kind: "done" });
  expect(heir.tasks).toHaveLength(1);
  await untilGone(pids);
}, 240_000);
