import type { WorkerAddress } from "@openpool/protocol";
import type { ClientBase } from "pg";
import { locks } from "./locks.ts";

/** A credit that is not payable yet, with what was corrected of it. */
export interface HeldCredit {
  /** Unix ms. */
  readonly releaseAtMs: number;
  readonly termsVersion: number;
  /** What it comes to now. */
  readonly amountWei: bigint;
}

const MONTH_MS = 32 * 24 * 60 * 60 * 1000;
const MINUTE_MS = 60_000;

/**
 * A worker's credit for a job (a UUID), if it is still held; undefined if it is not. Nothing is released until the caller's
 * transaction ends.
 */
export async function lockHeldCredit(
  client: ClientBase,
  worker: WorkerAddress,
  job: string,
): Promise<HeldCredit | undefined> {
  // Who releases takes these two in this order.
  await client.query("select pg_advisory_xact_lock_shared($1)", [locks.periods]);
  const { rows: cursors } = await client.query<{ through: string }>(
    "select released_through::text as through from openpool.ledger_cursor for update",
  );
  const { rows: credits } = await client.query<{ event: string }>(
    "select event from openpool.credits where job = $1::uuid",
    [job],
  );
  const [credit] = credits;
  if (!credit) return undefined;
  // An id begins with its moment, so only some of the worker's rows are looked at.
  const atMs = Number.parseInt(credit.event.slice(0, 13).replace("-", ""), 16);
  const { rows } = await client.query<{ release_at: Date; terms_version: number; wei: string }>(
    `select l.release_at, l.terms_version, l.amount_wei + (
         select coalesce(sum(c.amount_wei), 0) from openpool.ledger_lines c
         where c.worker = l.worker and c.at >= l.at and c.kind = 'adjusted' and c.data->>'corrects' = $3
       ) as wei
     from openpool.ledger_lines l
     where l.worker = (select id from openpool.ledger_workers where worker = $1) and l.at between $4 and $5 and l.id = $2
       and l.release_at > $6::timestamptz
       and not exists (select from openpool.ledger_released_early x where x.id = l.id and x.worker = l.worker)`,
    [worker, credit.event, job, new Date(atMs - MINUTE_MS), new Date(atMs + MONTH_MS), cursors[0]?.through],
  );
  const [row] = rows;
  return row && { releaseAtMs: row.release_at.getTime(), termsVersion: row.terms_version, amountWei: BigInt(row.wei) };
}
