import { once } from "node:events";
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { type Clock, type Logger, openScope, silentLogger, systemClock } from "@openpool/base";
import type { PoolDeps } from "@openpool/pool";
import { createUploader, type UploadOrder } from "@openpool/transcoder";
import { describe, expect, test } from "vitest";
import { ADA, startTestPool, testClock, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startDistance } from "../peers/distance.ts";
import { behaviours, readyUpload } from "../peers/fake-transcoder.ts";
import { readyRenditions, sourceSegment } from "../peers/media.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { parseHostPort } from "../peers/wire.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

const ONE_WAY_MS = 25;
/** It waits longer for a task than a stock one, which says so as well: this machine may stand still for seconds. */
const PATIENCE = 1.5;
/** A stock orchestrator waits eight seconds for it. */
const SHORT_MS = 2_000;
const STREAMS = 24;
const SEGMENTS = 3;

test("an orchestrator 50 ms away gets many results at once, over several connections, and none stalls", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false });
  await using distance = await startDistance(orchestrator.addr, ONE_WAY_MS);
  await using secret = await writeSecret();
  const far = { addr: distance.addr, cliAddr: undefined };
  const clock = testClock();
  const attached = attachedTo({ main: far }, secret.file, { gateways: false });
  await using pool = await startTestPool({ attached }, { clock });
  await pool.transcoder({ secret: `${ADA}.rig`, capacity: STREAMS });
  await until(() => orchestrator.live[0]?.capacity === STREAMS, 60_000);
  const stream = async (session: string): Promise<readonly string[]> => {
    const kinds: string[] = [];
    for (let seq = 0; seq < SEGMENTS; seq++) {
      kinds.push((await orchestrator.transcode({ session, seq, durationMs: UNHURRIED_MS })).kind);
    }
    return kinds;
  };
  // A source has four seconds, however busy this machine is.
  const outcomes = await clock.whileStopped(() =>
    Promise.all(Array.from({ length: STREAMS }, (_, i) => stream(`far-${i}`))),
  );
  expect(outcomes.flat().filter((kind) => kind !== "done")).toEqual([]);
  expect(orchestrator.complaints).toMatchObject({ ejected: 0, unknownResults: 0, duplicateResults: 0, broken: 0 });
  expect((await pool.credited()).segments).toBe(STREAMS * SEGMENTS);
  // One for the registration; a connection carries a megabyte per round trip, and there was more to carry.
  expect(orchestrator.alpn.filter((protocol) => protocol === "h2").length).toBeGreaterThan(2);
}, 120_000);

test.each([
  ["stops", undefined],
  ["has a successor", 2],
])(
  "a task that was sent before the orchestrator heard that the pool leaves is done, though its source takes its time: one that %s",
  async (_, successor) => {
    await using orchestrator = await startStockOrchestrator({ secret: SECRET });
    await using distance = await startDistance(orchestrator.addr, ONE_WAY_MS);
    await using secret = await writeSecret();
    const attached = attachedTo({ main: { addr: distance.addr, cliAddr: undefined } }, secret.file);
    const relay: NonNullable<PoolDeps["relay"]> = {
      successor,
      othersLive: () => Promise.resolve(false),
      serve() {},
      forward: () => Promise.resolve({ kind: "gone" }),
    };
    await using pool = await startTestPool({ attached }, { relay });
    await pool.transcoder({ secret: `${ADA}.rig`, reconnect: "never" });
    await until(() => orchestrator.live.length === 1, 60_000);
    orchestrator.source = (response) => {
      const serve = (): void => void response.end(sourceSegment);
      // Later still: the pool has looked several times who is wanted by then.
      void orchestrator.until(() => orchestrator.live.length === 0).then(() => setTimeout(serve, 100));
      return true;
    };
    const drained = pool.running.node.drain(new AbortController().signal);
    const sent = await orchestrator.transcode({ session: "last", seq: 0, durationMs: UNHURRIED_MS });
    expect(sent).toMatchObject({ kind: "done" });
    await drained;
    expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  },
  120_000,
);

test("an orchestrator that takes the connection and never sends anything is given up, and the others are served", async () => {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/test-only.${name}.pem`, import.meta.url));
  const sockets = new Set<tls.TLSSocket>();
  const mute = tls.createServer({ cert: pem("cert"), key: pem("key"), ALPNProtocols: ["h2"] }, (socket) => {
    sockets.add(socket.on("error", () => {}).resume());
  });
  mute.listen(0, "127.0.0.1");
  await once(mute, "listening");
  const address = mute.address();
  const addr = `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  try {
    await using orchestrator = await startStockOrchestrator({ secret: SECRET });
    await using secret = await writeSecret();
    const attached = attachedTo({ main: orchestrator, mute: { addr, cliAddr: undefined } }, secret.file);
    await using pool = await startTestPool({ attached });
    await pool.transcoder({ secret: `${ADA}.rig` });
    const state = (name: string) =>
      pool.running.node.admin.status().upstreams.find((upstream) => upstream.name === name);
    await until(() => state("main")?.state === "registered", 60_000);
    expect(await orchestrator.transcode({ session: "one", seq: 0, durationMs: UNHURRIED_MS })).toMatchObject({
      kind: "done",
    });
    await until(() => state("mute")?.state === "waiting", 60_000);
    expect(state("mute")?.why).toContain("no answer to a ping");
    expect(state("main")).toMatchObject({ state: "registered", answered: 1 });
  } finally {
    for (const socket of sockets) socket.destroy();
    mute.close();
  }
}, 120_000);

test("whatever becomes of the way to it, an orchestrator has the answers of its tasks, or an error, in time; one that took its place gets none of them", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, timeoutScale: PATIENCE });
  await using distance = await startDistance(orchestrator.addr, 0);
  await using secret = await writeSecret();
  let retries = 0;
  const debug = (message: string): void => void (retries += message.includes("did not get through") ? 1 : 0);
  const logger: Logger = { ...silentLogger, debug, child: () => logger };
  const far = { addr: distance.addr, cliAddr: undefined };
  await using pool = await startTestPool({ attached: attachedTo({ main: far }, secret.file) }, { logger });
  const worker = await pool.transcoder({ secret: `${ADA}.rig` });
  await until(() => orchestrator.live.length === 1, 60_000);
  /** The worker has a task in hand, and gives it back when told to. */
  const begin = async (seq: number, durationMs = UNHURRIED_MS) => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    worker.behaviour = behaviours.when(() => gate);
    const running = orchestrator.transcode({ session: "one", seq, durationMs });
    await until(() => [...worker.inHand].length === 1, 60_000);
    return { running, release };
  };
  const status = () => pool.running.node.admin.status().upstreams[0];
  const first = await begin(0);
  const { restore } = distance.cut();
  first.release();
  await until(() => retries >= 8, 60_000);
  restore();
  expect(await first.running).toMatchObject({ kind: "done" });
  await until(() => orchestrator.live.length === 1, 60_000);

  const whyLost = async (): Promise<unknown> => (await pool.events("upstream.answer-lost")).at(-1)?.data["why"];

  // It takes an answer, and the connection ends before it says so.
  worker.behaviour = readyUpload;
  orchestrator.answer = (stream) => {
    orchestrator.answer = undefined;
    stream.session?.destroy();
  };
  expect(await orchestrator.transcode({ session: "cut", seq: 0, durationMs: UNHURRIED_MS })).toMatchObject({
    kind: "done",
  });
  await until(async () => (await whyLost()) !== undefined, 60_000);
  expect(await whyLost()).toContain("it broke off once");

  // The way there carries too little.
  const slow = await begin(1, SHORT_MS);
  distance.slow(30_000);
  slow.release();
  // Which error that is depends on whether this machine stands still just then.
  expect((await slow.running).kind).toBe("error");
  distance.slow(Infinity);
  await until(() => status()?.lost === 1, 60_000);
  expect(orchestrator.complaints).toMatchObject({ ejected: 0, unknownResults: 0 });

  // Its machine dies without a word and is back as another one, while the registration with the one before looks open.
  worker.behaviour = readyUpload;
  const some = ["a", "b", "c"].map((session) => orchestrator.transcode({ session, seq: 0, durationMs: UNHURRIED_MS }));
  for (const one of some) expect(await one).toMatchObject({ kind: "done" });
  const second = await begin(2);
  distance.forget();
  await orchestrator.restart();
  second.release();
  await until(() => status()?.lost === 2, 60_000);
  // Nobody had to wait for the registration to be found dead on its own.
  await until(() => orchestrator.live.length === 1, 60_000);
  worker.behaviour = readyUpload;
  // The connections that sources came over are as dead, and all are dropped when the first of them says nothing.
  const kinds: string[] = [];
  for (const session of ["d", "e", "f"]) {
    kinds.push((await orchestrator.transcode({ session, seq: 0, durationMs: UNHURRIED_MS })).kind);
  }
  expect(kinds.filter((kind) => kind !== "done").length).toBeLessThanOrEqual(1);

  // At the end there is no time for what a worker has in hand: its orchestrator need not wait for it.
  const last = await begin(0);
  await pool.running.node.drain(AbortSignal.abort());
  await pool.running[Symbol.asyncDispose]();
  expect(await last.running).toMatchObject({ kind: "error", text: "TranscoderInvalidVideo" });
  last.release();
  expect(orchestrator.complaints).toMatchObject({ ejected: 0, unknownResults: 0 });
}, 120_000);

describe.concurrent("a connection over which results go", () => {
  const order = (
    taskId: bigint,
    parts = readyRenditions.map(({ data, pixels }) => ({ contentType: "video/mp2t", pixels, data })),
  ): UploadOrder => ({
    taskId,
    answer: { kind: "renditions", decodedPixels: 1n, parts },
    secret: SECRET,
    deadlineMs: systemClock.monotonicMs() + 60_000,
  });
  const startUploads = async (clock = systemClock) => {
    const scope = openScope();
    const orchestrator = scope.use(await startStockOrchestrator({ secret: SECRET }));
    const distance = scope.use(await startDistance(orchestrator.addr, 0));
    const uploader = scope.use(
      createUploader({ address: parseHostPort(distance.addr), maxConnections: 8 }, { clock, logger: silentLogger }),
    );
    return { orchestrator, distance, uploader, [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose]() };
  };
  test("is left alone while its orchestrator stands still: the result arrives once, and whole", async () => {
    await using world = await startUploads();
    const { orchestrator, distance, uploader } = world;
    expect((await uploader.upload(order(1n))).kind).toBe("taken");
    const second = uploader.upload(order(2n));
    const { release } = distance.hold();
    // A new connection is tried for when nothing was heard for too long, and waits like the old one.
    await until(() => distance.connections > 1, 30_000);
    release();
    expect(await second).toEqual({ kind: "taken" });
    expect(orchestrator.results.map(({ taskId }) => taskId)).toEqual(["1", "2"]);
    expect(distance.connections).toBe(2);
  }, 60_000);

  test.each(["when its time to close is over", "with the uploader"])(
    "ends %s, though what was given up lies in it and nobody takes that",
    async (when) => {
      /** By how long they were set for: those that keep an idle connection, and one that closes. */
      const timers = { 60_000: new Set<() => void>(), 10_000: new Set<() => void>() };
      const after: Clock["after"] = (delayMs, callback) => {
        if (delayMs !== 60_000 && delayMs !== 10_000) return systemClock.after(delayMs, callback);
        timers[delayMs].add(callback);
        return () => void timers[delayMs].delete(callback);
      };
      await using world = await startUploads({ ...systemClock, after });
      const { distance, uploader } = world;
      expect((await uploader.upload(order(1n))).kind).toBe("taken");
      await until(() => timers[60_000].size === 1, 30_000);
      distance.hold();
      const givenUp = new AbortController();
      const large = { contentType: "video/mp2t", pixels: 1n, data: Buffer.alloc(8 << 20) };
      const second = uploader.upload({ ...order(2n, [large]), signal: givenUp.signal });
      await until(() => timers[60_000].size === 0, 30_000);
      givenUp.abort();
      expect((await second).kind).toBe("lost");
      expect([uploader.connections, timers[10_000].size]).toEqual([0, 1]);
      if (when === "with the uploader") await uploader[Symbol.asyncDispose]();
      else for (const cut of timers[10_000]) cut();
      await until(() => timers[10_000].size === 0, 30_000);
    },
    60_000,
  );

  test("is given up when new ones are answered and it is not, though it was never without a result on its way: all are brought again", async () => {
    await using world = await startUploads();
    const { orchestrator, distance, uploader } = world;
    // Nobody says for now that the first one was taken.
    orchestrator.answer = () => {};
    const first = uploader.upload(order(1n));
    await orchestrator.until(() => orchestrator.results.length === 1, 60_000);
    orchestrator.answer = undefined;
    expect((await uploader.upload(order(2n))).kind).toBe("taken");
    expect(distance.connections).toBe(1);
    distance.forget();
    const outcomes = await Promise.all([first, uploader.upload(order(3n))]);
    const brought = { kind: "taken", doubtful: true };
    expect(outcomes).toEqual([brought, brought]);
    expect(orchestrator.results.map(({ taskId }) => taskId).sort()).toEqual(["1", "1", "2", "3"]);
  }, 60_000);

  test("is left alone as long as it moves, however slowly: what waits behind a large result is no sign of death", async () => {
    await using world = await startUploads();
    const { orchestrator, distance, uploader } = world;
    expect((await uploader.upload(order(1n))).kind).toBe("taken");
    distance.slow(200_000);
    const large = { contentType: "video/mp2t", pixels: 1n, data: sourceSegment.subarray(0, 700_000) };
    expect(await uploader.upload(order(2n, [large]))).toEqual({ kind: "taken" });
    expect(orchestrator.results).toHaveLength(2);
    expect(distance.connections).toBe(1);
  }, 60_000);
});
