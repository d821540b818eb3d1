import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import type { GatewayClient } from "@openpool/push";
import { defaultWorkerOptions, startWorker } from "@openpool/worker";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Behaviour, behaviours, type FakeTranscoder } from "../peers/fake-transcoder.ts";
import { ADA, BOB, pushUnhurried, startTestPool, type TestPool, until } from "./pool.ts";

let pool: TestPool;
let gateway: GatewayClient;
const joined: FakeTranscoder[] = [];
let stream = 0;

beforeAll(async () => {
  pool = await startTestPool();
  gateway = pool.gateway();
});
afterAll(() => pool?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const one of joined.splice(0)) await one[Symbol.asyncDispose]();
  await pool.untilConnected(0);
});

const rigOf = (name: string) => pool.running.node.admin.status().rigs.find(({ rig }) => rig === name);
const name = (): string => `drained-${stream++}`;

async function join(rig: string, behaviour: Behaviour = behaviours.ready(), worker = BOB): Promise<FakeTranscoder> {
  const one = await pool.transcoder({ secret: `${worker}.${rig}`, behaviour });
  joined.push(one);
  await until(() => rigOf(rig)?.connections === 1);
  return one;
}

/** A worker that holds its task until it is told to go on. */
async function holding(rig: string): Promise<{ readonly worker: FakeTranscoder; goOn(): void }> {
  let goOn = (): void => {};
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  const worker = await join(
    rig,
    behaviours.when(() => gate),
  );
  return { worker, goOn };
}

describe("a worker that cancels its registration and keeps its connection", () => {
  test("finishes what it has and gets nothing more; nobody does its work a second time, and it is let go then", async () => {
    const { worker: leaving, goOn } = await holding("leaving");
    const manifestId = name();
    const first = pushUnhurried(gateway, manifestId, 0);
    await leaving.until((one) => one.tasks.length === 1);
    const other = await join("other", behaviours.ready(), ADA);
    leaving.leave();
    await until(() => rigOf("leaving")?.state === "draining");
    // The stream goes on elsewhere, with its first segment still in the hands of who leaves.
    for (const seq of [1, 2, 3]) expect((await pushUnhurried(gateway, manifestId, seq)).kind).toBe("done");
    expect(rigOf("leaving")).toMatchObject({ connections: 1, jobsInFlight: 1 });
    goOn();
    expect((await first).kind).toBe("done");
    expect(leaving.uploads.map(({ status }) => status)).toEqual([200]);
    expect([leaving.tasks.length, other.tasks.length]).toEqual([1, 3]);
    // Its connection is still there; it is no rig any more.
    await until(() => rigOf("leaving")?.connections === 0);
    expect(rigOf("leaving")).toMatchObject({ state: "gone", standing: "new", jobsInFlight: 0 });
    await until(async () => (await pool.events("rig.left")).at(-1)?.data["why"] === "it has finished what it had");
  });

  test("without work is let go at once", async () => {
    const idle = await join("idle");
    idle.leave();
    await until(() => rigOf("idle")?.connections === 0);
  });

  test("and dies then after all loses nothing: its work starts again elsewhere", async () => {
    const { worker: dying } = await holding("dying");
    const first = pushUnhurried(gateway, name(), 0);
    await dying.until((one) => one.tasks.length === 1);
    const other = await join("other", behaviours.ready(), ADA);
    dying.leave();
    await until(() => rigOf("dying")?.state === "draining");
    dying.kill("reset");
    expect((await first).kind).toBe("done");
    expect(other.tasks).toHaveLength(1);
  });
});

test("a worker of ours that drains under load does all of what it has itself", async () => {
  // A pool that knows no times yet: beside answers that were ready before, honest work is late at once.
  await using fresh = await startTestPool();
  const connected = (): number => fresh.running.node.admin.status().rigs.filter((rig) => rig.connections > 0).length;
  const workDir = await mkdtemp(joinPath(tmpdir(), "openpool-drain-"));
  const worker = await startWorker(
    {
      ...defaultWorkerOptions,
      pool: fresh.addr,
      secret: `${BOB}.ours`,
      devices: "cpu",
      maxSessions: 4,
      workDir,
      transcodeTimeoutMs: 60_000,
    },
    { version: "0.1.0", logger: silentLogger, clock: systemClock },
  );
  try {
    await until(() => connected() === 1, 30_000);
    const sender = fresh.gateway();
    const pushed = Array.from({ length: 3 }, () => pushUnhurried(sender, name(), 0));
    // All are its own by now; the quickest may be done already.
    await until(() => worker.status().segmentsInFlight + worker.status().segmentsDone === 3, 30_000);
    const other = await fresh.transcoder({ secret: `${ADA}.other` });
    await until(() => connected() === 2);
    const drained = worker.drain();
    expect((await Promise.all(pushed)).map(({ kind }) => kind)).toEqual(["done", "done", "done"]);
    await drained;
    expect({ ours: worker.status().segmentsDone, others: other.tasks.length }).toEqual({ ours: 3, others: 0 });
  } finally {
    await worker[Symbol.asyncDispose]();
    await rm(workDir, { recursive: true, force: true });
  }
}, 90_000);
