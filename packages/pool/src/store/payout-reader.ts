import type { Clock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { AccountNonces, Control, GivenUpRun, Payable, PayeeRecord, PayoutStore } from "../payouts/ports.ts";
import type { Hex, PayoutLine, PayoutRun, PayToChange, RunDetail } from "../payouts/types.ts";
import { readPayable } from "./ledger-store.ts";
import {
  type ChangeRow,
  detailOf,
  type LineRow,
  LINES,
  type RunRow,
  RUNS,
  toChange,
  toLine,
  toNumber,
  toRun,
  toWish,
  type WishRow,
} from "./payout-rows.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";
import { isUuid } from "./uuid.ts";

/** Lists are cut here, whatever is asked for. */
const MOST = 10_000;
/** Whoever resumes payouts waits so long for the books at most, and they are looked at so often. */
const CATCH_UP_MS = 30_000;
const CATCH_UP_STEP_MS = 100;

/** What of a run's lines and transactions is shown of the run itself. */
export interface RunSums {
  readonly paidWei: bigint;
  /** Of all lines together, in what the run pays in; says nothing of a run that pays in several. */
  readonly sendAmount: bigint;
  /** Each once: the one that counts of every nonce, then those that a multisig sent. */
  readonly transactions: readonly Hex[];
}

/** What the payouts keep in the database, for all who only look. */
export class PgPayoutReader implements AsyncDisposable {
  readonly #pool: PgPool;
  readonly #clock: Clock;

  constructor(connection: PgConnection, clock: Clock) {
    this.#clock = clock;
    this.#pool = new PgPool(connection, { name: "payouts reader", max: 2, about: "payouts" });
  }

  payable(): Promise<readonly Payable[]> {
    return readPayable(this.#pool);
  }

  async payees(): Promise<readonly PayeeRecord[]> {
    const rows = await this.#pool.query<
      WishRow & { readonly held: string | null; readonly plain_only: boolean; readonly stopped: string | null }
    >(
      `select worker, p.pay_to, coalesce(p.threshold_wei, 0) as threshold_wei, coalesce(p.asset, 'pool') as asset,
         coalesce(p.max_gas_price_wei, 0) as max_gas_price_wei, coalesce(p.max_gas_share_ppm, 0) as max_gas_share_ppm,
         p.held, coalesce(p.plain_only, false) as plain_only,
         case when p.stopped is not null then 'the operator holds its payouts (' || p.stopped || ')'
           when w.banned is not null and p.paid_though_banned is not true then 'it is banned (' || w.banned || ')' end as stopped
       from openpool.payout_payees p
         full join (select worker, banned from openpool.workers where banned is not null) w using (worker)`,
    );
    return rows.map((row) => ({
      worker: row.worker,
      ...toWish(row),
      held: row.held ?? undefined,
      stopped: row.stopped ?? undefined,
      plainOnly: row.plain_only,
    }));
  }

  async control(): Promise<Control> {
    const [row] = await this.#pool.query<{ paused: string | null; next_at: Date | null; schedule: string | null }>(
      "select paused, next_at, schedule from openpool.payout_control",
    );
    const halts = await this.#pool.query<{
      name: string;
      reason: string;
      details: { intent?: string; nonce?: number; takenAt?: string } | null;
      since: Date;
    }>("select name, reason, details, since from openpool.halts order by since, name");
    return {
      paused: row?.paused ?? undefined,
      halts: halts.map(({ name, reason, details, since }) => ({
        code: name,
        message: reason,
        atMs: since.getTime(),
        intent: details?.intent,
        nonce: details?.nonce,
        booksOfMs: details?.takenAt === undefined ? undefined : Date.parse(details.takenAt),
      })),
      nextAtMs: row?.next_at?.getTime(),
      schedule: row?.schedule ?? undefined,
    };
  }

  async plannedSince(atMs: number): Promise<bigint> {
    const [row] = await this.#pool.query<{ wei: string }>(
      `select coalesce(sum(l.amount_wei), 0) as wei from openpool.payout_lines l
       where l.planned_at > $1 and l.state not in ('returned', 'failed')`,
      [new Date(atMs)],
    );
    return BigInt(row?.wei ?? "0");
  }

  async accounts(chainId: number): Promise<ReadonlyMap<WorkerAddress, AccountNonces>> {
    const rows = await this.#pool.query<{
      payer: WorkerAddress;
      last: string | null;
      nonce_floor: string | null;
      nonce_guard: string | null;
    }>(
      `select payer, max(nonce) as last, max(nonce_floor) as nonce_floor, max(nonce_guard) as nonce_guard
       from (
         select payer, nonce, null::bigint as nonce_floor, null::bigint as nonce_guard
           from openpool.payout_intents where chain_id = $1 and state <> 'lost'
         union all select payer, null, nonce_floor, nonce_guard from openpool.payout_accounts where chain_id = $1
         union all select payer, null, null, null from openpool.payout_runs where chain_id = $1
       ) a group by payer`,
      [chainId],
    );
    return new Map(
      rows.map((row) => [
        row.payer,
        { last: toNumber(row.last), floor: toNumber(row.nonce_floor), guard: toNumber(row.nonce_guard) },
      ]),
    );
  }

  async booksCatchUp(nowMs: number): Promise<boolean> {
    const [goal] = await this.#pool.query<{ head: string; due: Date }>(
      "select position as head, least($1, now()) as due from openpool.log_head",
      [new Date(nowMs)],
    );
    if (!goal) return false;
    const startedMs = this.#clock.monotonicMs();
    for (;;) {
      const [row] = await this.#pool.query<{ there: boolean }>(
        // Only credits: what else is in the log moves no money.
        `select not exists (
             select from openpool.events e where e.position > c.position and e.position <= $1 and e.type = 'job.credited')
           and not exists (select from openpool.ledger_holds where release_at <= $2 and amount_wei > 0) as there
         from openpool.ledger_cursor c`,
        [goal.head, goal.due],
      );
      if (row?.there) return true;
      if (this.#clock.monotonicMs() - startedMs >= CATCH_UP_MS) return false;
      await new Promise<void>((resolve) => this.#clock.after(CATCH_UP_STEP_MS, resolve));
    }
  }

  async workers(): Promise<readonly WorkerAddress[]> {
    const rows = await this.#pool.query<{ worker: WorkerAddress }>(
      `select worker from openpool.ledger_accounts where worker is not null
       union select worker from openpool.workers union select worker from openpool.payout_payees order by 1`,
    );
    return rows.map(({ worker }) => worker);
  }

  async knownTransactions(chainId: number, payer: WorkerAddress, from: number): Promise<ReadonlySet<Hex>> {
    const signed = await this.#pool.query<{ hash: Hex }>(
      `select t.hash from openpool.payout_intents i join openpool.payout_transactions t on t.intent = i.id
       where i.chain_id = $1 and i.payer = $2 and i.nonce >= $3 and i.state <> 'lost'`,
      [chainId, payer, from],
    );
    const found = await this.#pool.query<{ hash: Hex }>(
      `select distinct l.tx_hash as hash from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run
       where r.chain_id = $1 and r.payer = $2 and l.intent is null and l.tx_hash is not null`,
      [chainId, payer],
    );
    return new Set([...signed, ...found].map(({ hash }) => hash));
  }

  async multisigs(chainId: number): ReturnType<PayoutStore["multisigs"]> {
    const rows = await this.#pool.query<{ payer: WorkerAddress; contract: WorkerAddress | null }>(
      `select distinct r.payer, r.details->>'batchContract' as contract from openpool.payout_runs r
       where r.chain_id = $1 and exists (select from openpool.payout_lines l where l.run = r.id and l.method = 'safe')`,
      [chainId],
    );
    return rows.map(({ payer, contract }) => ({ safe: payer, contract: contract ?? undefined }));
  }

  async lastSignedMs(chainId: number, payer: WorkerAddress): Promise<number | undefined> {
    const [row] = await this.#pool.query<{ at: Date | null }>(
      `select max(t.signed_at) as at from openpool.payout_intents i join openpool.payout_transactions t on t.intent = i.id
       where i.chain_id = $1 and i.payer = $2 and t.version = 0`,
      [chainId, payer],
    );
    return row?.at?.getTime();
  }

  async givenUp(chainId: number): Promise<readonly GivenUpRun[]> {
    const rows = await this.#pool.query<RunRow & { assets: PayoutLine["asset"][] }>(
      `select r.*, 0 as lines, 0 as gas_wei,
         (select array_agg(distinct l.asset) from openpool.payout_lines l where l.run = r.id and l.tx_hash is null) as assets
       from openpool.payout_runs r
       where r.chain_id = $1 and r.given_up_at is not null and r.paid_after_all_at is null order by r.created_at`,
      [chainId],
    );
    return rows.map((row) => ({ run: toRun(row), assets: row.assets }));
  }

  async runs(limit: number, before?: string): Promise<readonly PayoutRun[]> {
    if (before !== undefined && !isUuid(before)) return [];
    const rows = await this.#pool.query<RunRow>(
      `${RUNS} where $2::uuid is null
         or (r.created_at, r.id) < (select created_at, id from openpool.payout_runs where id = $2)
       order by r.created_at desc, r.id desc limit $1`,
      [Math.min(limit, MOST), before ?? null],
    );
    return rows.map(toRun);
  }

  async run(id: string): Promise<RunDetail | undefined> {
    if (!isUuid(id)) return undefined;
    const [row] = await this.#pool.query<RunRow>(`${RUNS} where r.id = $1`, [id]);
    return row && detailOf((sql, values) => this.#pool.query(sql, values), row);
  }

  /** A run without its lines. */
  async runHead(id: string): Promise<PayoutRun | undefined> {
    if (!isUuid(id)) return undefined;
    const [row] = await this.#pool.query<RunRow>(`${RUNS} where r.id = $1`, [id]);
    return row && toRun(row);
  }

  /** What of each of these runs is paid for good, and by which transactions; thousands of lines are added up by the database. */
  async runSums(ids: readonly string[]): Promise<ReadonlyMap<string, RunSums>> {
    const rows = await this.#pool.query<{ id: string; paid_wei: string; send_amount: string; hashes: Hex[] }>(
      `select r.id, lines.paid_wei, lines.send_amount,
         array(select hash from (
           select coalesce(i.mined_hash, (select t.hash from openpool.payout_transactions t
               where t.intent = i.id order by t.version desc limit 1)) as hash, i.nonce
             from openpool.payout_intents i where i.run = r.id
           union all select distinct l.tx_hash, null::bigint from openpool.payout_lines l where l.run = r.id
         ) h where hash is not null group by hash order by min(nonce) nulls last, hash) as hashes
       from unnest($1::uuid[]) as r (id),
         lateral (select coalesce(sum(l.amount_wei) filter (where l.state = 'final'), 0) as paid_wei,
             coalesce(sum(l.send_amount), 0) as send_amount
           from openpool.payout_lines l where l.run = r.id) as lines`,
      [ids],
    );
    return new Map(
      rows.map((row) => [
        row.id,
        { paidWei: BigInt(row.paid_wei), sendAmount: BigInt(row.send_amount), transactions: row.hashes },
      ]),
    );
  }

  /** In the order of their places; behind the one with this id. */
  async linesOfRun(run: string, limit: number, after?: string): Promise<readonly PayoutLine[]> {
    if (!isUuid(run) || (after !== undefined && !isUuid(after))) return [];
    const rows = await this.#pool.query<LineRow>(
      `${LINES} where l.run = $1 and ($3::uuid is null
         or l.place > (select place from openpool.payout_lines where id = $3 and run = $1))
       order by l.place limit $2`,
      [run, Math.min(limit, MOST), after ?? null],
    );
    return rows.map(toLine);
  }

  async linesOf(worker: WorkerAddress, limit: number, before?: string): Promise<readonly PayoutLine[]> {
    if (before !== undefined && !isUuid(before)) return [];
    const rows = await this.#pool.query<LineRow>(
      `${LINES} where l.worker = $1 and ($3::uuid is null
         or (l.planned_at, l.id) < (select planned_at, id from openpool.payout_lines where id = $3))
       order by l.planned_at desc, l.id desc limit $2`,
      [worker, Math.min(limit, MOST), before ?? null],
    );
    return rows.map(toLine);
  }

  /** How many of a worker's lines are paid for good. */
  async finalLines(worker: WorkerAddress): Promise<number> {
    const [row] = await this.#pool.query<{ lines: string }>(
      "select count(*) as lines from openpool.payout_lines where worker = $1 and state = 'final'",
      [worker],
    );
    return Number(row?.lines ?? 0);
  }

  async line(id: string): Promise<PayoutLine | undefined> {
    if (!isUuid(id)) return undefined;
    const [row] = await this.#pool.query<LineRow>(`${LINES} where l.id = $1`, [id]);
    return row && toLine(row);
  }

  async payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]> {
    const rows = await this.#pool.query<ChangeRow>(
      "select * from openpool.payto_changes where worker = $1 order by nonce desc limit 100",
      [worker],
    );
    return rows.map(toChange);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}
