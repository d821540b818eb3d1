import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Clock, type Logger, silentLogger, systemClock } from "@openpool/base";
import { type PoolDeps, type PoolOptions, type RunningPool, startPool } from "@openpool/pool";
import { type GatewayClient, openGatewayClient, type SegmentOutcome } from "@openpool/push";
import { type FakeTranscoder, type FakeTranscoderOptions, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { patientClock } from "../peers/patient-clock.ts";
import { readyProfiles, sourceSegment } from "../peers/media.ts";

/** Two payout addresses, as their owners write them. */
export const ADA = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
export const BOB = "0x3eE860A4abA830AF84EbBCE2b381fc11DB8493e2";

/** A whole pool on free ports in a directory of its own, with what a test wants to ask it. */
export interface TestPool extends AsyncDisposable {
  readonly running: RunningPool;
  /** `HOST:PORT` of the public port. */
  readonly addr: string;
  readonly dataDir: string;
  gateway(): GatewayClient;
  transcoder(options: Omit<FakeTranscoderOptions, "addr">): Promise<FakeTranscoder>;
  /** Waits until so many registrations are open. */
  untilConnected(rigs: number, timeoutMs?: number): Promise<void>;
  /** Segments and wei credited in all. */
  credited(): Promise<{ segments: number; creditedWei: bigint }>;
  /** Events of a type, oldest first. */
  events(
    type: string,
  ): Promise<readonly { readonly rig: string | undefined; readonly data: Readonly<Record<string, unknown>> }[]>;
}

export function testOptions(dataDir: string, changed: Partial<PoolOptions> = {}): PoolOptions {
  return {
    dataDir,
    network: "offchain",
    serviceUri: "https://127.0.0.1:0",
    listen: { host: "127.0.0.1", port: 0 },
    adminListen: { host: "127.0.0.1", port: 0 },
    adminListenNamed: true,
    joinOpen: true,
    joinRegistered: true,
    joinPassword: undefined,
    allowedSourceHosts: ["127.0.0.1", "localhost"],
    databaseUrl: undefined,
    price: { pricePerUnitWei: 1_000n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
    tlsCertFile: undefined,
    tlsKeyFile: undefined,
    maxBytesInFlight: 512 << 20,
    maxSessions: undefined,
    logLevel: "warn",
    logFormat: "json",
    ...changed,
  };
}

export async function startTestPool(
  changed: Partial<PoolOptions> = {},
  deps: { readonly logger?: Logger; readonly clock?: Clock } & Pick<PoolDeps, "relay"> = {},
): Promise<TestPool> {
  const dataDir = await mkdtemp(join(tmpdir(), "openpool-e2e-"));
  const logger = deps.logger ?? silentLogger;
  const running = await startPool(testOptions(dataDir, changed), {
    logger,
    clock: deps.clock ?? systemClock,
    // Who holds the time holds chance too: no segment of a stream tries out another rig.
    ...(deps.clock ? { random: () => 0.5 } : {}),
    relay: deps.relay,
    version: "0.0.0-test",
  });
  const addr = `127.0.0.1:${running.listen.port}`;
  const opened: AsyncDisposable[] = [];
  return {
    running,
    addr,
    dataDir,
    gateway() {
      const gateway = openGatewayClient(
        { orchestrator: `https://${addr}` },
        { logger: silentLogger, clock: patientClock() },
      );
      opened.push(gateway);
      return gateway;
    },
    async transcoder(options) {
      const transcoder = await startFakeTranscoder({ addr, backoffScale: 0.1, ...options });
      opened.push(transcoder);
      return transcoder;
    },
    async untilConnected(rigs, timeoutMs) {
      const connected = (): number => running.node.admin.status().rigs.reduce((sum, rig) => sum + rig.connections, 0);
      await until(() => connected() === rigs, timeoutMs);
    },
    async credited() {
      const balances = await running.node.admin.balances();
      return {
        segments: balances.reduce((sum, worker) => sum + Number(worker.segments), 0),
        creditedWei: balances.reduce((sum, worker) => sum + worker.creditedWei, 0n),
      };
    },
    async events(type) {
      const found = await running.node.admin.events({ types: [type], limit: 10_000 });
      return found.map(({ rig, data }) => ({ rig, data }));
    },
    async [Symbol.asyncDispose]() {
      for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export interface TestClock extends Clock {
  /**
   * Time stands still meanwhile, and nobody is late, however busy this machine is: no job is given to a second worker.
   * Timers that come due run afterwards.
   */
  whileStopped<T>(run: () => Promise<T>): Promise<T>;
  /** Lets time pass at once. Timers are not called for it. */
  skip(ms: number): void;
  /** Calls those timers at once that were set for so long. */
  ring(delayMs: number): void;
}

/** A monotonic clock that a test can stop and put forward. */
export function testClock(): TestClock {
  const due = new Set<() => void>();
  /** Timers that run, and for how long they were set. */
  const running = new Map<() => void, number>();
  let behindMs = 0;
  let stoppedAtMs: number | undefined;
  return {
    now: () => systemClock.now(),
    monotonicMs: () => (stoppedAtMs ?? systemClock.monotonicMs()) - behindMs,
    skip: (ms) => void (behindMs -= ms),
    after(delayMs, callback) {
      let held: (() => void) | undefined;
      const ring = (): void => {
        cancel();
        running.delete(ring);
        if (stoppedAtMs === undefined) callback();
        else due.add((held = callback));
      };
      const cancel = systemClock.after(delayMs, ring);
      running.set(ring, delayMs);
      return () => {
        cancel();
        running.delete(ring);
        if (held) due.delete(held);
      };
    },
    ring(delayMs) {
      // Those that are set meanwhile are for the next time.
      const now = [...running].filter(([, setForMs]) => setForMs === delayMs);
      for (const [ring] of now) ring();
    },
    async whileStopped(run) {
      stoppedAtMs = systemClock.monotonicMs();
      try {
        return await run();
      } finally {
        behindMs += systemClock.monotonicMs() - stoppedAtMs;
        stoppedAtMs = undefined;
        for (const callback of due) callback();
        due.clear();
      }
    },
  };
}

/** Waits for a condition that nothing announces. The default is for a machine that stands still for seconds. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("the condition did not come true in time");
    await sleep(10);
  }
}

/** Streams that send one segment after another. */
export interface Streams {
  /** What became of each segment, in the order of the answers: "done", or everything that was said instead. */
  readonly outcomes: readonly string[];
  /** How many of them were done. */
  done(): number;
  /** Waits until every stream has had so many more. */
  moreOfAll(segments: number): Promise<void>;
  /** Lets each end with the segment that it has sent. */
  stop(): Promise<void>;
}

/** Starts them; what a stream sends is the caller's. */
export function startStreams(
  count: number,
  segment: (stream: number, seq: number) => Promise<{ readonly kind: string }>,
  paceMs = 0,
): Streams {
  const outcomes: string[] = [];
  const had = Array.from({ length: count }, () => 0);
  let running = true;
  const all = Promise.all(
    had.map(async (_, stream) => {
      for (let seq = 0; running; seq++) {
        const outcome = await segment(stream, seq);
        outcomes.push(outcome.kind === "done" ? "done" : JSON.stringify(outcome));
        had[stream] = seq + 1;
        if (paceMs > 0) await sleep(paceMs);
      }
    }),
  );
  // A stream that fails by a fault of the test ends the waiting for it; before that nobody may be listening.
  all.catch(() => {});
  return {
    outcomes,
    done: () => outcomes.filter((outcome) => outcome === "done").length,
    async moreOfAll(segments) {
      const wanted = had.map((before) => before + segments);
      await Promise.race([until(() => had.every((now, stream) => now >= wanted[stream]!), 60_000), all]);
    },
    async stop() {
      running = false;
      await all;
    },
  };
}

/**
 * What a segment says of itself where it is about neither time nor the lack of it: it is still handed out while it comes,
 * and has nearly twice the time for each step of a live one, on a machine that everything runs on.
 */
export const CALM_MS = 7_000;

/** Sends the one source that the fake transcoders have renditions for. */
export function push(
  gateway: GatewayClient,
  manifestId: string,
  seq: number,
  durationMs = CALM_MS,
): Promise<SegmentOutcome> {
  return gateway.pushSegment({
    manifestId,
    seq,
    data: sourceSegment,
    durationMs,
    profiles: readyProfiles,
    container: "mpegts",
  });
}

/** What a segment says of itself for which there is time, and nobody late, however busy this machine is. */
export const UNHURRIED_MS = 60_000;

/** Sends it as a segment that there is time for. */
export function pushUnhurried(gateway: GatewayClient, manifestId: string, seq: number): Promise<SegmentOutcome> {
  return push(gateway, manifestId, seq, UNHURRIED_MS);
}

/** What one such segment earns its worker: 75 % of 1000 wei a pixel. */
export const EARNED_WEI = ((426n * 240n + 640n * 360n + 854n * 480n) * 50n * 1_000n * 3n) / 4n;

/** What a pool has credited that was paid for so many segments, each once. */
export function creditsOf(segments: number, earnedWei = EARNED_WEI): { segments: number; creditedWei: bigint } {
  return { segments, creditedWei: BigInt(segments) * earnedWei };
}
