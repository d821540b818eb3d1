/**
 * What the books cost: jobs a second from the event log into the ledger, how soon a line follows its job, how fast a
 * rebuild is and how much memory it takes, and how long a worker waits for its balance and its last 100 lines with a big
 * table behind them. Run it with `npx tsx --conditions=source bench/ledger.ts [jobs] [rows behind]`.
 */
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { creditFor } from "../packages/pool/src/ledger/credit-for.ts";
import { defaultTerms } from "../packages/pool/src/ledger/terms-keeper.ts";
import { TermsBook } from "../packages/pool/src/ledger/terms.ts";
import { bookUnit } from "../packages/pool/src/ledger/unit.ts";
import { LedgerReader, ledgerStep } from "../packages/pool/src/store/ledger-reader.ts";
import { WorkerNumbers } from "../packages/pool/src/store/ledger-writer.ts";
import { openClient } from "../packages/pool/src/store/testing/open-client.ts";
import {
  createUuidV7,
  openStore,
  PgLedgerStore,
  rebuildLedger,
  startManagedPostgres,
} from "../packages/pool/src/store/index.ts";

const jobs = Number(process.argv[2] ?? 100_000);
const behind = Number(process.argv[3] ?? 2_000_000);
const WORKERS = 300;

const workers = Array.from({ length: WORKERS }, (_, i) => {
  const hex = (0x1000 + i).toString(16).padStart(4, "0");
  return parseAddress(`0x${hex.repeat(10)}`) as WorkerAddress;
});
const uuid = createUuidV7(() => Date.now());
const round = (value: number, digits = 0): number => Number(value.toFixed(digits));

/** A job's event, as the pool writes it. */
function eventData(i: number): Record<string, unknown> {
  const { pixels, price, commissionPpm, feeWei, commissionWei, earnedWei } = creditFor({
    pixels: 93_715_200n + BigInt(i % 1_000),
    price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
  });
  return {
    renditions: [720, 480, 360].map((height) => ({
      width: Math.round((height * 16) / 9),
      height,
      frames: 60,
      pixels: "55296000",
      claimedPixels: "55296000",
    })),
    tookMs: 612,
    termsVersion: 1,
    source: "gateway",
    seq: String(i),
    durationMs: 2000,
    attempts: 1,
    hedged: false,
    segments: 1,
    pixels: String(pixels),
    price: { pricePerUnitWei: String(price.pricePerUnitWei), pixelsPerUnit: String(price.pixelsPerUnit) },
    commissionPpm: String(commissionPpm),
    feeWei: String(feeWei),
    commissionWei: String(commissionWei),
    earnedWei: String(earnedWei),
  };
}

type Client = Awaited<ReturnType<typeof openClient>>;

/** Fills the event log, as appending leaves it, faster than appending. */
async function fillLog(client: Client, count: number): Promise<void> {
  const at = Date.now() - 60_000;
  for (let done = 0; done < count; done += 5_000) {
    const n = Math.min(5_000, count - done);
    const ids = Array.from({ length: n }, () => [uuid(), uuid()] as const);
    await client.query("begin");
    await client.query(
      `insert into openpool.events (position, id, time, type, worker, rig, data)
       select h.position + e.i, e.id, timestamptz 'epoch' + $4 * interval '1 millisecond', 'job.credited', e.worker, 'rig1', e.data::json
       from openpool.log_head h, unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as e (id, worker, data, i)`,
      [
        ids.map(([id]) => id),
        ids.map((_, i) => workers[(done + i) % WORKERS]),
        ids.map(([, job], i) => JSON.stringify({ ...eventData(done + i), job })),
        at + done / 1_000,
      ],
    );
    await client.query("insert into openpool.credits select * from unnest($1::uuid[], $2::uuid[])", [
      ids.map(([, job]) => job),
      ids.map(([id]) => id),
    ]);
    await client.query("update openpool.log_head set position = position + $1", [n]);
    await client.query("commit");
  }
}

/** Rows that look like a long past: only statements see them. */
async function fillLines(client: Client, count: number): Promise<void> {
  await client.query(
    "insert into openpool.ledger_workers (worker) select unnest($1::text[]) on conflict (worker) do nothing",
    [workers],
  );
  for (let done = 0; done < count; done += 250_000) {
    const n = Math.min(250_000, count - done);
    await client.query(
      `insert into openpool.ledger_lines (worker, at, id, entry, kind, amount_wei, terms_version, release_at, rig, job, segments,
         pixels, price_per_unit, pixels_per_unit, fee_wei, commission_wei, shape, scheme)
       select w.id, timestamptz '2020-01-01' + (i * interval '15 milliseconds'), gen_random_uuid(), gen_random_uuid(), 'credit',
         70286400000 + i % 1000, 1, timestamptz '2020-01-02', 'rig1', gen_random_uuid(), 1, 93715200 + i % 1000, 1000, 1,
         93715200000 + i % 1000, 23428800000, '1280x720+853x480+640x360', 'unit'
       from generate_series($1::bigint, $2::bigint) i
         join (select id, row_number() over (order by id) - 1 as n from openpool.ledger_workers) w on w.n = i % $3`,
      [done, done + n - 1, WORKERS],
    );
  }
  await client.query("vacuum analyze openpool.ledger_lines");
}

/** CPU milliseconds that the server's processes have used; those that ended are not counted. */
async function postgresCpuMs(cluster: string): Promise<number> {
  let ns = 0;
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    if ((await readlink(`/proc/${pid}/cwd`).catch(() => "")) !== cluster) continue;
    ns += Number((await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => "0")).split(" ")[0]);
  }
  return ns / 1e6;
}

function percentiles(waits: number[]): { p50ms: number; p99ms: number; maxMs: number } {
  waits.sort((a, b) => a - b);
  const at = (q: number): number => round(waits[Math.min(waits.length - 1, Math.floor(waits.length * q))] ?? 0, 2);
  return { p50ms: at(0.5), p99ms: at(0.99), maxMs: at(1) };
}

/** What else ran on the machine: above its number of cores, times are those of a crowd. */
const loadAtStart = loadavg().map((one) => round(one, 1));
const dataDir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
const results: Record<string, unknown> = {};
{
  const deps = { logger: silentLogger, clock: systemClock };
  // As a pool runs it: durable, not the fast settings of tests.
  await using postgres = await startManagedPostgres({ dataDir }, deps);
  const { connection } = postgres;
  await using store = await openStore(connection, deps);
  await using ledger = new PgLedgerStore(connection, deps);
  const client = await openClient(connection);
  const terms = new TermsBook([{ version: 1, effectiveAtMs: 0, announcedAtMs: 0, ...defaultTerms }]);
  const nowMs = (): number => Date.now();

  await fillLog(client, jobs);
  await client.query("checkpoint");
  const numbers = new WorkerNumbers();
  const cpu = process.cpuUsage();
  const serverMs = await postgresCpuMs(postgres.clusterDir);
  const begin = performance.now();
  for (;;) {
    const step = await ledgerStep(client, { terms, bookJob: bookUnit, numbers, nowMs: nowMs(), newId: uuid });
    if (step.position === step.head) break;
  }
  const bookMs = performance.now() - begin;
  const used = process.cpuUsage(cpu);
  const server = (await postgresCpuMs(postgres.clusterDir)) - serverMs;
  results["events to ledger"] = {
    jobs,
    "jobs/s": round((jobs * 1000) / bookMs),
    "node CPU ms/job": round((used.user + used.system) / 1000 / jobs, 4),
    "postgres CPU ms/job": round(server / jobs, 4),
    "jobs/s that a whole core of node can do": round((jobs * 1e6) / (used.user + used.system)),
    "jobs/s that a whole core of postgres can do": round((jobs * 1000) / server),
  };

  const rebuilt: { rssMb: number }[] = [];
  const rebuildCpu = process.cpuUsage();
  const from = performance.now();
  const result = await rebuildLedger(connection, {
    terms,
    bookJob: bookUnit,
    verify: false,
    nowMs,
    onProgress: ({ jobs: done }) => {
      if (done % 20_000 < 2_000) rebuilt.push({ rssMb: round(process.memoryUsage.rss() / 2 ** 20) });
    },
  });
  const rebuildMs = performance.now() - from;
  if (result.differences.length > 0) throw new Error(`the rebuild differs: ${JSON.stringify(result.differences)}`);
  const rebuildUsed = process.cpuUsage(rebuildCpu);
  results["rebuild"] = {
    jobs: result.jobs,
    "node CPU ms/job": round((rebuildUsed.user + rebuildUsed.system) / 1000 / jobs, 4),
    "jobs/s": round((jobs * 1000) / rebuildMs),
    "10 million jobs, extrapolated, min": round((1e7 / jobs) * (rebuildMs / 60_000), 1),
    "MB of memory, first and last": [rebuilt.at(0)?.rssMb, rebuilt.at(-1)?.rssMb],
  };

  {
    // Jobs as they come, at a steady pace; the time until the balance has grown by one is asked of the database.
    await using _reader = new LedgerReader(connection, {
      ...deps,
      terms,
      bookJob: bookUnit,
      onAppended: (callback) => store.onAppended(callback),
    });
    const waits: number[] = [];
    for (let i = 0; i < 60; i++) {
      const worker = workers[i % WORKERS]!;
      const background = Array.from({ length: 20 }, async (_, k) => {
        await new Promise((resolve) => setTimeout(resolve, k * 3));
        await store.credit(creditOfBench(workers[(i + k + 1) % WORKERS]!));
      });
      const { heldWei } = await ledger.balance(worker);
      await store.credit(creditOfBench(worker));
      const answered = performance.now();
      while ((await ledger.balance(worker)).heldWei === heldWei) await new Promise((resolve) => setTimeout(resolve, 2));
      waits.push(performance.now() - answered);
      await Promise.all(background);
    }
    results["lag from a job's answer to its line"] = percentiles(waits);
  }

  await fillLines(client, behind);
  const waits: number[] = [];
  for (let i = 0; i < 1_000; i++) {
    const worker = workers[(i * 7) % WORKERS]!;
    const start = performance.now();
    await Promise.all([ledger.balance(worker), ledger.statement(worker, {}, undefined, 100, "newest-first")]);
    if (i >= 50) waits.push(performance.now() - start);
  }
  const { rows } = await client.query<{ size: string; lines: string }>(
    `select pg_size_pretty(pg_total_relation_size('openpool.ledger_lines')) as size, count(*) as lines from openpool.ledger_lines`,
  );
  results["balance and last 100 lines"] = { "rows behind": rows[0]?.lines, size: rows[0]?.size, ...percentiles(waits) };
  await client.end();
}
await rm(dataDir, { recursive: true, force: true });

function creditOfBench(worker: WorkerAddress) {
  return {
    job: uuid(),
    earner: { worker, rig: "rig1" },
    segments: 1,
    ...creditFor({
      pixels: 93_715_200n,
      price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
      commissionPpm: 250_000n,
    }),
    data: { durationMs: 2000, termsVersion: 1, renditions: [{ width: 1280, height: 720, frames: 60 }] },
  };
}

const report = {
  at: new Date().toISOString(),
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, loadAtStart: loadAtStart[0] },
  results,
};
const text = `${JSON.stringify(report, undefined, 2)}\n`;
// oxlint-disable-next-line no-console -- the numbers are what this program is for
console.log(text);
const out = process.env["BENCH_OUT"];
if (out !== undefined) await writeFile(out, text);
