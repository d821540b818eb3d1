import { PoolError } from "@openpool/base";
import type { ClientBase } from "pg";
import { bookCredits } from "../ledger/book-credits.ts";
import { schemeAccounts } from "../ledger/schemes/index.ts";
import type { TermsBook } from "../ledger/terms.ts";
import type { BookJob, HookVerdicts } from "../ledger/types.ts";
import { readVerdicts } from "./hook-verdicts.ts";
import { LINE_DIGEST } from "./ledger-rebuild.ts";
import { readCredits, shapeOf } from "./ledger-writer.ts";

/** Something in the books that cannot be. */
export interface Violation {
  /** `sum`, `negative`, `holds`, `postings`, `statement`, `closed`, `log`, `job`, `paid`, `chain`: which rule is broken. */
  readonly check: string;
  /** What differs, in words with the numbers. */
  readonly message: string;
  /** Of `chain`: the hash of the transaction. */
  readonly transaction?: string;
}

/** What the books say of themselves and of the log. */
export interface BooksReport {
  readonly violations: readonly Violation[];
  /** Credits of the log that were compared with their rows. */
  readonly jobs: number;
  /** All of the books were looked at, not only what came since the last look. */
  readonly whole: boolean;
  /** Of the log, compared up to here. */
  readonly position: bigint;
}

export interface CheckRules {
  readonly terms: TermsBook;
  readonly bookJob: BookJob;
}

/** Of each rule at most so many are told: the first shows what is wrong. */
export const MAX_TOLD = 20;
/** A page of them is decoded without a break: streams that are served meanwhile wait so long. */
const JOBS_AT_ONCE = 250;

/** What the sums alone can show. Cheap: accounts and holds are few. */
const SUM_CHECKS: readonly (readonly [check: string, sql: string])[] = [
  [
    "sum",
    `select 'all accounts together are ' || sum(balance_wei) || ' wei and not zero' as message
     from openpool.ledger_accounts having sum(balance_wei) <> 0`,
  ],
  [
    "negative",
    `select account || ' is ' || balance_wei || ' wei' as message from openpool.ledger_accounts
     where (worker is not null or account = '${schemeAccounts.heldByHook}') and balance_wei < 0 order by account limit ${MAX_TOLD}`,
  ],
  [
    "holds",
    `select 'worker:' || coalesce(a.worker, h.worker) || ':held is ' || coalesce(a.balance_wei, 0)
       || ' wei, and what is to be released sums to ' || coalesce(h.wei, 0) as message
     from (select worker, balance_wei from openpool.ledger_accounts where account like 'worker:%:held') a
       full join (
         select w.worker, sum(h.amount_wei) as wei
         from openpool.ledger_holds h join openpool.ledger_workers w on w.id = h.worker group by 1
       ) h on h.worker = a.worker
     where coalesce(a.balance_wei, 0) <> coalesce(h.wei, 0) order by 1 limit ${MAX_TOLD}`,
  ],
];

/** What only all postings and all rows can show. */
const WHOLE_CHECKS: readonly (readonly [check: string, sql: string])[] = [
  [
    "postings",
    `select 'the postings of ' || coalesce(e.source, p.entry::text) || ' sum to ' || sum(p.amount_wei)
       || case when e.id is null then ' and have no entry' else '' end as message
     from openpool.ledger_postings p left join openpool.ledger_entries e on e.id = p.entry
     group by p.entry, e.id, e.source having sum(p.amount_wei) <> 0 or e.id is null limit ${MAX_TOLD}`,
  ],
  [
    "postings",
    `select a.account || ' is ' || a.balance_wei || ' wei, its postings sum to ' || coalesce(p.wei, 0) as message
     from openpool.ledger_accounts a
       left join (select account, sum(amount_wei) as wei from openpool.ledger_postings group by 1) p on p.account = a.id
     where a.balance_wei <> coalesce(p.wei, 0) order by 1 limit ${MAX_TOLD}`,
  ],
  [
    "statement",
    `select 'the rows of ' || coalesce(a.worker, l.worker) || ' sum to ' || coalesce(l.wei, 0)
       || ' wei, its held, owed and paying to ' || coalesce(a.wei, 0) as message
     from (
         select worker, sum(balance_wei) as wei from openpool.ledger_accounts
         where worker is not null and account not like '%:paid' group by 1
       ) a full join (
         select w.worker, sum(l.amount_wei) as wei
         from openpool.ledger_lines l join openpool.ledger_workers w on w.id = l.worker group by 1
       ) l on l.worker = a.worker
     where coalesce(a.wei, 0) <> coalesce(l.wei, 0) order by 1 limit ${MAX_TOLD}`,
  ],
  [
    "closed",
    `select 'the closed month ' || p.period || ' has ' || l.lines || ' rows now, or other ones; it was closed with ' || p.lines as message
     from openpool.ledger_periods p, lateral (
       select count(*) as lines, coalesce(sum(${LINE_DIGEST}), 0) as digest from openpool.ledger_lines
       where kind = 'credit' and at >= p.starts_at and at < p.ends_at
     ) l where (l.lines, l.digest) <> (p.lines, p.digest) order by p.ends_at limit ${MAX_TOLD}`,
  ],
  [
    "job",
    `select 'the row ' || l.id || ' of ' || w.worker || ' credits job ' || coalesce(l.job::text, '(none)')
       || ', which the log never credited' as message
     from openpool.ledger_lines l join openpool.ledger_workers w on w.id = l.worker
       left join openpool.credits c on c.job = l.job and c.event = l.id
     where l.kind = 'credit' and c.job is null limit ${MAX_TOLD}`,
  ],
];

/**
 * Looks for what cannot be: sums that are not zero, balances below it, holds or rows that do not add up to their accounts,
 * credits of the log without their row or with another one. Reads one moment of the database and changes nothing in it.
 *
 * @param after compares the log from behind this position; undefined: all of it, and all postings and rows.
 */
export async function checkLedger(
  client: ClientBase,
  rules: CheckRules,
  after: bigint | undefined,
  signal?: AbortSignal,
): Promise<BooksReport> {
  const whole = after === undefined;
  await client.query("begin isolation level repeatable read read only");
  try {
    const violations: Violation[] = [];
    for (const [check, sql] of whole ? [...SUM_CHECKS, ...WHOLE_CHECKS] : SUM_CHECKS) {
      const { rows } = await client.query<{ message: string }>(sql);
      violations.push(...rows.map(({ message }) => ({ check, message })));
    }
    violations.push(...(await checkPaid(client)));
    const compared = await compareWithLog(client, rules, after ?? 0n, signal);
    violations.push(...compared.violations);
    return { violations, jobs: compared.jobs, whole, position: compared.position };
  } finally {
    await client.query("rollback").catch(() => {});
  }
}

/** Every wei that was paid has its payout line with a transaction, and the other way round. */
async function checkPaid(client: ClientBase): Promise<readonly Violation[]> {
  const { rows: tables } = await client.query<{ there: boolean }>(
    "select to_regclass('openpool.payout_lines') is not null as there",
  );
  if (!tables[0]?.there) return [];
  const { rows } = await client.query<{ message: string }>(
    `select case when l.id is null then 'the entry ' || e.source || ' pays a line that does not exist or is not final'
         when e.id is null then 'the payout line ' || l.id || ' of ' || l.worker || ' is final and not booked as paid'
         else 'the payout line ' || l.id || ' of ' || l.worker || ' paid ' || (l.amount_wei - l.gas_share_wei)
           || ' wei (sent ' || l.send_amount || case l.asset when 'eth' then '' else ' of ' || l.asset end || ') in '
           || coalesce('transaction ' || l.tx_hash, 'no transaction') || '; booked are ' || coalesce(e.wei, 0)
       end as message
     from (
         select e.id, e.source, split_part(e.source, '/', 1) as line,
           sum(p.amount_wei) filter (where a.account like '%:paid') as wei
         from openpool.ledger_entries e left join openpool.ledger_postings p on p.entry = e.id
           left join openpool.ledger_accounts a on a.id = p.account
         where e.rule = 'paid' group by 1
       ) e full join (select * from openpool.payout_lines where state = 'final') l on l.id::text = e.line
     where l.id is null or e.id is null or l.tx_hash is null or e.wei is distinct from l.amount_wei - l.gas_share_wei
       or (l.asset = 'eth' and l.send_amount <> l.amount_wei - l.gas_share_wei)
     limit ${MAX_TOLD}`,
  );
  const { rows: open } = await client.query<{ message: string }>(
    `select 'worker:' || coalesce(a.worker, l.worker) || ':paying is ' || coalesce(a.balance_wei, 0)
       || ' wei, its payouts that are not over sum to ' || coalesce(l.wei, 0) as message
     from (select worker, balance_wei from openpool.ledger_accounts where account like 'worker:%:paying') a
       full join (
         select worker, sum(amount_wei) as wei from openpool.payout_lines
         where state in ('planned', 'signed', 'sent', 'confirmed') group by 1
       ) l on l.worker = a.worker
     where coalesce(a.balance_wei, 0) <> coalesce(l.wei, 0) limit ${MAX_TOLD}`,
  );
  return [...rows, ...open].map(({ message }) => ({ check: "paid", message }));
}

async function compareWithLog(
  client: ClientBase,
  rules: CheckRules,
  after: bigint,
  signal: AbortSignal | undefined,
): Promise<{ readonly violations: readonly Violation[]; readonly jobs: number; readonly position: bigint }> {
  const { rows: cursors } = await client.query<{ position: string }>("select position from openpool.ledger_cursor");
  const end = BigInt(cursors[0]?.position ?? 0);
  const { rows: seals } = await client.query<{ ends_at: Date; position: string }>(
    "select ends_at, position from openpool.ledger_periods order by ends_at",
  );
  const violations: Violation[] = [];
  let position = after;
  let jobs = 0;
  while (position < end && violations.length < MAX_TOLD) {
    signal?.throwIfAborted();
    const seal = seals.map((one) => BigInt(one.position)).find((one) => one > position);
    const page = await readCredits(client, position, JOBS_AT_ONCE, seal !== undefined && seal < end ? seal : end);
    const openSinceMs = seals.findLast((one) => BigInt(one.position) <= position)?.ends_at.getTime() ?? 0;
    let verdicts: HookVerdicts;
    try {
      verdicts = await readVerdicts(client, page.events, rules);
    } catch (error) {
      if (!(error instanceof PoolError) || error.info.code !== "ledger/verdict-missing") throw error;
      violations.push({ check: "log", message: error.message });
      break;
    }
    const { lines } = bookCredits(page.events, { ...rules, openSinceMs, verdicts });
    const { rows } = await client.query<{ i: string; found: string | null }>(
      `select n.i, case when l.id is not null then concat_ws(' ', l.amount_wei, l.fee_wei, l.commission_wei, l.pixels,
           l.terms_version, l.shape, l.job) end as found
       from unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[]) with ordinality as n (worker, at, id, expected, i)
         left join openpool.ledger_workers w on w.worker = n.worker
         left join openpool.ledger_lines l
           on l.worker = w.id and l.at = timestamptz 'epoch' + n.at * interval '1 millisecond' and l.id = n.id
       where l.id is null or concat_ws(' ', l.amount_wei, l.fee_wei, l.commission_wei, l.pixels, l.terms_version, l.shape,
         l.job) <> n.expected
       limit ${MAX_TOLD}`,
      [
        lines.map((line) => line.worker),
        lines.map((line) => line.atMs),
        lines.map((line) => line.job.event),
        lines.map(({ amountWei, termsVersion, job }) =>
          [amountWei, job.feeWei, job.commissionWei, job.pixels, termsVersion, shapeOf(job.renditions), job.job].join(
            " ",
          ),
        ),
      ],
    );
    for (const { i, found } of rows) {
      const line = lines[Number(i) - 1];
      if (!line) continue;
      const { job } = line;
      const should = `${line.amountWei} wei of a fee of ${job.feeWei} for ${job.pixels} pixels, terms ${line.termsVersion}`;
      violations.push({
        check: "log",
        message:
          found === null
            ? `${line.worker} lacks the row of job ${job.job}: ${should}`
            : `the row of job ${job.job} of ${line.worker} says ${found}; by the log it is ${should}`,
      });
    }
    jobs += page.events.length;
    position = page.position;
  }
  return { violations, jobs, position };
}
