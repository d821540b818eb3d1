import { writeFile } from "node:fs/promises";
import { DEFAULT_CAPABILITIES, SESSION_IDLE_MS } from "@openpool/protocol";
import { openGatewayClient } from "@openpool/push";
import { silentLogger } from "@openpool/base";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ADA, BOB, EARNED_WEI, pushUnhurried, testClock, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload, SOFTWARE_CAPABILITIES } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions, SOURCE_DURATION_MS, SOURCE_PIXELS } from "../peers/media.ts";
import { patientClock } from "../peers/patient-clock.ts";
import type { Transcoded } from "../peers/stock-orchestrator.ts";
import { type AttachedPool, SECRET, startAttachedPool } from "./pool.ts";

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

/** It waits longer for a task than a stock one, which says so as well: this machine may stand still for seconds. */
const PATIENCE = 4;
const clock = testClock();
let attached: AttachedPool;
let workers: FakeTranscoder[] = [];
let sessions = 0;

beforeAll(async () => {
  attached = await startAttachedPool({ orchestrator: { price: "1200", timeoutScale: PATIENCE }, clock });
  while (workers.length < 2) await joinHome();
});
afterAll(() => attached[Symbol.asyncDispose]());
beforeEach(async () => {
  behave(readyUpload);
  await registeredWith(8);
});
afterEach(async () => {
  // Whoever was killed or came for one test only makes place for the two that all of them have.
  for (const one of workers.splice(0)) {
    if (one.state.kind === "registered" && home.has(one)) workers.push(one);
    else {
      home.delete(one);
      await one[Symbol.asyncDispose]();
    }
  }
  while (workers.length < 2) await joinHome();
  for (const one of used.splice(0)) {
    attached.orchestrator.endSession(one);
    attached.second.endSession(one);
  }
  outlast();
  const { ejected, unauthorized, broken, unknownResults, duplicateResults } = attached.orchestrator.complaints;
  expect({ ejected, unauthorized, broken, unknownResults, duplicateResults }).toEqual({
    ejected: 0,
    unauthorized: 0,
    broken: 0,
    unknownResults: 0,
    duplicateResults: 0,
  });
});

const HEVC_DECODE = 1n << 15n;
const home = new Set<FakeTranscoder>();
const used: string[] = [];
let homes = 0;
const joinHome = async (): Promise<void> => {
  const worker = await join(`rig${++homes}`, homes % 2 ? ADA : BOB);
  home.add(worker);
  workers.push(worker);
};
const join = (rig: string, owner = ADA, capacity = 4): Promise<FakeTranscoder> =>
  attached.pool.transcoder({ secret: `${owner}.${rig}`, capacity });
/** One place is kept free for the gateways, and one for the second orchestrator while it is there. */
const KEPT = 2;
const offered = (): number => attached.orchestrator.live.reduce((sum, one) => sum + one.capacity, 0);
/** Workers of that capacity are offered to the first orchestrator, by one registration unless more are said, and the second has one. */
const registeredWith = async (capacity: number, registrations = 1): Promise<void> => {
  const { orchestrator, second } = attached;
  const fits = (): boolean => offered() >= capacity - KEPT && offered() <= capacity;
  await until(() => orchestrator.live.length === registrations && fits() && second.live.length > 0);
};
/** An orchestrator ends no session on a registration that was made anew meanwhile: such ones idle out, now. */
const outlast = (): void => clock.skip(SESSION_IDLE_MS + 1_000);
const session = (): string => {
  const id = (++sessions).toString(16).padStart(8, "0");
  used.push(id);
  return id;
};
const transcode = (
  order: Partial<Parameters<AttachedPool["orchestrator"]["transcode"]>[0]> = {},
): Promise<Transcoded> =>
  attached.orchestrator.transcode({ session: session(), seq: 0, durationMs: UNHURRIED_MS, ...order });
/** So many segments are with workers and not answered; one that two workers have counts once. */
const untilWorking = (segments: number): Promise<void> =>
  until(() => {
    const inHand = workers.flatMap((one) => [...one.inHand]);
    return new Set(inHand.map(({ manifestId, seq }) => `${manifestId} ${seq}`)).size >= segments;
  });
const behave = (behaviour: FakeTranscoder["behaviour"]): void => {
  for (const worker of workers) worker.behaviour = behaviour;
};
const lastCredit = async (): Promise<Readonly<Record<string, unknown>>> =>
  (await attached.pool.events("job.credited")).at(-1)?.data ?? {};

describe("a task", () => {
  test("is done by a worker, answered with what was measured, and credited", async () => {
    const before = (await attached.pool.credited()).segments;
    const done = await transcode();
    expect(done).toMatchObject({ kind: "done", decodedPixels: Number(SOURCE_PIXELS) });
    if (done.kind !== "done") return;
    expect(done.renditions.map(({ pixels }) => BigInt(pixels))).toEqual(readyRenditions.map(({ pixels }) => pixels));
    expect(done.renditions.every(({ data }, i) => readyRenditions[i]?.data.equals(data))).toBe(true);
    expect((await attached.pool.credited()).segments).toBe(before + 1);
    expect(await lastCredit()).toMatchObject({ source: "upstream:main" });
  });

  test("has the id 0 first, and is answered like any other", async () => {
    expect(attached.orchestrator.results.some(({ taskId }) => taskId === "0")).toBe(true);
  });

  test("is fetched over HTTP/1.1 without ALPN and answered over HTTP/2 with the secret", async () => {
    await transcode();
    expect(new Set(attached.orchestrator.sourceRequests.map(({ httpVersion }) => httpVersion))).toEqual(
      new Set(["1.1"]),
    );
    expect(attached.orchestrator.results.at(-1)?.headers).toMatchObject({
      authorization: "Livepeer-Transcoder-1.0",
      credentials: SECRET,
      pixels: String(SOURCE_PIXELS),
    });
  });

  test("reaches the worker with everything that its gateway asked for, under a name that says nothing", async () => {
    await transcode({
      manifestId: "../stream key",
      seq: 7,
      segData: {
        calcPerceptualHash: true,
        ForceSessionReinit: true,
        segmentParameters: { $typeName: "net.SegParameters", from: 0n, to: 2_000n },
      },
    });
    const task = workers.flatMap(({ tasks }) => tasks).find(({ seq }) => seq === 7n);
    expect(task?.notify.segData).toMatchObject({
      seq: 7n,
      duration: UNHURRIED_MS,
      calcPerceptualHash: true,
      ForceSessionReinit: true,
      segmentParameters: { from: 0n, to: 2_000n },
    });
    expect(task?.profiles.map(({ name }) => name)).toEqual(readyProfiles.map(({ name }) => name));
    expect(task?.manifestId).not.toContain("stream key");
  });

  test("comes back with its perceptual hashes, each behind its rendition", async () => {
    const done = await transcode({ segData: { calcPerceptualHash: true } });
    expect(done.kind === "done" && done.renditions.map(({ phash }) => phash?.toString())).toEqual([
      "signature",
      "signature",
      "signature",
    ]);
  });

  test("is paid by what was measured when its worker claims more", async () => {
    behave(behaviours.claim({ times: 10n }));
    const done = await transcode();
    expect(done.kind === "done" && done.renditions.map(({ pixels }) => BigInt(pixels))).toEqual(
      readyRenditions.map(({ pixels }) => pixels),
    );
  });

  test("goes to another worker when the first dies in the middle of it", async () => {
    let died = false;
    behave((task, worker) => {
      if (died) return readyUpload(task);
      died = true;
      worker.kill();
      return undefined;
    });
    expect(await transcode()).toMatchObject({ kind: "done" });
    expect(died).toBe(true);
  });

  test("that no worker can do fails with the words that they agree on", async () => {
    behave(behaviours.error("No keyframes in input"));
    expect(await transcode()).toMatchObject({ kind: "error", text: "No keyframes in input" });
  });

  test("that nobody answers is answered with an error before the orchestrator gives the pool up", async () => {
    behave(behaviours.hang());
    const lost = await transcode({ durationMs: SOURCE_DURATION_MS });
    expect(lost).toMatchObject({ kind: "error", text: "TranscoderInvalidVideo" });
    expect(attached.orchestrator.live).toHaveLength(1);
    await until(async () =>
      (await attached.pool.events("job.failed")).some(({ data }) => String(data["reason"]).includes("in time")),
    );
  });

  test("that never became a job is on record with its reason, as any other that was answered with an error", async () => {
    const before = (await attached.pool.events("job.failed")).length;
    attached.orchestrator.source = (response) => {
      response.writeHead(403).end();
      return true;
    };
    await transcode({ seq: 3 });
    attached.orchestrator.source = undefined;
    await transcode({ url: "https://store.example/source.ts" });
    await transcode({ profiles: [] });
    await until(async () => (await attached.pool.events("job.failed")).length === before + 3);
    const recorded = (await attached.pool.events("job.failed")).slice(before).map(({ data }) => data);
    expect(recorded).toMatchObject([
      { source: "upstream:main", seq: "3", text: "TranscoderInvalidVideo", reason: expect.stringContaining("403") },
      { source: "upstream:main", text: "TranscoderInvalidVideo", reason: expect.stringContaining("store.example") },
      { source: "upstream:main", text: "Invalid argument", reason: expect.stringContaining("nobody can do") },
    ]);
    expect(recorded.some((one) => "job" in one)).toBe(false);
  });

  test("with a wish that no encoder fulfils is refused in a transcoder's words, and no worker is blamed", async () => {
    const impossible = [{ ...readyProfiles[0]!, width: 30_000 }];
    const before = workers.reduce((sum, { tasks }) => sum + tasks.length, 0);
    expect(await transcode({ profiles: impossible })).toMatchObject({ text: "TranscoderInvalidResolution" });
    expect(await transcode({ profiles: [] })).toMatchObject({ text: "Invalid argument" });
    expect(await transcode({ segData: { duration: 400_000 } })).toMatchObject({ text: "invalid duration" });
    expect(workers.reduce((sum, { tasks }) => sum + tasks.length, 0)).toBe(before);
  });
});

describe("a stream", () => {
  test("stays on its worker, also when its gateway takes a new token, and frees it when it ends", async () => {
    const [first, next] = [session(), session()];
    const manifestId = "a stream";
    const before = workers.map(({ tasks }) => tasks.length);
    await clock.whileStopped(async () => {
      await transcode({ session: first, manifestId, seq: 0 });
      await transcode({ session: first, manifestId, seq: 1 });
      await transcode({ session: next, manifestId, seq: 2 });
    });
    const mine = workers.map(({ tasks }, i) => tasks.slice(before[i])).filter((tasks) => tasks.length > 0);
    expect(mine.map((tasks) => tasks.map(({ seq }) => seq))).toEqual([[0n, 1n, 2n]]);
    const [sessionId, ...others] = new Set(mine.flat().map((task) => task.sessionId));
    expect(others).toEqual([]);
    attached.orchestrator.endSession(first);
    attached.orchestrator.endSession(next);
    await until(() => workers.some(({ teardowns }) => teardowns.at(-1) === sessionId));
  });

  test("is another one when two gateways use one name", async () => {
    const [one, other] = [session(), session()];
    const before = new Set(workers.flatMap(({ tasks }) => tasks.map(({ sessionId }) => sessionId))).size;
    await transcode({ session: one, manifestId: "live", seq: 0 });
    await transcode({ session: other, manifestId: "live", seq: 0 });
    const ids = workers.flatMap(({ tasks }) => tasks.map(({ sessionId }) => sessionId));
    expect(new Set(ids).size).toBe(before + 2);
  });
});

describe("the registration", () => {
  test("says what the workers can do: their capacity, their capabilities, a version", async () => {
    const [{ request } = { request: undefined }] = attached.orchestrator.live;
    expect(request).toMatchObject({
      secret: SECRET,
      capacity: BigInt(8 - KEPT),
      capabilities: { version: "0.9.1", constraints: {} },
    });
    // What a stock worker says of AI is not ours to promise: we register as a transcoder.
    expect(attached.orchestrator.live[0]?.capabilities).toBe(SOFTWARE_CAPABILITIES & ((1n << 27n) - 1n));
    expect((SOFTWARE_CAPABILITIES & DEFAULT_CAPABILITIES) === DEFAULT_CAPABILITIES).toBe(true);
  });

  test("is one more for the workers that come while others work, and one for all when nothing runs", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    behave(behaviours.when(() => gate));
    const [first] = attached.orchestrator.live;
    const one = session();
    const running = transcode({ session: one });
    await untilWorking(1);
    const before = attached.orchestrator.transcoders.length;
    workers.push(await join("rig3", ADA, 12));
    await registeredWith(20, 2);
    expect(attached.orchestrator.transcoders.length).toBe(before + 1);
    await until(() => attached.status().capacity === offered());
    release();
    expect(await running).toMatchObject({ kind: "done" });
    expect(first).toMatchObject({ live: true, load: 1 });
    attached.orchestrator.endSession(one);
    await registeredWith(20);
    expect(await transcode()).toMatchObject({ kind: "done" });
    // Whatever was opened and left meanwhile, to the operator it was one registration all the time.
    expect(attached.status().state).toBe("registered");
  });

  test("is one more for a worker with more capabilities, with the places that it has, and leaves with it", async () => {
    const [first] = attached.orchestrator.live;
    const hevc = await attached.pool.transcoder({
      secret: `${ADA}.hevc`,
      capacity: 1,
      capabilities: SOFTWARE_CAPABILITIES | HEVC_DECODE,
    });
    workers.push(hevc);
    await registeredWith(9, 2);
    expect(attached.orchestrator.live.find(({ capabilities }) => capabilities & HEVC_DECODE)).toMatchObject({
      capacity: 1,
    });
    expect(first).toMatchObject({ live: true });
    const [one, other] = [session(), session()];
    expect(await transcode({ session: one, capabilities: 0x4009003n })).toMatchObject({ kind: "done" });
    // There is one such worker: for a second stream of that kind there is nobody, and the orchestrator knows.
    expect(await transcode({ session: other, capabilities: 0x4009003n })).toMatchObject({
      text: "no transcoders available",
    });
    expect(hevc.tasks).toHaveLength(1);
    attached.orchestrator.endSession(one);
  });

  test("never adds up what different workers can do: a job that none of them can do alone is not given to the pool", async () => {
    for (const one of workers.splice(0)) await one[Symbol.asyncDispose]();
    const older = await attached.pool.transcoder({
      secret: `${ADA}.older`,
      capacity: 4,
      version: "0.8.8",
      capabilities: SOFTWARE_CAPABILITIES | HEVC_DECODE,
    });
    const newer = await attached.pool.transcoder({ secret: `${BOB}.newer`, capacity: 4 });
    workers.push(older, newer);
    await registeredWith(8, 2);
    const hevc = { capabilities: 0x4009003n };
    const text = "no transcoders can provide requested capabilities";
    expect(await transcode({ ...hevc, minVersion: "0.9.1" })).toMatchObject({ kind: "error", text });
    expect([older.tasks.length, newer.tasks.length]).toEqual([0, 0]);
    expect(await transcode(hevc)).toMatchObject({ kind: "done" });
    expect([older.tasks.length, newer.tasks.length]).toEqual([1, 0]);
    expect(await transcode({ minVersion: "0.9.1" })).toMatchObject({ kind: "done" });
    expect([older.tasks.length, newer.tasks.length]).toEqual([1, 1]);
  });

  test("announces the version of the workers that it stands for, and work that asks for more is not given to it", async () => {
    for (const one of workers.splice(0)) await one[Symbol.asyncDispose]();
    const old = await attached.pool.transcoder({ secret: `${ADA}.fork`, capacity: 4, version: "0.8.8" });
    workers.push(old);
    await until(() => attached.orchestrator.live.length === 1 && attached.orchestrator.live[0]?.version === "0.8.8");
    const text = "no transcoders can provide requested capabilities";
    expect(await transcode({ minVersion: "0.9.1" })).toMatchObject({ kind: "error", text });
    expect(await transcode({ minVersion: "0.8.0" })).toMatchObject({ kind: "done" });
    const newer = await attached.pool.transcoder({ secret: `${BOB}.new`, capacity: 4 });
    workers.push(newer);
    await until(() => attached.orchestrator.live.some(({ version }) => version === "0.9.1"));
    expect(attached.orchestrator.live.some(({ version }) => version === "0.8.8")).toBe(true);
    expect(await transcode({ minVersion: "0.9.1" })).toMatchObject({ kind: "done" });
    expect(newer.tasks.length).toBe(1);
    expect(old.tasks.length).toBe(1);
  });

  test("ends when the last worker has left, and comes back with the next one", async () => {
    for (const one of workers.splice(0)) await one[Symbol.asyncDispose]();
    await until(() => {
      clock.skip(1_000);
      return attached.orchestrator.live.length === 0;
    });
    expect(attached.status()).toMatchObject({ state: "idle", capacity: 0 });
    expect(await transcode()).toMatchObject({ kind: "error", text: "no transcoders available" });
    while (workers.length < 2) await joinHome();
    await registeredWith(8);
  });

  test("comes back after it was lost", async () => {
    const before = attached.orchestrator.transcoders.length;
    attached.orchestrator.live[0]?.drop();
    await until(() => attached.orchestrator.transcoders.length > before && attached.orchestrator.live.length === 1);
    expect(await transcode()).toMatchObject({ kind: "done" });
  });

  test("comes back when the orchestrator was restarted, and answers of its life before are not taken for new ones", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    behave(behaviours.when(() => gate));
    const old = [transcode(), transcode(), transcode()];
    await untilWorking(3);
    const { lost } = attached.status();
    await attached.orchestrator.restart();
    for (const one of old) expect(await one).toMatchObject({ kind: "error" });
    await registeredWith(8);
    const fresh = [transcode(), transcode()];
    release();
    for (const one of fresh) expect(await one).toMatchObject({ kind: "done" });
    // Ids begin at 0 again; only the new tasks were answered.
    expect((await Promise.all(fresh)).map(({ taskId }) => taskId)).toEqual([0, 1]);
    expect(attached.status().lost).toBe(lost + 3);
    const why = "the orchestrator was restarted, its tasks are gone";
    expect((await attached.pool.events("upstream.answer-lost")).at(-1)?.data).toMatchObject({ why, tasks: 3 });
  });

  test("is refused with a secret that has changed, and made as soon as the file is corrected, in whatever letters", async () => {
    attached.orchestrator.secret = "geändert";
    await attached.orchestrator.restart();
    await until(() => attached.status().state === "refused");
    expect(attached.status().why).toContain("invalid secret");
    await writeFile(attached.secretFile, `main=geändert\nsecond=${SECRET}2\n`);
    await registeredWith(8);
    expect(await transcode()).toMatchObject({ kind: "done" });
    attached.orchestrator.secret = SECRET;
    await writeFile(attached.secretFile, `main=${SECRET}\nsecond=${SECRET}2\n`);
    await attached.orchestrator.restart();
    await registeredWith(8);
  });

  test("ends while the operator takes the pool out, running work is answered, and the others go on", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    behave(behaviours.when(() => gate));
    const running = transcode();
    await untilWorking(1);
    const { admin } = attached.pool.running.node;
    await admin.setUpstreamDrained("main", true);
    await until(() => attached.orchestrator.live.length === 0);
    expect(attached.status()).toMatchObject({ state: "drained", capacity: 0 });
    release();
    expect(await running).toMatchObject({ kind: "done" });
    const other = session();
    expect(await attached.second.transcode({ session: other, seq: 0, durationMs: UNHURRIED_MS })).toMatchObject({
      kind: "done",
    });
    attached.second.endSession(other);
    outlast();
    await admin.setUpstreamDrained("main", false);
    await registeredWith(8);
    expect((await attached.pool.events("upstream.drained")).length).toBe(1);
    await expect(admin.setUpstreamDrained("nobody", true)).rejects.toThrow("main, second");
  });
});

describe("money", () => {
  test("is the orchestrator's price, from the next stream on when it changes, and each orchestrator's own", async () => {
    const running = session();
    await transcode({ session: running, seq: 0 });
    expect(await lastCredit()).toMatchObject({
      source: "upstream:main",
      priceSource: "upstream",
      price: { pricePerUnitWei: "1200", pixelsPerUnit: "1" },
    });
    attached.orchestrator.price = "101/100";
    // It is read when a registration begins, and every half minute.
    attached.orchestrator.live[0]?.drop();
    await until(() => attached.status().price.pricePerUnitWei === 101n);
    await registeredWith(8);
    await transcode({ session: running, seq: 1 });
    expect(await lastCredit()).toMatchObject({ price: { pricePerUnitWei: "1200", pixelsPerUnit: "1" } });
    await transcode();
    expect(await lastCredit()).toMatchObject({ price: { pricePerUnitWei: "101", pixelsPerUnit: "100" } });
    await attached.second.transcode({ session: session(), seq: 0, durationMs: UNHURRIED_MS });
    expect(await lastCredit()).toMatchObject({
      source: "upstream:second",
      priceSource: "configured",
      price: { pricePerUnitWei: "1000", pixelsPerUnit: "1" },
      earnedWei: String(EARNED_WEI),
    });
  });

  test("of a session that began before the orchestrator said its price stays the configured one", async () => {
    // It is on chain, but names no price so far.
    await using late = await startAttachedPool({ orchestrator: { price: "" }, clock });
    const { orchestrator, pool } = late;
    workers.push(await pool.transcoder({ secret: `${ADA}.rig` }));
    await until(() => orchestrator.live.length === 1);
    const credit = async () => (await pool.events("job.credited")).at(-1)?.data;
    const configured = { priceSource: "configured", price: { pricePerUnitWei: "1000", pixelsPerUnit: "1" } };
    await orchestrator.transcode({ session: "running", seq: 0, durationMs: UNHURRIED_MS });
    expect(await credit()).toMatchObject(configured);
    orchestrator.price = "1200";
    // It is asked every half minute, whether anything else happens or not.
    clock.ring(30_000);
    await until(() => late.status().price.pricePerUnitWei === 1200n);
    await orchestrator.transcode({ session: "running", seq: 1, durationMs: UNHURRIED_MS });
    expect(await credit()).toMatchObject(configured);
    await orchestrator.transcode({ session: "next", seq: 0, durationMs: UNHURRIED_MS });
    expect(await credit()).toMatchObject({
      priceSource: "upstream",
      price: { pricePerUnitWei: "1200", pixelsPerUnit: "1" },
    });
  });

  test("is the pool's own price, whatever the orchestrator charges, where the terms say so", async () => {
    await using own = await startAttachedPool({
      orchestrator: { price: "1200" },
      pool: { firstTerms: { priceSource: "configured" } },
      clock,
    });
    await own.pool.transcoder({ secret: `${ADA}.own`, capacity: 4 });
    await until(() => own.orchestrator.live.length === 1);
    expect(await own.orchestrator.transcode({ session: "0000face", seq: 0, durationMs: UNHURRIED_MS })).toMatchObject({
      kind: "done",
    });
    expect((await own.pool.events("job.credited"))[0]?.data).toMatchObject({
      source: "upstream:main",
      priceSource: "configured",
      price: { pricePerUnitWei: "1000", pixelsPerUnit: "1" },
    });
    expect(own.status()).toMatchObject({ priceSource: "configured", price: { pricePerUnitWei: 1_000n } });
  });
});

describe("both doors", () => {
  test("share the workers, each stream like any other", async () => {
    await using gateway = openGatewayClient(
      { orchestrator: `https://${attached.pool.addr}` },
      { logger: silentLogger, clock: patientClock() },
    );
    // Sessions of a life of the orchestrator that is over idle out in their own time: there is room besides them.
    workers.push(await join("large", ADA, 32));
    await registeredWith(40);
    behave(behaviours.after(20));
    const done = { gateway: 0, upstream: 0 };
    let running = true;
    const streams = [
      ...Array.from({ length: 4 }, async (_, stream) => {
        for (let seq = 0; running; seq++) {
          expect(await pushUnhurried(gateway, `direct-${stream}`, seq)).toMatchObject({ kind: "done" });
          done.gateway++;
        }
      }),
      ...Array.from({ length: 4 }, async () => {
        const one = session();
        for (let seq = 0; running; seq++) {
          expect(await transcode({ session: one, seq })).toMatchObject({ kind: "done" });
          done.upstream++;
        }
      }),
    ];
    const all = Promise.all(streams);
    // Neither starves the other. How their speeds compare is the machine's business: one of them goes through a stock
    // orchestrator, and each stream sends its next segment when it has its last one.
    await Promise.race([until(() => Math.min(done.gateway, done.upstream) >= 8), all]);
    running = false;
    await all;
    const sources = (await attached.pool.events("job.credited")).map(({ data }) => data["source"]);
    expect(sources.filter((source) => source === "gateway").length).toBe(done.gateway);
  });
});
