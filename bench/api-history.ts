import type { WorkerAddress } from "@openpool/protocol";

export interface History {
  readonly workers: readonly WorkerAddress[];
  readonly rigCount: number;
  readonly days: number;
  /** Raw jobs, in the last 40 hours of this month. */
  readonly jobCount: number;
}

export interface Seeded {
  readonly hoursMs: number;
  readonly jobsMs: number;
  readonly statementLines: number;
  /** One of the payout runs. */
  readonly run: string;
}

/** What the seeding asks of a database client. */
interface Client {
  query<Row extends object>(sql: string, values?: unknown[]): Promise<{ readonly rows: readonly Row[] }>;
}

export const RIGS_OF_A_WORKER = 3;
/** Credits in statements: of the last 30 days. */
const MOST_LINES = 1_000_000;
const SUMS = "jobs, lost, rescued, failed, pixels, claimed, fee, earned, source_ms, work_ms";
const ONE_HOUR = "120, 0, 1, 2, 6635520000, 6635520000, 6635520000000, 4976640000000, 240000, 80000";

/** Writes a past into an empty database, by SQL: roll-ups of every rig and worker, raw jobs, books, payouts. */
export async function seedHistory(client: Client, history: History, say: (text: string) => void): Promise<Seeded> {
  const { workers, rigCount, days, jobCount } = history;
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
    return tookMs + (await timed("its key", `alter table openpool.${table} add primary key (${key})`));
  };

  await client.query("set synchronous_commit = off; set work_mem = '64MB'; set maintenance_work_mem = '512MB'");
  await client.query("create temp table w (i int, worker text)");
  await client.query("insert into w select i - 1, a from unnest($1::text[]) with ordinality as u (a, i)", [workers]);
  await client.query(`
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at) values ('', '', now() - interval '${days} days', null);
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at)
      select worker, '', now() - interval '${days} days', now() from w;
    insert into openpool.rollup_subjects (worker, rig, first_at, seen_at)
      select worker, 'rig' || n, now() - interval '${days} days', now()
      from w, generate_series(1, ${RIGS_OF_A_WORKER}) n where w.i * ${RIGS_OF_A_WORKER} + n <= ${rigCount}`);
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
  const jobsMs = await fill(
    "events",
    `${jobCount} raw jobs`,
    `insert into openpool.events (position, id, time, type, worker, rig, data)
       select n, gen_random_uuid(), greatest(now() - interval '40 hours' * (1 - n / ${jobCount}::float), date_trunc('month', now(), 'UTC')),
         'job.credited', w.worker, 'rig' || (n % ${RIGS_OF_A_WORKER} + 1),
         ('{"job":"' || gen_random_uuid() || '","segments":1,"pixels":"55296000","feeWei":"55296000000","commissionWei":"13824000000",'
           || '"earnedWei":"41472000000","durationMs":2000,"tookMs":' || 300 + n % 900 || ',"attempts":1,"hedged":false,"seq":"' || n
           || '","price":{"pricePerUnitWei":"1000","pixelsPerUnit":"1"},"renditions":[{"width":1280,"height":720,"frames":60,'
           || '"pixels":"55296000","claimedPixels":"55296000"}]}')::json
       from generate_series(1, ${jobCount}) n join w on w.i = (n * 7919::bigint) % ${workers.length}`,
    "position, time",
  );
  await client.query("update openpool.log_head set position = $1", [jobCount]);

  const statementLines = Math.min(jobCount, MOST_LINES);
  await client.query(`
    insert into openpool.ledger_workers (worker) select worker from w;
    insert into openpool.ledger_accounts (account, balance_wei, since)
      select 'worker:' || worker || ':' || state, wei, now() from w,
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
       from generate_series(1, ${statementLines}) n join w on w.i = (n * 7919::bigint) % ${workers.length}
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
       from openpool.payout_runs r, w`,
  );
  const tables = [
    "rollup_hours",
    "rollup_days",
    "rollup_subjects",
    "events",
    "ledger_lines",
    "payout_runs",
    "payout_lines",
  ];
  await timed("vacuum", `vacuum (analyze) ${tables.map((table) => `openpool.${table}`).join(", ")}`);
  await client.query("checkpoint");
  const { rows } = await client.query<{ id: string }>(
    "select id from openpool.payout_runs order by created_at desc limit 1",
  );
  return { hoursMs, jobsMs, statementLines, run: rows[0]?.id ?? "" };
}
