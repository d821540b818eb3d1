import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { GatewayClient } from "@openpool/push";
import { type Behaviour, behaviours, type FakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions, sourceSegment } from "../peers/media.ts";
import { ADA, BOB, EARNED_WEI, push, startTestPool, testClock, type TestPool, until } from "./pool.ts";

let pool: TestPool;
let gateway: GatewayClient;
const transcoders: FakeTranscoder[] = [];
const clock = testClock();
let stream = 0;

beforeAll(async () => {
  pool = await startTestPool({}, { clock });
  gateway = pool.gateway();
});
afterAll(() => pool?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const transcoder of transcoders.splice(0)) await transcoder[Symbol.asyncDispose]();
  await pool.untilConnected(0);
});

async function join(secret: string, behaviour: Behaviour = behaviours.ready(), capacity = 10): Promise<FakeTranscoder> {
  const transcoder = await pool.transcoder({ secret, behaviour, capacity });
  transcoders.push(transcoder);
  await pool.untilConnected(transcoders.filter((one) => one.state.kind === "registered").length);
  return transcoder;
}

/** A stream's name, new for each test, so that no session carries over. */
const name = (): string => `stream-${stream++}`;

describe("a segment", () => {
  test("goes through: the worker's bytes reach the gateway, counted by the pool and credited to the worker", async () => {
    const before = await pool.credited();
    const worker = await join(`${ADA}.rig1`);
    const outcome = await push(gateway, name(), 0);
    expect(outcome.kind).toBe("done");
    if (outcome.kind !== "done") return;
    expect(
      outcome.renditions.map((one) => one.data.equals(readyRenditions[outcome.renditions.indexOf(one)]!.data)),
    ).toEqual([true, true, true]);
    expect(outcome.renditions.map((one) => one.pixels)).toEqual(readyRenditions.map((one) => one.pixels));
    expect(worker.tasks[0]!.source.equals(sourceSegment)).toBe(true);
    expect(await pool.credited()).toEqual({
      segments: before.segments + 1,
      creditedWei: before.creditedWei + EARNED_WEI,
    });
  });

  test("tells the worker neither the stream's name nor the gateway's token", async () => {
    const worker = await join(`${ADA}.rig1`);
    const manifestId = `../../${name()}/ключ`;
    expect((await push(gateway, manifestId, 0)).kind).toBe("done");
    const { segData } = worker.tasks[0]!.notify;
    expect(Buffer.from(segData!.manifestId).toString()).toMatch(/^[0-9a-f]{24}$/);
    expect(segData!.authToken!.token).toHaveLength(0);
    expect([...segData!.hash]).toEqual(Array.from({ length: 32 }, () => 0));
  });

  test("stays with its worker for the whole stream, sent in order or not, or twice", async () => {
    const workers = [await join(`${ADA}.rig1`), await join(`${BOB}.rig1`)];
    const manifestId = name();
    await clock.whileStopped(async () => {
      for (const seq of [5, 6, 4, 4, 9]) expect((await push(gateway, manifestId, seq)).kind).toBe("done");
    });
    expect(workers.map((worker) => worker.tasks.length).sort()).toEqual([0, 5]);
  });

  test("ends its worker's session when the gateway ends the stream", async () => {
    const worker = await join(`${ADA}.rig1`);
    const manifestId = name();
    await push(gateway, manifestId, 0);
    await gateway.endStream(manifestId);
    await worker.until((one) => one.teardowns.includes(worker.tasks[0]!.sessionId));
  });

  test("damaged beyond use is answered at once with a text that costs the gateway nothing", async () => {
    await join(`${ADA}.rig1`, behaviours.hang());
    const outcome = await gateway.pushSegment({
      manifestId: name(),
      seq: 0,
      data: Buffer.from("<html>not a video</html>".repeat(100)),
      durationMs: 2_000,
      profiles: readyProfiles,
      container: "mpegts",
    });
    expect(outcome).toMatchObject({ kind: "failed", text: "TranscoderInvalidVideo" });
  });
});

/** Every way in which a worker can fail while it has a task. */
const failures: readonly (readonly [string, () => Behaviour])[] = [
  ["dies with its task", () => behaviours.die()],
  ["dies with its connection reset", () => behaviours.die("reset")],
  ["reports an error", () => behaviours.error("out of memory")],
  ["cannot fetch the source", () => behaviours.error("404 Not Found")],
  ["is busy", () => behaviours.error("TranscoderBusy")],
  ["makes too few renditions", () => behaviours.tooFew()],
  ["makes too many renditions", () => behaviours.tooMany()],
  ["makes none", () => behaviours.noParts()],
  ["uploads empty renditions", () => behaviours.emptyPart()],
  ["uploads a web page", () => behaviours.html()],
  ["uploads the renditions in the wrong order", () => behaviours.shuffled()],
  ["uploads half of each rendition", () => behaviours.truncated()],
  ["answers a task that does not exist", () => behaviours.unknownTask()],
  ["never answers", () => behaviours.hang()],
];

describe("a gateway does not notice that a worker", () => {
  test.each(failures)("%s", async (_, failing) => {
    const before = await pool.credited();
    // The failing one is alone at first, so that it is sure to get the task.
    const bad = await join(
      `${BOB}.bad`,
      behaviours.when(() => joined, failing()),
    );
    let release = (): void => {};
    const joined = new Promise<void>((resolve) => (release = resolve));
    const answered = push(gateway, name(), 0);
    await bad.until((one) => one.tasks.length === 1 || one.state.kind !== "registered");
    const good = await join(`${ADA}.good`);
    release();
    expect((await answered).kind).toBe("done");
    expect(good.tasks).toHaveLength(1);
    expect(await pool.credited()).toEqual({
      segments: before.segments + 1,
      creditedWei: before.creditedWei + EARNED_WEI,
    });
  });

  test("loses its stream with the result still to come: the late result counts", async () => {
    await join(`${ADA}.rig1`, behaviours.loseStream());
    expect((await push(gateway, name(), 0)).kind).toBe("done");
  });
});

describe("what a worker says", () => {
  test("about its pixels is recorded, and the pool's own count is what is answered and paid", async () => {
    const before = await pool.credited();
    await join(`${ADA}.liar`, behaviours.claim({ times: 10n }));
    const outcome = await push(gateway, name(), 0);
    expect(outcome.kind === "done" && outcome.renditions.map((one) => one.pixels)).toEqual(
      readyRenditions.map((one) => one.pixels),
    );
    expect((await pool.credited()).creditedWei - before.creditedWei).toBe(EARNED_WEI);
    await until(async () => (await pool.events("claim.differed")).some((event) => event.data["degree"] === "lies"));
  });

  test("twice is paid once", async () => {
    const before = await pool.credited();
    const worker = await join(`${ADA}.rig1`, behaviours.twice());
    expect((await push(gateway, name(), 0)).kind).toBe("done");
    await worker.until((one) => one.uploads.length === 2);
    expect((await pool.credited()).segments - before.segments).toBe(1);
  });

  test("for another worker's task is refused and recorded", async () => {
    const owner = await join(`${ADA}.owner`, behaviours.hang());
    const thief = await join(`${BOB}.thief`, behaviours.hang());
    const answered = push(gateway, name(), 0);
    await until(() => owner.tasks.length + thief.tasks.length > 0);
    const [holder, other] = owner.tasks.length > 0 ? [owner, thief] : [thief, owner];
    const task = holder.tasks[0]!;
    const ready = await behaviours.ready()(task, holder);
    expect((await other.upload(task.taskId, ready!)).status).toBe(403);
    await until(async () =>
      (await pool.events("result.refused")).some((event) => /another rig/.test(String(event.data["why"]))),
    );
    expect((await holder.upload(task.taskId, ready!)).status).toBe(200);
    expect((await answered).kind).toBe("done");
  });
});

test("two different workers that fail alike end the job early: it is the input", async () => {
  const text = "Invalid data found when processing input";
  await join(`${ADA}.rig1`, behaviours.error(text));
  await join(`${BOB}.rig1`, behaviours.error(text));
  expect(await push(gateway, name(), 0)).toMatchObject({ kind: "failed", text: "TranscoderInvalidVideo" });
});

test("a gateway that leaves costs no worker any more", async () => {
  const worker = await join(`${ADA}.rig1`, behaviours.hang());
  const before = pool.running.node.admin.status().bytesInFlight;
  const leaving = new AbortController();
  const answered = gateway.pushSegment({
    manifestId: name(),
    seq: 0,
    data: sourceSegment,
    durationMs: 2_000,
    profiles: readyProfiles,
    container: "mpegts",
    signal: leaving.signal,
  });
  await worker.until((one) => one.tasks.length === 1);
  expect(pool.running.node.admin.status().jobsInFlight).toBe(1);
  leaving.abort();
  await expect(answered).rejects.toThrow();
  await until(() => pool.running.node.admin.status().jobsInFlight === 0);
  await until(() => pool.running.node.admin.status().bytesInFlight === before);
});

test("a pool without room says so before the gateway has anything to lose", async () => {
  const outcome = await push(pool.gateway(), name(), 0);
  expect(outcome).toMatchObject({ kind: "no-session", text: "Invalid orchestrator request: OrchestratorCapped" });
});
