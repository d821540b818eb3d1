/**
 * What the public API costs with a year behind it: latencies of every route, quiet and while jobs are credited, how fast
 * roll-ups are counted, what event streams cost, sizes on disk. Run it with
 * `npx tsx --conditions=source bench/api.ts [rigs] [days] [jobs]`; it writes `bench/results/api-<time>.json`. History is made
 * by SQL: hours and days of every rig and worker, the minutes of two days as the raw `job.credited` events of them have it,
 * books with statements, and a payout a day.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import http from "node:http";
import os, { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { silentLogger, systemClock } from "@openpool/base";
import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import { createPayoutsView, type PayoutReads } from "../packages/pool/src/api/public/payout-view.ts";
import { openPublicApi } from "../packages/pool/src/api/public/server.ts";
import { liveRig, terms } from "../packages/pool/src/api/public/testing/samples.ts";
import { onOwnPort } from "../packages/pool/src/api/testing/own-port.ts";
import type { PublicPort } from "../packages/pool/src/api/public/ports.ts";
import { openRollups, openStore, PgLedgerStore, startManagedPostgres } from "../packages/pool/src/store/index.ts";
import { PgPayoutReader } from "../packages/pool/src/store/payout-reader.ts";
import { privateKeyToAccount } from "viem/accounts";
import { openTestSettings } from "../packages/pool/src/api/public/testing/settings.ts";
import { type LinkAction, linkToken } from "../packages/pool/src/alerts/links.ts";
import { type History, RIGS_OF_A_WORKER, seedHistory } from "./api-history.ts";
import { type Asked, readingRoutes, type Route, writingRoutes } from "./api-routes.ts";
import { benchCredit, cpuOf } from "./measure.ts";
import { openSqlClient } from "../packages/pool/src/store/testing/sql-client.ts";

const [rigCount = 3_000, days = 365, jobCount = 10_000_000] = process.argv.slice(2).map(Number);
/** The first of them is a farm. */
const workerCount = 1 + Math.ceil(rigCount / RIGS_OF_A_WORKER);
const FARM_RIGS = 500;
/** Of the raw jobs, the last: counted by the pool, not by SQL of ours. */
const COUNTED = 200_000;
const WARM_UP = 20;
/** Jobs a second that are credited while all routes are asked again. */
const CREDITED_PER_S = 200;
const STREAMS = 2_000;
const STREAM_SECONDS = 10;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const address = (i: number): WorkerAddress => {
  const bytes = new Uint8Array(20).fill(0xa0);
  new DataView(bytes.buffer).setUint32(16, i + 1);
  return checksumAddress(bytes);
};

const dir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
const postgres = await startManagedPostgres(
  { dataDir: dir, systemDir: `${dir}-system` },
  { logger: silentLogger, clock: systemClock },
);
let store = await openStore(postgres.connection, { logger: silentLogger, clock: systemClock });
const client = await openSqlClient(postgres.connection, "openpool bench");

const history: History = {
  workers: Array.from({ length: workerCount }, (_, i) => address(i)),
  rigCount,
  farmRigs: FARM_RIGS,
  days,
  jobCount,
  uncounted: Math.min(jobCount, COUNTED),
};
const second = await openSqlClient(postgres.connection, "openpool bench 2");
const { hoursMs, minutesMs, jobsMs, statementLines, run } = await seedHistory([client, second], history, say);
await second.end();
// What was seeded did not go through the store, which has not heard of it.
await store[Symbol.asyncDispose]();
store = await openStore(postgres.connection, { logger: silentLogger, clock: systemClock });

const onAppended = (callback: () => void): (() => void) => store.onAppended(callback);
// The last part of them goes through the counting, as if it had just happened.
const countedFromMs = performance.now();
const countedServerMs = await cpuOf.postgres(postgres.clusterDir);
const rollups = await openRollups(postgres.connection, { logger: silentLogger, clock: systemClock, onAppended });
await rollups.catchUp();
const jobsPerSecond = Math.round(Math.min(jobCount, COUNTED) / ((performance.now() - countedFromMs) / 1_000));
const countedMs = ((await cpuOf.postgres(postgres.clusterDir)) - countedServerMs) / Math.min(jobCount, COUNTED);
say(`counted ${jobsPerSecond} jobs/s, ${countedMs.toFixed(3)} ms of PostgreSQL's CPU a job`);
await using ledger = new PgLedgerStore(postgres.connection, { clock: systemClock });
await using paid = new PgPayoutReader(postgres.connection, systemClock);
/** Of whoever pays, what pages look at. */
const payer: PayoutReads = {
  status: async () => ({ paused: undefined, halted: undefined }),
  next: async () => ({ atMs: Date.now() + 3_600_000 }),
  runs: (...args) => paid.runs(...args),
  runHead: (id) => paid.runHead(id),
  runSums: (ids) => paid.runSums(ids),
  linesOfRun: (...args) => paid.linesOfRun(...args),
  linesOf: (...args) => paid.linesOf(...args),
  finalLines: (worker) => paid.finalLines(worker),
  payToChanges: (worker) => paid.payToChanges(worker),
  payees: async () => [],
};

const farm = address(0);
const rigs = new Map(
  [
    ...Array.from({ length: FARM_RIGS }, (_, i) => liveRig(farm, `rig${i + 1}`)),
    ...Array.from({ length: rigCount }, (_, i) =>
      liveRig(address(1 + Math.floor(i / RIGS_OF_A_WORKER)), `rig${(i % RIGS_OF_A_WORKER) + 1}`),
    ),
  ].map((rig) => [`${rig.worker}.${rig.rig}`, rig]),
);
const wallet = privateKeyToAccount(`0x${"0".repeat(63)}1`);
const publicUrl = "https://pool.example.com";
const settings = await openTestSettings({
  store,
  connection: postgres.connection,
  clock: systemClock,
  publicUrl,
  rigsOf: () => ["rig1", "rig2", "rig3"],
  random: (bytes) => new Uint8Array(randomBytes(bytes)),
});
const port: PublicPort = {
  settings,
  alerts: settings.alerts,
  facts: {
    identity: { name: "Bench", logoUrl: null, contacts: [], hardware: null, notice: null, sourceUrl: null },
    version: "0",
    startedAtMs: Date.now(),
    network: "offchain",
    serviceUri: "https://127.0.0.1:8935",
    join: { open: true, registered: false, passwordNeeded: false },
    price: { pricePerUnitWei: 1_000n, pixelsPerUnit: 1n },
  },
  live: () => ({
    atMs: Date.now(),
    rigs,
    capacity: rigs.size * 4,
    sessionsHeld: rigs.size,
    streams: rigs.size,
    jobsInFlight: rigs.size,
    waiting: 0,
    latencyMs: { p50: 600, p99: 1_900 },
    draining: false,
    logWritable: true,
  }),
  machines: {
    machineOf: () => ({ software: "0", devices: [{ kind: "nvidia", model: "NVIDIA L4", count: 1 }] }),
    read: async () => undefined,
  },
  decisions: () => [],
  worker: () => undefined,
  rollups,
  events: (query) => store.events(query),
  onEvents: onAppended,
  terms: () => [terms],
  books: {
    balance: (worker) => ledger.balance(worker),
    totals: () => ledger.totals(),
    halts: () => ledger.halts(),
    statement: (...args) => ledger.statement(...args),
    statementSums: (...args) => ledger.statementSums(...args),
    nextReleaseMs: (worker) => ledger.nextReleaseMs(worker),
  },
  payouts: createPayoutsView({
    port: payer,
    clock: systemClock,
    minimumOf: () => terms.minimumPayoutWei,
    payable: () => ledger.payable(),
    halts: () => ledger.halts(),
    paidWei: async (worker) => (await ledger.balance(worker)).paidWei,
    asset: "eth",
    payer: address(0),
    chainId: 42_161,
  }),
  income: async () => ({
    receivedWei: 10n ** 20n,
    received30dWei: 10n ** 19n,
    expected30dWei: 10n ** 19n,
    luckPpm: 1_000_000,
    reserveWei: 10n ** 18n,
    reserveDays: 30,
    maxSharePpm: 800_000,
  }),
};
const api = await onOwnPort(
  await openPublicApi(
    {
      identity: undefined,
      // So that each request may come from another address.
      trustProxy: true,
      requestsPerMinute: 1e9,
      statementsPerMinute: 1e9,
      streamsPerAddress: 1e9,
      files: { perAddress: 1e9, inAll: 1e9, idleMs: 60_000 },
      dashboardDir: undefined,
    },
    { port, logger: silentLogger, clock: systemClock },
  ),
);

const agent = new http.Agent({ keepAlive: true });
let requests = 0;
interface Answered {
  readonly status: number;
  readonly text: string;
  readonly cookie: string | undefined;
  /** When the first of it came (`performance.now()`). */
  readonly firstByteMs: number;
}
const ask = ({ path, method = "GET", body, headers = {} }: Asked): Promise<Answered> =>
  new Promise((resolve, reject) => {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const from = `10.${requests >> 16}.${(requests >> 8) & 255}.${requests++ & 255}`;
    const all = {
      "x-forwarded-for": from,
      origin: publicUrl,
      ...(sent !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(sent) }),
      ...headers,
    };
    http
      .request(`${api.url}${path}`, { agent, method, headers: all }, (answer) => {
        const chunks: Buffer[] = [];
        const firstByteMs = performance.now();
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        const [cookie] = answer.headers["set-cookie"]?.[0]?.split(";") ?? [];
        answer.on("end", () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString(), cookie, firstByteMs }),
        );
        answer.on("error", reject);
      })
      .on("error", reject)
      .end(sent);
  });
const some = (i: number): WorkerAddress => address(1 + ((i * 7919) % (workerCount - 1)));
interface Measured {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Until the answer begins: its 99th percentile. */
  readonly firstByteMs: number;
  /** For how long nobody else was served, at most; this process is the reader, too. */
  readonly loopHeldMs: number;
  /** The whole of the very first one. */
  readonly firstMs: number;
  readonly bytes: number;
}
async function measure({ path, asked, ready, status = 200 }: Route): Promise<Measured> {
  const took: { readonly wholeMs: number; readonly firstByteMs: number }[] = [];
  let bytes = 0;
  const loop = monitorEventLoopDelay({ resolution: 1 });
  for (let i = -WARM_UP; i < asked; i++) {
    // The first one of all is told by itself.
    if (i < 0 && asked < 100 && i > -WARM_UP) continue;
    const n = i + WARM_UP;
    const request = ready ? await ready(n) : { path: path(n) };
    if (i === 0) loop.enable();
    const fromMs = performance.now();
    const answer = await ask(request);
    took.push({ wholeMs: performance.now() - fromMs, firstByteMs: answer.firstByteMs - fromMs });
    if (answer.status !== status) throw new Error(`${request.path} answered ${answer.status}: ${answer.text}`);
    bytes = answer.text.length;
  }
  loop.disable();
  const [first, ...rest] = took;
  const tenths = (ms: number): number => Math.round(ms * 10) / 10;
  const percentile = (of: "wholeMs" | "firstByteMs", share: number): number => {
    const sorted = rest
      .slice(-asked)
      .map((one) => one[of])
      .toSorted((a, b) => a - b);
    return tenths(sorted[Math.floor(sorted.length * share)] ?? 0);
  };
  return {
    p50Ms: percentile("wholeMs", 0.5),
    p99Ms: percentile("wholeMs", 0.99),
    firstByteMs: percentile("firstByteMs", 0.99),
    loopHeldMs: tenths(loop.max / 1e6),
    firstMs: tenths(first?.wholeMs ?? 0),
    bytes,
  };
}
async function measureAll(routes: readonly Route[]): Promise<Record<string, Measured>> {
  const measured: Record<string, Measured> = {};
  for (const route of routes) {
    const one = await measure(route);
    measured[route.name] = one;
    say(
      `${route.name}: p50 ${one.p50Ms} ms, p99 ${one.p99Ms} ms, first byte ${one.firstByteMs} ms, others held ${one.loopHeldMs} ms, first ${one.firstMs} ms, ${one.bytes} bytes`,
    );
  }
  return measured;
}

/** Of the only subscription there is. */
async function tokenOf(action: LinkAction): Promise<string> {
  const { rows } = await client.query<{ id: string; link_key: string }>(
    "select s.id, c.link_key from openpool.alert_subscriptions s, openpool.alert_cursor c limit 1",
  );
  return linkToken(rows[0]?.link_key ?? "", action, rows[0]?.id ?? "");
}
/** Says which routes that read the bench does not ask; streams are measured by themselves. */
async function missing(all: readonly Route[]): Promise<void> {
  const { paths } = JSON.parse((await ask({ path: "/v1/openapi.json" })).text) as { paths: Record<string, object> };
  const asked = new Set(all.map(({ name }) => name.replace(/^[A-Z]+ /, "").replace(/ .*/, "")));
  const left = Object.entries(paths).flatMap(([path, of]) => ("get" in of && !asked.has(path) ? [path] : []));
  if (left.some((path) => path !== "/v1/events")) throw new Error(`not asked: ${left.join(", ")}`);
}

const routes = [...readingRoutes({ some, farm, run }), ...(await writingRoutes({ ask, wallet, tokenOf }))];
await missing(routes);
const quiet = await measureAll(routes);

say(`the same while ${CREDITED_PER_S} jobs a second are credited`);
/** Credits jobs for as long as `work` takes, and says how many a second. */
async function whileCrediting<T>(work: () => Promise<T>): Promise<readonly [T, jobsPerSecond: number]> {
  let credited = 0;
  let crediting = true;
  const fromMs = performance.now();
  const pace = (async () => {
    const open = new Set<Promise<unknown>>();
    while (crediting) {
      while (credited < ((performance.now() - fromMs) / 1_000) * CREDITED_PER_S) {
        const one = store.credit(benchCredit(some(credited), credited++)).finally(() => open.delete(one));
        open.add(one);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(open);
  })();
  const done = await work();
  crediting = false;
  await pace;
  return [done, Math.round(credited / ((performance.now() - fromMs) / 1_000))];
}
const [busy, creditedPerSecond] = await whileCrediting(() => measureAll(routes));
say(`credited ${creditedPerSecond} jobs/s meanwhile`);

// The readers are in this process too: what is measured is the server's part and the readers' together, an upper bound.
const streams = await Promise.all(
  Array.from(
    { length: STREAMS },
    (_, i) =>
      new Promise<http.IncomingMessage>((resolve, reject) => {
        const path = i % 2 === 0 ? "/v1/events" : `/v1/events?worker=${some(i)}`;
        http.get(`${api.url}${path}`, (answer) => resolve(answer.resume())).on("error", reject);
      }),
  ),
);
/** What crediting costs is in it too: it is told beside it, without readers. */
const coresFor = async (seconds: number): Promise<number> => {
  const before = process.cpuUsage();
  const fromMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const used = process.cpuUsage(before);
  return Math.round((used.user + used.system) / 10 / (performance.now() - fromMs)) / 100;
};
const [coresWithReaders, creditedToStreams] = await whileCrediting(() => coresFor(STREAM_SECONDS));
for (const one of streams) one.destroy();
const [coresWithout] = await whileCrediting(() => coresFor(STREAM_SECONDS));
say(
  `${STREAMS} event streams, half of them of one worker, at ${creditedToStreams} jobs/s: ${coresWithReaders} cores, readers and crediting included; ${coresWithout} without streams`,
);

const sizes = (
  await client.query<{ name: string; bytes: string; rows: string }>(
    `select c.relname as name, pg_total_relation_size(c.oid) as bytes, c.reltuples::bigint as rows from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'openpool' and c.relkind = 'r' and c.relname ~ '^(rollup|events_|ledger_lines|payout_lines)' order by 2 desc`,
  )
).rows;
for (const { name, bytes, rows } of sizes) say(`${name}: ${Math.round(Number(bytes) / 2 ** 20)} MiB, ${rows} rows`);

const results = {
  what: "public API with history",
  date: new Date().toISOString(),
  machine: {
    cpu: os.cpus()[0]?.model,
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    node: process.version,
    // Others that run on the machine make every number worse.
    loadAverage: os.loadavg().map((one) => Math.round(one * 10) / 10),
  },
  seeded: {
    rigs: rigs.size,
    rigsOfTheFarm: FARM_RIGS,
    workers: workerCount,
    days,
    jobs: jobCount,
    statementLines,
    hoursMs: Math.round(hoursMs),
    minutesMs: Math.round(minutesMs),
    jobsMs: Math.round(jobsMs),
  },
  rollups: {
    jobs: Math.min(jobCount, COUNTED),
    jobsPerSecond,
    postgresCpuMsPerJob: Math.round(countedMs * 1_000) / 1_000,
  },
  routes: quiet,
  routesWhileCrediting: { jobsPerSecond: creditedPerSecond, routes: busy },
  eventStreams: {
    streams: STREAMS,
    ofOneWorker: STREAMS / 2,
    jobsPerSecond: creditedToStreams,
    coresWithReaders,
    coresWithout,
  },
  sizes,
};
const out = new URL("results/", import.meta.url);
await mkdir(out, { recursive: true });
await writeFile(
  new URL(`api-${results.date.replaceAll(/[:.]/g, "-")}.json`, out),
  `${JSON.stringify(results, undefined, 2)}\n`,
);

await api[Symbol.asyncDispose]();
await settings[Symbol.asyncDispose]();
await rollups[Symbol.asyncDispose]();
await client.end();
await store[Symbol.asyncDispose]();
await postgres[Symbol.asyncDispose]();
await rm(dir, { recursive: true, force: true });
await rm(`${dir}-system`, { recursive: true, force: true });
