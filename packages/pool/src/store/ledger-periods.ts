import { Client, type ClientBase } from "pg";
import { LINE_DIGEST } from "./ledger-rebuild.ts";
import { locks } from "./locks.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";

/** A month is closed so long after its end: by then everything that happened in it is in the log. */
export const CLOSE_AFTER_MS = 60 * 60 * 1000;

/** A month whose books are closed: nothing is booked into it any more. */
export interface ClosedPeriod {
  /** `2026-11`, in UTC. */
  readonly period: string;
  readonly endsAtMs: number;
  readonly sealedAtMs: number;
  /** Credits in statements. */
  readonly lines: number;
  /** Its events were exported and taken out of the log. */
  readonly droppedAtMs: number | undefined;
}

/**
 * Whether everything of the log from before this moment is booked. What comes after it need not be: under load the books are
 * always a little behind.
 */
export async function isBookedUpTo(client: ClientBase, atMs: number): Promise<boolean> {
  const { rows } = await client.query<{ behind: boolean }>(
    `select exists (
       select from openpool.ledger_cursor c, openpool.events e
       where e.position > c.position and e.time < $1 and e.type = 'job.credited'
     ) as behind`,
    [new Date(atMs)],
  );
  return rows[0]?.behind === false;
}

/**
 * What may be taken for now when something is closed for ever, unix ms. Our clock may have jumped ahead: so no later than
 * the database says, nor than the end of the month of the last event, with the time that closing waits.
 */
export async function safeNow(client: ClientBase, nowMs: number): Promise<number> {
  const { rows } = await client.query<{ now: Date; last: Date | null }>(
    "select now(), (select time from openpool.events order by position desc limit 1) as last",
  );
  const [row] = rows;
  if (!row?.last) return Math.min(nowMs, row?.now.getTime() ?? nowMs);
  return Math.min(nowMs, row.now.getTime(), nextMonth(row.last.getTime()) + CLOSE_AFTER_MS);
}

/**
 * Closes the months that are over: keeps the balance of every account at their end, and a digest of their rows. What is
 * booked afterwards goes into a later month, whatever its time. Answers which months it closed; none whose events are not
 * all booked.
 */
export async function closePeriods(client: ClientBase, clockMs: number): Promise<readonly string[]> {
  const nowMs = await safeNow(client, clockMs);
  const { rows: begins } = await client.query<{ first: Date | null; last: Date | null }>(
    // Ids of entries grow with time: the first one by its id is as good as the oldest, and needs no look at all of them.
    `select (select time from openpool.ledger_entries order by id limit 1) as first,
       (select max(ends_at) from openpool.ledger_periods) as last`,
  );
  const begin = begins[0]?.last ?? begins[0]?.first;
  if (!begin || nextMonth(begin.getTime()) + CLOSE_AFTER_MS > nowMs) return [];
  await client.query("begin");
  try {
    // Nobody posts meanwhile.
    await client.query("select pg_advisory_xact_lock($1)", [locks.periods]);
    const { rows } = await client.query<{ position: string; last: Date | null }>(
      `select c.position, (select max(ends_at) from openpool.ledger_periods) as last
       from openpool.ledger_cursor c for update of c`,
    );
    const [now] = rows;
    // Another node closed it meanwhile.
    if (!now || now.last?.getTime() !== begins[0]?.last?.getTime()) {
      await client.query("rollback");
      return [];
    }
    const closed: string[] = [];
    let starts = monthStart(begin.getTime());
    for (;;) {
      const ends = nextMonth(starts);
      if (ends + CLOSE_AFTER_MS > nowMs || !(await isBookedUpTo(client, ends))) break;
      const period = new Date(starts).toISOString().slice(0, 7);
      await client.query(
        `insert into openpool.ledger_periods (period, starts_at, ends_at, position, sealed_at, lines, digest)
         select $1, $2, $3, $4, $5, count(*), coalesce(sum(${LINE_DIGEST}), 0)
         from openpool.ledger_lines where at >= $2 and at < $3 and kind = 'credit'`,
        [period, new Date(starts), new Date(ends), now.position, new Date(nowMs)],
      );
      await client.query(
        `insert into openpool.ledger_closings (period, account, balance_wei)
         select $1, account, sum(wei) from (
           select account, balance_wei as wei from openpool.ledger_closings
             where period = (select period from openpool.ledger_periods where ends_at = $2)
           union all
           select a.account, p.amount_wei from openpool.ledger_entries e
             join openpool.ledger_postings p on p.entry = e.id join openpool.ledger_accounts a on a.id = p.account
             where e.time >= $2 and e.time < $3
         ) as all_wei group by account`,
        [period, new Date(starts), new Date(ends)],
      );
      closed.push(period);
      starts = ends;
    }
    await client.query("commit");
    return closed;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

function monthStart(ms: number): number {
  const date = new Date(ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
}

function nextMonth(ms: number): number {
  const date = new Date(ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}

/** As {@link closePeriods}, over a connection of its own. */
export async function closePeriodsOf(connection: PgConnection, nowMs: number): Promise<readonly string[]> {
  const client = new Client(clientConfig(connection, `openpool closing ${process.pid}`));
  client.on("error", () => {});
  try {
    await client.connect();
    return await closePeriods(client, nowMs);
  } finally {
    await client.end().catch(() => {});
  }
}
