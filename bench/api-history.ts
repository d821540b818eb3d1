import type { WorkerAddress } from "@openpool/protocol";

export interface History {
  readonly workers: readonly WorkerAddress[];
  readonly rigCount: number;
  readonly days: number;
  /** Rigs of the first worker, a farm; the others share `rigCount`, some each. */
  readonly farmRigs: number;
  /** Raw jobs, evenly over the last 48 hours, as far as they are of this month. */
  readonly jobCount: number;
  /** Of them, the last ones that no sums were made of yet. */
  readonly uncounted: number;
}

export interface Seeded {
  readonly hoursMs: number;
  readonly minutesMs: number;
  readonly jobsMs: number;
  readonly statementLines: number;
  /** One of the payout runs. */
  readonly run: string;
}

/** What the seeding asks of a database client. */
export interface Client {
  query<Row extends object>(sql: string, values?: unknown[]): Promise<{ readonly rows: readonly Row[] }>;
}

export const RIGS_OF_A_WORKER = 3;
/** Credits in statements: of the last 30 days. */
const MOST_LINES = 1_000_000;
const SUMS = "jobs, lost, rescued, failed, pixels, claimed, fee, earned, source_ms, work_ms";
const ONE_HOUR = "120, 0, 1, 2, 6635520000, 6635520000, 6635520000000, 4976640000000, 240000, 80000";

/** As minutes are kept: what is older would be dropped under the questions. */
const MINUTES = 2_878;
const MINUTE_MS = 60_000;

/** The facts of a segment in three renditions, as a gateway's job is credited: only the numbers differ. */
const RENDITIONS = [720, 480, 360]
  .map(
    (height) =>
      `{"width":${Math.round((height * 16) / 9)},"height":${height},"frames":60,"pixels":"55296000","claimedPixels":"55296000"}`,
  )
  .join(",");
const FACTS = `"segments":1,"pixels":"55296000","feeWei":"55296000000","commissionWei":"13824000000","earnedWei":"41472000000","renditions":[${RENDITIONS}],"termsVersion":1,"source":"gateway","durationMs":2000,"attempts":1,"hedged":false,"price":{"pricePerUnitWei":"1000","pixelsPerUnit":"1"}`;

/**
 * Writes a past into an empty database, by SQL: roll-ups of every rig and worker, raw jobs, books, payouts. Over two
 * connections, since each has more to do than one core does in the time.
 */
export async function seedHistory(
  [one, other]: readonly [Client, Client],
  history: History,
  say: (text: string) => void,
): Promise<Seeded> {
  for (const client of [one, other]) {
    await client.query("set synchronous_commit = off; set work_mem = '64MB'; set maintenance_work_mem = '512MB'");
  }
  // A pool's server checkpoints often, so as to be back soon after a crash; what is seeded is written once.
  await one.query("alter system set max_wal_size = '8GB'");
  await one.query("alter system set checkpoint_timeout = '1h'");
  await one.query("select pg_reload_conf()");
  await one.query("create table public.bench_workers (i int primary key, worker text)");
  await one.query(
    "insert into public.bench_workers select i - 1, a from unnest($1::text[]) with ordinality as u (a, i)",
    [history.workers],
  );
  const { rows: begins } = await one.query<{ ms: string }>(
    `select floor(extract(epoch from greatest(date_trunc('minute', now()) - interval '${MINUTES - 1} minutes',
       date_trunc('month', now(), 'UTC'))) * 1000)::bigint as ms`,
  );
  const fromMs = Number(begins[0]?.ms);
  const minutes = Math.floor((Date.now() - fromMs) / MINUTE_MS) + 1;
  const span = { fromMs, minutes };
  const [sums, books] = await Promise.all([seedSums(one, history, span, say), seedLog(other, history, span, say)]);
  await one.query("drop table public.bench_workers");
  // The two that are large would be written a second time, and nothing reads them by their index alone.
  const months = (
    await one.query<{ name: string }>(
      "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'openpool.events'::regclass",
    )
  ).rows.map(({ name }) => name);
  for (const table of ["openpool.rollup_hours", ...months]) {
    await one.query(`alter table ${table} set (autovacuum_enabled = false)`);
  }
  const small = ["rollup_minutes", "rollup_days", "rollup_subjects", "ledger_lines", "payout_lines", "payout_runs"];
  const startedMs = performance.now();
  await Promise.all([
    one.query(`vacuum (analyze) ${small.map((table) => `openpool.${table}`).join(", ")}`),
    other.query("analyze openpool.rollup_hours, openpool.events"),
  ]);
  await one.query("alter system reset all");
  await one.query("select pg_reload_conf()");
  await one.query("checkpoint");
  say(`vacuum: ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  return { ...sums, ...books };
}

/** The minutes in which jobs were done, evenly: job `n` of `jobCount` is of minute `(n - 1) * minutes / jobCount`. */
interface Span {
  readonly fromMs: number;
  readonly minutes: number;
}

function seeding(client: Client, say: (text: string) => void) {
  const timed = async (what: string, sql: string): Promise<number> => {
    const startedMs = performance.now();
    await client.query(sql);
    const tookMs = performance.now() - startedMs;
    say(`${what}: ${(tookMs / 1_000).toFixed(1)} s`);
    return tookMs;
  };
  /** Fills a table without its key, which is made afterwards: a third of the time. */
  const fill = async (table: string, what: string, insert: string, key: string): Promise<number> => {
    await client.query(`alter table openpool.${table} drop constraint ${table}_pkey`);
    const tookMs = await timed(what, insert);
    return tookMs + (await timed(`${table}: its key`, `alter table openpool.${table} add primary key (${key})`));
  };
  return { timed, fill };
}

/** Each so-manyth job is the farm's: its part of the rigs. */
const FARM_EVERY = 7;

/** Who did job `n`, and with which of its rigs, as SQL. */
const workerOf = ({ workers }: History): string =>
  `case when n % ${FARM_EVERY} = 0 then 0 else 1 + (n * 7919::bigint) % ${workers.length - 1} end`;
const rigOf = ({ farmRigs }: History): string =>
  `'rig' || (case when n % ${FARM_EVERY} = 0 then n / ${FARM_EVERY} % ${farmRigs} else n % ${RIGS_OF_A_WORKER} end + 1)`;

async function seedSums(
  client: Client,
  history: History,
  { fromMs, minutes }: Span,
  say: (text: string) => void,
): Promise<Pick<Seeded, "hoursMs" | "minutesMs">> {
  const { rigCount, farmRigs, days, jobCount, uncounted } = history;
  const { fill } = seeding(client, say);
  const rig = rigOf(history);
  await client.query(`
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at) values ('', '', now() - interval '${days} days', null);
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at)
      select worker, '', now() - interval '${days} days', now() from public.bench_workers;
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at)
      select worker, 'rig' || n, now() - interval '${days} days', now()
      from public.bench_workers w, generate_series(1, case w.i when 0 then ${farmRigs} else ${RIGS_OF_A_WORKER} end) n
      where w.i = 0 or (w.i - 1) * ${RIGS_OF_A_WORKER} + n <= ${rigCount}`);
  // In the order of time, as they come in life.
  const hoursMs = await fill(
    "rollup_hours",
    `hours of ${days} days`,
    `insert into openpool.rollup_hours (subject, at, ${SUMS}, l2, l3, l4)
       select s.id, h, ${ONE_HOUR}, 80, 30, 10
       from generate_series(date_trunc('hour', now(), 'UTC') - interval '${days} days', date_trunc('hour', now(), 'UTC'), '1 hour') h,
         openpool.rollup_subjects s`,
    "subject, at",
  );
  await fill(
    "rollup_days",
    "the days",
    `insert into openpool.rollup_days (subject, at, ${SUMS}, l2, l3, l4)
       select s.id, h, 2880, 0, 24, 48, 159252480000, 159252480000, 159252480000000, 119439360000000, 5760000, 1920000, 1920, 720, 240
       from generate_series(date_trunc('day', now(), 'UTC') - interval '${days} days', date_trunc('day', now(), 'UTC'), '1 day') h,
         openpool.rollup_subjects s`,
    "subject, at",
  );
  // Of each minute the jobs that the log has of it, as they would have been counted.
  const first = (minute: string): string => `((${minute}) * ${jobCount}::bigint + ${minutes - 1}) / ${minutes}`;
  const minutesMs = await fill(
    "rollup_minutes",
    `${minutes} minutes`,
    `insert into openpool.rollup_minutes (subject, at, ${SUMS}, positions)
       select s.id, to_timestamp(${fromMs / 1_000}) + m * interval '1 minute', g.jobs, 0, 0, 0, g.jobs * 55296000::numeric,
         g.jobs * 55296000::numeric, g.jobs * 55296000000::numeric, g.jobs * 41472000000::numeric, g.jobs * 2000, g.jobs * 700,
         g.positions
       from generate_series(0, ${minutes - 1}) m
         cross join lateral (
           select w.worker, ${rig} as rig, count(*)::int as jobs,
             case when grouping(${rig}) = 0 then array_agg(n order by n) end as positions
           from generate_series(${first("m")} + 1, least(${first("m + 1")}, ${jobCount - uncounted})) n
             join public.bench_workers w on w.i = ${workerOf(history)}
           group by grouping sets ((w.worker, ${rig}), (w.worker), ())
           having count(*) > 0
         ) g
         join openpool.rollup_subjects s on s.worker = coalesce(g.worker, '') and s.rig = coalesce(g.rig, '')`,
    "subject, at",
  );
  return { hoursMs, minutesMs };
}

async function seedLog(
  client: Client,
  history: History,
  { fromMs, minutes }: Span,
  say: (text: string) => void,
): Promise<Pick<Seeded, "jobsMs" | "statementLines" | "run">> {
  const { workers, days, jobCount, uncounted } = history;
  const { timed, fill } = seeding(client, say);
  const jobsMs = await fill(
    "events",
    `${jobCount} raw jobs`,
    `insert into openpool.events (position, id, time, type, worker, rig, data)
       select n, gen_random_uuid(),
         to_timestamp(${fromMs / 1_000} + least((n - 1) * ${minutes * 60}::float8 / ${jobCount}, ${(Date.now() - fromMs) / 1_000})),
         'job.credited', w.worker, ${rigOf(history)},
         ('{"job":"' || gen_random_uuid() || '",${FACTS},"tookMs":' || 300 + n % 900 || ',"seq":"' || n || '"}')::json
       from generate_series(1, ${jobCount}) n join public.bench_workers w on w.i = ${workerOf(history)}`,
    "position, time",
  );
  await client.query("update openpool.log_head set position = $1", [jobCount]);
  await client.query("update openpool.rollup_cursor set position = $1", [jobCount - uncounted]);

  const statementLines = Math.min(jobCount, MOST_LINES);
  await client.query(`
    insert into openpool.ledger_workers (worker) select worker from public.bench_workers;
    insert into openpool.ledger_accounts (account, balance_wei, since)
      select 'worker:' || worker || ':' || state, wei, now() from public.bench_workers,
        (values ('held', 1e15), ('owed', 2e16), ('paid', 9e18)) as s (state, wei);
    insert into openpool.ledger_accounts (account, balance_wei, since)
      select 'source:gateway', -(sum(balance_wei) + 3e18), now() from openpool.ledger_accounts;
    insert into openpool.ledger_accounts (account, balance_wei, since) values ('pool:commission', 3e18, now())`);
  await fill(
    "ledger_lines",
    `${statementLines} lines of statements`,
    `insert into openpool.ledger_lines (worker, at, id, entry, kind, amount_wei, terms_version, release_at, rig, job, segments,
         pixels, price_per_unit, pixels_per_unit, fee_wei, commission_wei, shape, scheme)
       select l.id, now() - interval '30 days' * (1 - n / ${statementLines}::float), gen_random_uuid(), gen_random_uuid(), 'credit',
         41472000000, 1, now() + interval '1 hour', 'rig1', gen_random_uuid(), 1, 55296000, 1000, 1, 55296000000, 13824000000,
         '1280x720', 'unit'
       from generate_series(1, ${statementLines}) n join public.bench_workers w on w.i = ${workerOf(history)}
         join openpool.ledger_workers l on l.worker = w.worker`,
    "worker, at, id",
  );
  const day = "date_trunc('day', now(), 'UTC') - d * interval '1 day'";
  await timed(
    "a payout to everybody on each day",
    `insert into openpool.payout_runs (id, state, created_at, finished_at, chain_id, payer, asset, total_wei, details)
       select gen_random_uuid(), 'done', ${day}, ${day}, 42161, '${workers[0]}', 'eth', 1e16 * ${workers.length},
         '{"prices":[],"waiting":[],"notes":[]}'
       from generate_series(1, ${days}) d;
     insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
         method_reason, state, tx_hash, block, planned_at, sent_at, finished_at)
       select gen_random_uuid(), r.id, w.i, w.worker, w.worker, 1e16, 0, 1e16, 'eth', 'batch', 'cheaper', 'final',
         '0x' || md5(r.id::text) || md5(r.id::text), 7, r.created_at, r.created_at, r.created_at
       from openpool.payout_runs r, public.bench_workers w`,
  );
  const { rows } = await client.query<{ id: string }>(
    "select id from openpool.payout_runs order by created_at desc limit 1",
  );
  return { jobsMs, statementLines, run: rows[0]?.id ?? "" };
}
