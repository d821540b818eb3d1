import type { PayoutOptions, PoolOptions } from "@openpool/pool";
import { RESULT_AUTHORIZATION, RIG_REPORT_PATH, type RigReport } from "@openpool/protocol";
import { behaviours, type FakeTranscoder } from "../peers/fake-transcoder.ts";
import { connectH2, requestH2 } from "../peers/wire.ts";
import { ADA, BOB, EARNED_WEI as E2E_EARNED_WEI, push, startTestPool, type TestPool, until } from "../e2e/pool.ts";

export interface PagesWorld extends AsyncDisposable {
  readonly pool: TestPool;
  /** Where the pages are, without a slash at the end. */
  readonly url: string;
  join(secret: string, capacity?: number): Promise<FakeTranscoder>;
  /** Tells the pool about a rig's machine, as a worker of ours does that has joined. */
  report(secret: string, report: RigReport): Promise<void>;
  /** Sends segments of one stream, one after the other. */
  stream(name: string, segments: number): Promise<void>;
  /** What an API route answers now. */
  ask<Answer>(path: string): Promise<Answer>;
}

/** The price of a pixel: it makes amounts look as they do on a real pool. */
const PIXEL_WEI = 40_000_000n;

/** What one segment earns its worker. */
export const EARNED_WEI = (E2E_EARNED_WEI / 1_000n) * PIXEL_WEI;

/** Payouts on a local chain, each by a transfer; what is not named is left to its default, or out. */
export function localPayouts(
  { url, chainId }: { readonly url: string; readonly chainId: number },
  changed: Partial<PayoutOptions> = {},
): PayoutOptions {
  return {
    rpcUrls: [url],
    chainId,
    quorum: undefined,
    finality: 2,
    keystoreFile: undefined,
    passwordFile: undefined,
    keyFile: undefined,
    method: "transfers",
    contract: undefined,
    safe: undefined,
    asset: "eth",
    choices: [],
    prices: new Map(),
    fiat: undefined,
    dailyCapWei: undefined,
    approvalAboveWei: undefined,
    maxGasPriceWei: undefined,
    maxGasSharePpm: undefined,
    batchSize: 100,
    bumpAfterMs: 600_000,
    maxBump: 10,
    payToDelayMs: 2 * 86_400_000,
    ...changed,
  };
}

/** A whole pool that serves the built pages. */
export async function startPagesWorld(changed: Partial<PoolOptions> = {}): Promise<PagesWorld> {
  const pool = await startTestPool({
    price: { pricePerUnitWei: PIXEL_WEI, pixelsPerUnit: 1n },
    api: {
      listen: { host: "127.0.0.1", port: 0 },
      named: true,
      trustProxy: false,
      identity: {
        name: "Harbour Pool",
        logoUrl: null,
        contacts: [{ label: "E-mail", url: "mailto:operator@pool.example" }],
        hardware: "8 GB of graphics memory, 50 Mbit/s both ways.",
        notice: null,
        sourceUrl: null,
      },
    },
    ...changed,
  });
  const url = pool.running.publicUrl;
  if (url === undefined) throw new Error("the pool serves no pages");
  const gateway = pool.gateway();
  return {
    pool,
    url,
    async join(secret, capacity = 8) {
      const connected = pool.running.node.admin.status().rigs.reduce((sum, rig) => sum + rig.connections, 0);
      const transcoder = await pool.transcoder({ secret, behaviour: behaviours.ready(), capacity });
      await pool.untilConnected(connected + 1);
      return transcoder;
    },
    async report(secret, report) {
      const connection = await connectH2({ host: "127.0.0.1", port: pool.running.listen.port });
      const headers = { ":path": RIG_REPORT_PATH, authorization: RESULT_AUTHORIZATION, credentials: secret };
      const { status } = await requestH2(connection.session, headers, Buffer.from(JSON.stringify(report)));
      connection.session.destroy();
      if (status !== 204) throw new Error(`the report was answered with ${status}`);
    },
    async stream(name, segments) {
      for (let seq = 0; seq < segments; seq++) {
        // A machine that is busy with browsers may miss a segment's deadline; a gateway tries again then, too.
        let outcome = await push(gateway, name, seq);
        for (let retry = 0; retry < 3 && outcome.kind !== "done"; retry++) outcome = await push(gateway, name, seq);
        if (outcome.kind !== "done") throw new Error(`segment ${seq} of ${name}: ${outcome.kind}`);
      }
    },
    async ask<Answer>(path: string) {
      const response = await fetch(`${url}${path}`);
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return (await response.json()) as Answer;
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}

/** A machine with two cards, of which one encodes, and with a name that no page may take for its own words. */
export const machine: RigReport = {
  v: 1,
  software: { worker: "0.1.0", ffmpeg: "5.1.9-0+deb12u1", system: "linux x64 6.1.0" },
  devices: [0, 1].map((index) => ({
    id: `nvidia:${index}`,
    kind: "nvidia",
    model: "NVIDIA L4 <b>card</b>",
    driver: "550.90.07",
    memoryMib: 23_034,
    encoders: ["h264_nvenc", "hevc_nvenc"],
    decoders: ["h264", "hevc", "vp9"],
    sessions: 11,
    realTimeFactor: 13.9,
  })),
  tests: [
    { device: "nvidia:0", test: "encode", of: "h264_nvenc", passed: true, problem: null, subject: null },
    { device: "nvidia:1", test: "encode", of: "h264_nvenc", passed: true, problem: null, subject: null },
    {
      device: "nvidia:2",
      test: "encode",
      of: "h264_nvenc",
      passed: false,
      problem: "driver-too-old",
      subject: "570.0",
    },
  ],
};

/** Work as it comes: two workers with three rigs, one of which has left, and some streams. */
export async function bringToLife(world: PagesWorld): Promise<void> {
  await world.join(`${ADA}.rig1`);
  await world.join(`${BOB}.k8s-07`, 4);
  const old = await world.join(`${ADA}.old-box`, 2);
  await world.report(`${ADA}.rig1`, machine);
  await world.report(`${ADA}.old-box`, { ...machine, devices: machine.devices.slice(0, 1) });
  await Promise.all([world.stream("morning", 6), world.stream("noon", 6), world.stream("evening", 4)]);
  await old[Symbol.asyncDispose]();
  await world.pool.untilConnected(2);
  // Sums and books follow the event log by a moment, each at its own pace.
  await until(async () => {
    const { windows } = await world.ask<{ windows: { "24h": { jobs: number; earnedWei: string } } }>("/v1/pool");
    const { books } = await world.ask<{ books: { creditedWei: string } }>("/v1/solvency");
    return windows["24h"].jobs >= 16 && books.creditedWei === windows["24h"].earnedWei;
  }, 30_000);
}
