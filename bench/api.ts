/**
 * What the public API costs with a year behind it: latencies of every route, how fast roll-ups are counted, what event
 * streams cost, sizes on disk. Run it with `npx tsx --conditions=source bench/api.ts [rigs] [days] [jobs]`; it writes
 * `bench/results/api-<time>.json`. History is made by SQL: hours and days of every rig and worker, minutes of the last two
 * days for a part of them, as many real `job.credited` events as asked for, books with statements, and a payout a day.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import os, { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import { createPayoutsView, type PayoutReads } from "../packages/pool/src/api/public/payout-view.ts";
import { openPublicApi } from "../packages/pool/src/api/public/server.ts";
import { liveRig, terms } from "../packages/pool/src/api/public/testing/samples.ts";
import { onOwnPort } from "../packages/pool/src/api/testing/own-port.ts";
import type { PublicPort } from "../packages/pool/src/api/public/ports.ts";
import { openRollups, openStore, PgLedgerStore, startManagedPostgres } from "../packages/pool/src/store/index.ts";
import { PgPayoutReader } from "../packages/pool/src/store/payout-reader.ts";
import { type History, RIGS_OF_A_WORKER, seedHistory } from "./api-history.ts";
import { cpuOf } from "./measure.ts";
import { openSqlClient } from "../packages/pool/src/store/testing/sql-client.ts";

const [rigCount = 3_000, days = 365, jobCount = 10_000_000] = process.argv.slice(2).map(Number);
const workerCount = Math.ceil(rigCount / RIGS_OF_A_WORKER);
/** Of the raw jobs, the last: counted by the pool, not by SQL of ours. */
const COUNTED = 500_000;
const WARM_UP = 20;
const ASKED = 300;
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
const store = await openStore(postgres.connection, { logger: silentLogger, clock: systemClock });
const client = await openSqlClient(postgres.connection, "openpool bench");

const history: History = {
  workers: Array.from({ length: workerCount }, (_, i) => address(i)),
  rigCount,
  days,
  jobCount,
};
const { hoursMs, jobsMs, statementLines, run } = await seedHistory(client, history, say);

const onAppended = (callback: () => void): (() => void) => store.onAppended(callback);
// The last part of them goes through the counting, as if it had just happened.
await client.query("update openpool.rollup_cursor set position = $1", [jobCount - Math.min(jobCount, COUNTED)]);
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
  runs: ({ limit = 100, before } = {}) => paid.runs(limit, before),
  run: (id) => paid.run(id),
  linesOf: (worker, { limit = 100, before } = {}) => paid.linesOf(worker, limit, before),
  finalLines: (worker) => paid.finalLines(worker),
  payToChanges: (worker) => paid.payToChanges(worker),
  payees: async () => [],
};

const rigs = new Map(
  Array.from({ length: rigCount }, (_, i) => {
    const rig = liveRig(address(Math.floor(i / RIGS_OF_A_WORKER)), `rig${(i % RIGS_OF_A_WORKER) + 1}`);
    return [`${rig.worker}.${rig.rig}`, rig] as const;
  }),
);
const port: PublicPort = {
  facts: {
    identity: { name: "Bench", logoUrl: null, contacts: [], hardware: null, notice: null },
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
    capacity: rigCount * 4,
    sessionsHeld: rigCount,
    streams: rigCount,
    jobsInFlight: rigCount,
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
      trustProxy: false,
      requestsPerMinute: 1e9,
      statementsPerMinute: 1e9,
      streamsPerAddress: 1e9,
      dashboardDir: undefined,
    },
    { port, logger: silentLogger, clock: systemClock },
  ),
);

const agent = new http.Agent({ keepAlive: true });
const ask = (path: string): Promise<{ bytes: number; status: number }> =>
  new Promise((resolve, reject) => {
    http
      .get(`${api.url}${path}`, { agent }, (answer) => {
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
        answer.on("end", () => resolve({ bytes, status: answer.statusCode ?? 0 }));
      })
      .on("error", reject);
  });
const some = (i: number): WorkerAddress => address((i * 7919) % workerCount);
const aDayAgo = new Date(Date.now() - 86_400_000).toISOString();
const routes: readonly (readonly [string, (i: number) => string])[] = [
  ["/v1/pool", () => "/v1/pool"],
  ["/v1/status", () => "/v1/status"],
  ["/v1/terms", () => "/v1/terms"],
  ["/v1/solvency", () => "/v1/solvency"],
  ["/v1/payouts", () => "/v1/payouts?limit=50"],
  ["/v1/payouts/{id}", () => `/v1/payouts/${run}?limit=50`],
  ["/v1/problems", () => "/v1/problems"],
  ["/v1/openapi.json", () => "/v1/openapi.json"],
  ["/v1/docs", () => "/v1/docs"],
  ["/v1/earnings 30d by hour", () => "/v1/earnings?window=30d&step=hour"],
  ["/v1/workers", () => "/v1/workers?limit=100"],
  ["/v1/rigs by speed", () => "/v1/rigs?sort=speed&limit=100"],
  ["/v1/leaderboard 30d", () => "/v1/leaderboard?window=30d"],
  ["/v1/workers/{address}", (i) => `/v1/workers/${some(i)}`],
  ["…/rigs", (i) => `/v1/workers/${some(i)}/rigs`],
  ["…/rigs/{name}", (i) => `/v1/workers/${some(i)}/rigs/rig1`],
  ["…/why", (i) => `/v1/workers/${some(i)}/why`],
  ["…/payouts", (i) => `/v1/workers/${some(i)}/payouts?limit=50`],
  ["…/statements.csv of a day", (i) => `/v1/workers/${some(i)}/statements.csv?from=${aDayAgo}`],
  ["…/jobs", (i) => `/v1/workers/${some(i)}/jobs?limit=50`],
  ["…/earnings 30d by day", (i) => `/v1/workers/${some(i)}/earnings?window=30d`],
  ["…/earnings 24h by minute", (i) => `/v1/workers/${some(i)}/earnings?window=24h&step=minute`],
];
const measured: Record<string, { p50Ms: number; p99Ms: number; firstMs: number; bytes: number }> = {};
for (const [name, path] of routes) {
  const firstFromMs = performance.now();
  await ask(path(0));
  const firstMs = performance.now() - firstFromMs;
  for (let i = 0; i < WARM_UP; i++) await ask(path(i));
  const took: number[] = [];
  let bytes = 0;
  for (let i = 0; i < ASKED; i++) {
    const fromMs = performance.now();
    const answer = await ask(path(i + WARM_UP));
    took.push(performance.now() - fromMs);
    if (answer.status !== 200) throw new Error(`${path(i)} answered ${answer.status}`);
    bytes = answer.bytes;
  }
  took.sort((a, b) => a - b);
  const at = (share: number): number => Math.round((took[Math.floor(took.length * share)] ?? 0) * 10) / 10;
  measured[name] = { p50Ms: at(0.5), p99Ms: at(0.99), firstMs: Math.round(firstMs * 10) / 10, bytes };
  say(
    `${name}: p50 ${measured[name]?.p50Ms} ms, p99 ${measured[name]?.p99Ms} ms, first ${measured[name]?.firstMs} ms, ${bytes} bytes`,
  );
}

// The readers are in this process too: what is measured is the server's part and the readers' together, an upper bound.
const streams = await Promise.all(
  Array.from(
    { length: STREAMS },
    () =>
      new Promise<http.IncomingMessage>((resolve, reject) => {
        http.get(`${api.url}/v1/events`, (answer) => resolve(answer.resume())).on("error", reject);
      }),
  ),
);
const before = process.cpuUsage();
const streamsFromMs = performance.now();
for (let i = 0; i < STREAM_SECONDS * 2; i++) {
  await store.append([{ type: "rig.left", worker: address(i), rig: "rig1", data: {} }]);
  await new Promise((resolve) => setTimeout(resolve, 500));
}
const used = process.cpuUsage(before);
const streamCores = (used.user + used.system) / 1_000 / (performance.now() - streamsFromMs);
say(`${STREAMS} event streams: ${streamCores.toFixed(2)} cores, readers included`);
for (const one of streams) one.destroy();

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
    rigs: rigCount,
    workers: workerCount,
    days,
    jobs: jobCount,
    statementLines,
    hoursMs: Math.round(hoursMs),
    jobsMs: Math.round(jobsMs),
  },
  rollups: {
    jobs: Math.min(jobCount, COUNTED),
    jobsPerSecond,
    postgresCpuMsPerJob: Math.round(countedMs * 1_000) / 1_000,
  },
  routes: measured,
  eventStreams: { streams: STREAMS, coresWithReaders: Math.round(streamCores * 100) / 100 },
  sizes,
};
const out = new URL("results/", import.meta.url);
await mkdir(out, { recursive: true });
await writeFile(
  new URL(`api-${results.date.replaceAll(/[:.]/g, "-")}.json`, out),
  `${JSON.stringify(results, undefined, 2)}\n`,
);

await api[Symbol.asyncDispose]();
await rollups[Symbol.asyncDispose]();
await client.end();
await store[Symbol.asyncDispose]();
await postgres[Symbol.asyncDispose]();
await rm(dir, { recursive: true, force: true });
await rm(`${dir}-system`, { recursive: true, force: true });
