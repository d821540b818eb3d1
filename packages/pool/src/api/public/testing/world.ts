import { type Clock, silentLogger, type StoppedClock, stoppedClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { privateKeyToAccount } from "viem/accounts";
import { decided } from "../../../dispatch/decision-text.ts";
import type { StatementRow } from "../../../store/ledger-store.ts";
import { openRollups } from "../../../store/rollup-store.ts";
import type { Rollups } from "../../../store/rollup-types.ts";
import { ada, bob, creditOf } from "../../../store/testing/sample-credit.ts";
import { openTestStore } from "../../../store/testing/test-store.ts";
import type { Store } from "../../../store/types.ts";
import type { LiveDecision, LivePool, PublicPort } from "../ports.ts";
import { publicReason } from "../public-text.ts";
import { RigReports } from "../../../workers/rig-reports.ts";
import { openTestSettings, type TestSettings } from "./settings.ts";
import { liveRig, rigReport, START, terms } from "./samples.ts";
import { defaultPublicApiOptions, openPublicApi, type PublicApiOptions } from "../server.ts";
import { onOwnPort, type OwnPort } from "../../testing/own-port.ts";

/** A pool at one moment: a real database with real counting behind a live view that the test sets. */
export interface World extends AsyncDisposable {
  readonly clock: StoppedClock;
  readonly store: Store;
  readonly rollups: Rollups;
  readonly port: PublicPort;
  readonly settings: TestSettings;
  readonly api: OwnPort;
  /** Asks the database behind the store's back. */
  sql(text: string, values: readonly unknown[]): Promise<readonly object[]>;
  live: LivePool;
  decisions: Map<string, readonly LiveDecision[]>;
  get(
    path: string,
    headers?: Record<string, string>,
    method?: string,
    sent?: unknown,
  ): Promise<{ status: number; headers: Headers; body: never }>;
  work(worker: WorkerAddress, rig: string, pixels: bigint, data?: Record<string, unknown>): Promise<void>;
}

let jobs = 0;

/** A worker whose key the tests have. */
export const carol = privateKeyToAccount(`0x${"0".repeat(63)}1`);

export async function openWorld(
  options: Partial<PublicApiOptions> & { readonly publicUrl?: string } = {},
  more: Partial<PublicPort> = {},
  apiClock?: Clock,
): Promise<World> {
  const clock = stoppedClock(START);
  const store = await openTestStore({ clock });
  const rollups = await openRollups(store.database.connection, {
    logger: silentLogger,
    clock,
    onAppended: (callback) => store.onAppended(callback),
  });
  const reports = await RigReports.open({ store, clock });
  await reports.keep({ worker: ada, rig: "rig1" }, rigReport);
  const offline = { state: "offline", capacity: 0, streams: 0, jobsInFlight: 0, connections: [] } as const;
  const settings = await openTestSettings({
    store,
    connection: store.database.connection,
    clock,
    publicUrl: options.publicUrl,
    rigsOf: (worker) => [...world.live.rigs.values()].filter((rig) => rig.worker === worker).map((rig) => rig.rig),
  });
  const rigs = [
    liveRig(ada, "rig1", { chosenLastHour: 4, passedOverLastHour: 1 }),
    liveRig(ada, "attic", {
      ...offline,
      standing: "probation",
      standingReason: publicReason("success down to 55 %, the last failure: disconnected with work in flight"),
      lastSeenMs: Date.parse(START) - 5 * 3_600_000,
    }),
    liveRig(parseAddress(carol.address) as WorkerAddress, "shed", offline),
    liveRig(bob, "big", {
      capacity: 20,
      streams: 3,
      speeds: [{ kind: "h264 1280x720 → 3", realTimeRatio: 6.2, results: 40 }],
    }),
  ];
  const world = {
    live: {
      atMs: Date.parse(START) - 400,
      rigs: new Map(rigs.map((rig) => [`${rig.worker}.${rig.rig}`, rig])),
      capacity: 24,
      sessionsHeld: 4,
      streams: 4,
      jobsInFlight: 2,
      waiting: 0,
      latencyMs: { p50: 612.5, p99: 1_840 },
      draining: false,
      logWritable: true,
    } as LivePool,
    decisions: new Map<string, readonly LiveDecision[]>([
      [
        `${ada}.rig1`,
        [
          {
            atMs: Date.parse(START) - 9_000,
            chosen: true,
            reason: decided("chosen-stays", { expectedS: "0.65" }),
            times: 4,
          },
          {
            atMs: Date.parse(START) - 61_000,
            chosen: false,
            reason: decided("not-chosen-slower", { expectedS: "0.65", bestS: "0.32", best: `${bob}.big` }),
            times: 1,
          },
        ],
      ],
    ]),
  };
  const rows: StatementRow[] = [];
  const port: PublicPort = {
    facts: {
      identity: {
        name: "Example Pool",
        logoUrl: null,
        contacts: [{ label: "E-mail", url: "mailto:operator@example.com" }],
        hardware: "An NVIDIA GPU with NVENC, 20 Mbit/s up",
        notice: null,
        sourceUrl: "https://git.example.com/openpool.git",
      },
      version: "0.1.0",
      startedAtMs: Date.parse("2026-11-20T08:00:00Z"),
      network: "offchain",
      serviceUri: "https://pool.example.com:8935",
      join: { open: true, registered: false, passwordNeeded: false },
      price: { pricePerUnitWei: 1_000n, pixelsPerUnit: 1n },
    },
    live: () => world.live,
    machines: reports,
    decisions: (worker, rig) => world.decisions.get(`${worker}.${rig}`) ?? [],
    worker: () => undefined,
    rollups,
    events: (query) => store.events(query),
    onEvents: (callback) => store.onAppended(callback),
    terms: () => [terms],
    books: {
      balance: async (worker) => {
        const { earnedWei } = await rollups.totals({ worker });
        return { heldWei: earnedWei, owedWei: 0n, payingWei: 0n, paidWei: 0n };
      },
      totals: async () => {
        const { feeWei, earnedWei } = await rollups.totals({});
        return {
          heldWei: earnedWei,
          owedWei: 0n,
          payingWei: 0n,
          paidWei: 0n,
          feesWei: feeWei,
          commissionWei: feeWei - earnedWei,
          reserveWei: 0n,
          gasWei: 0n,
          adjustmentsWei: 0n,
          ticketIncomeWei: 0n,
          otherIncomeWei: 0n,
        };
      },
      halts: async () => [],
      statement: async (worker) => ({ rows: worker === ada ? rows : [], next: undefined }),
      statementSums: async () => ({ openingWei: 0n, closingWei: 0n, byKind: {} }),
      lastCheck: () => ({ atMs: Date.parse(START) - 3_000, differences: [] }),
    },
    payouts: undefined,
    income: undefined,
    alerts: settings.alerts,
    settings,
    ...more,
  };
  const served = {
    ...defaultPublicApiOptions,
    identity: undefined,
    trustProxy: false,
    dashboardDir: undefined,
    ...options,
  };
  const handler = await openPublicApi(served, { port, logger: silentLogger, clock: apiClock ?? clock });
  const api = await onOwnPort(handler, served.identity ? "https" : "http");
  return Object.assign(world, {
    clock,
    store,
    rollups,
    port,
    settings,
    sql: (text: string, values: readonly unknown[]) => store.database.query(text, values),
    api,
    async get(path: string, headers: Record<string, string> = {}, method = "GET", sent?: unknown) {
      const json = { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(sent) };
      const answer = await fetch(`${api.url}${path}`, { method, ...(sent === undefined ? { headers } : json) });
      const text = await answer.text();
      const isJson = /json/.test(answer.headers.get("content-type") ?? "");
      return { status: answer.status, headers: answer.headers, body: (isJson ? JSON.parse(text) : text) as never };
    },
    async work(worker: WorkerAddress, rig: string, pixels: bigint, data: Record<string, unknown> = {}) {
      const job = `019aa5b2-0000-7000-8000-${(++jobs).toString(16).padStart(12, "0")}`;
      const credit = creditOf(worker, rig, pixels, job);
      const full = {
        attempts: 1,
        hedged: false,
        durationMs: 2_000,
        tookMs: 650,
        seq: String(jobs),
        renditions: [
          { width: 640, height: 360, frames: 60, pixels: pixels.toString(), claimedPixels: pixels.toString() },
        ],
        ...data,
      };
      await store.credit({ ...credit, data: full });
      rows.push({
        id: job,
        atMs: clock.now(),
        kind: "credit",
        amountWei: credit.earnedWei,
        state: "held",
        termsVersion: 1,
        releaseAtMs: clock.now() + 86_400_000,
        entry: job,
        rig,
        job,
        segments: 1,
        pixels,
        pricePerUnitWei: 1_000n,
        pixelsPerUnit: 1n,
        feeWei: credit.feeWei,
        commissionWei: credit.commissionWei,
        shape: "640x360",
        scheme: "unit",
        data: undefined,
        ethPrice: undefined,
      });
    },
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await settings[Symbol.asyncDispose]();
      await rollups[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  });
}

export { ada, bob };
