/**
 * What the books cost: jobs a second from the event log into the ledger, how soon a line follows its job, how fast a
 * rebuild is and how much memory it takes, and how long a worker waits for its balance and its last 100 lines with a big
 * table behind them. Run it with `npx tsx --conditions=source bench/ledger.ts [--jobs 100000] [--behind 10000000]`. With
 * `--jobs 10000000 --behind 0` ten million jobs are really booked and rebuilt: about 25 GB of disk.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { silentLogger, systemClock } from "@openpool/base";
import type { ClientBase } from "pg";
import { defaultTerms } from "../packages/pool/src/ledger/terms-keeper.ts";
import { TermsBook } from "../packages/pool/src/ledger/terms.ts";
import { createJobBooker } from "../packages/pool/src/ledger/schemes/index.ts";
import { LedgerReader } from "../packages/pool/src/store/ledger-reader.ts";
import { openClient } from "../packages/pool/src/store/testing/open-client.ts";
import {
  openStore,
  PgLedgerStore,
  rebuildLedger,
  startManagedPostgres,
  type Store,
} from "../packages/pool/src/store/index.ts";
import { benchCredit, benchWorkers, cpuOf, loadNow, percentiles, report, round } from "./measure.ts";

const { values: flags } = parseArgs({
  options: { jobs: { type: "string", default: "100000" }, behind: { type: "string", default: "10000000" } },
});
const jobs = Number(flags.jobs);
const behind = Number(flags.behind);
const WORKERS = 300;
const workers = benchWorkers(WORKERS);

/** The log of so many jobs: one of each worker comes as a pool writes it, and is then there many times, each with ids of its own. */
async function fillLog(client: ClientBase, store: Pick<Store, "credit">, count: number): Promise<void> {
  const first = Math.min(WORKERS, count);
  await Promise.all(workers.slice(0, first).map((worker, i) => store.credit(benchCredit(worker, i))));
  for (let done = first; done < count; done += 50_000) {
    const n = Math.min(50_000, count - done);
    await client.query(
      `with head as (update openpool.log_head set position = position + $2 returning position - $2 as base),
       copies as materialized (
         select i, gen_random_uuid() as id, gen_random_uuid() as job, (i - 1) % $1 + 1 as pattern from generate_series(1, $2) i
       ), appended as (
         insert into openpool.events (position, id, time, type, worker, rig, data)
         select head.base + c.i, c.id, e.time, e.type, e.worker, e.rig,
           (e.data::jsonb || jsonb_build_object('job', c.job))::json
         from head, copies c join openpool.events e on e.position = c.pattern
       )
       insert into openpool.credits (job, event) select job, id from copies`,
      [first, n],
    );
  }
}

/** Rows that look like a long past: only statements see them. */
async function fillLines(client: ClientBase, count: number): Promise<void> {
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

const loadAtStart = loadNow();
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

  await fillLog(client, store, jobs);
  await client.query("checkpoint");
  const cpu = process.cpuUsage();
  const serverMs = await cpuOf.postgres(postgres.clusterDir);
  const begin = performance.now();
  let bookMs = 0;
  let server = 0;
  {
    // As a pool that was away and catches up.
    const reader = new LedgerReader(connection, {
      ...deps,
      terms,
      bookJob: createJobBooker(terms),
      onAppended: () => () => {},
    });
    await using _reader = reader;
    while (reader.progress.jobsBooked < jobs) await new Promise((resolve) => setTimeout(resolve, 5));
    bookMs = performance.now() - begin;
    server = (await cpuOf.postgres(postgres.clusterDir)) - serverMs;
  }
  const used = process.cpuUsage(cpu);
  results["events to ledger"] = {
    jobs,
    "jobs/s": round((jobs * 1000) / bookMs),
    "node CPU ms/job": round((used.user + used.system) / 1000 / jobs, 4),
    "postgres CPU ms/job": round(server / jobs, 4),
    "jobs/s that a whole core of node can do": round((jobs * 1e6) / (used.user + used.system)),
    "jobs/s that a whole core of postgres can do": round((jobs * 1000) / server),
  };

  /** Memory of this process at each twentieth of the way. */
  const rssMb: number[] = [];
  const rebuildCpu = process.cpuUsage();
  const from = performance.now();
  const result = await rebuildLedger(connection, {
    terms,
    bookJob: createJobBooker(terms),
    verify: false,
    nowMs,
    onProgress: ({ jobs: done }) => {
      if (done >= (rssMb.length * jobs) / 20) rssMb.push(round(process.memoryUsage.rss() / 2 ** 20));
    },
  });
  const rebuildMs = performance.now() - from;
  if (result.differences.length > 0) throw new Error(`the rebuild differs: ${JSON.stringify(result.differences)}`);
  const rebuildUsed = process.cpuUsage(rebuildCpu);
  results["rebuild"] = {
    jobs: result.jobs,
    "node CPU ms/job": round((rebuildUsed.user + rebuildUsed.system) / 1000 / jobs, 4),
    "jobs/s": round((jobs * 1000) / rebuildMs),
    min: round(rebuildMs / 60_000, 1),
    ...(jobs < 1e7 ? { "10 million jobs, extrapolated, min": round((1e7 / jobs) * (rebuildMs / 60_000), 1) } : {}),
    "MB of memory at each twentieth": rssMb,
  };

  {
    // Jobs as they come, at a steady pace; the time until the balance has grown by one is asked of the database.
    await using _reader = new LedgerReader(connection, {
      ...deps,
      terms,
      bookJob: createJobBooker(terms),
      onAppended: (callback) => store.onAppended(callback),
    });
    const waits: number[] = [];
    for (let i = 0; i < 60; i++) {
      const worker = workers[i % WORKERS]!;
      const background = Array.from({ length: 20 }, async (_, k) => {
        await new Promise((resolve) => setTimeout(resolve, k * 3));
        await store.credit(benchCredit(workers[(i + k + 1) % WORKERS]!));
      });
      const { heldWei } = await ledger.balance(worker);
      await store.credit(benchCredit(worker));
      const answered = performance.now();
      while ((await ledger.balance(worker)).heldWei === heldWei) await new Promise((resolve) => setTimeout(resolve, 2));
      waits.push(performance.now() - answered);
      await Promise.all(background);
    }
    results["lag from a job's answer to its line"] = percentiles(waits);
  }

  const { rows: tables } = await client.query<{ name: string; bytes: string }>(
    `select regexp_replace(c.relname, '_\\d{4}_\\d\\d$', '') as name, sum(pg_total_relation_size(c.oid)) as bytes
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'openpool' and c.relkind = 'r' group by 1 having sum(pg_total_relation_size(c.oid)) > $1 order by 2 desc`,
    [jobs],
  );
  results["disk"] = Object.fromEntries(
    tables.map(({ name, bytes }) => [
      name,
      { "bytes a job": round(Number(bytes) / jobs), "GB for 100 million": round((Number(bytes) / jobs) * 0.1, 1) },
    ]),
  );

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

await report("the books", { jobs, "rows behind": behind, workers: WORKERS }, results, loadAtStart);
