import { type Clock, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { PoolClient } from "pg";
import type { HookModule } from "../hooks/read-module.ts";
import type { IncomeEvent, IncomeProgress } from "../income/income-reader.ts";
import type { BookableSlot } from "../income/scheme-keeper.ts";
import { type CreditEvent, decodeCredit } from "../ledger/decode-credit.ts";
import { releaseAtMs } from "../ledger/hold.ts";
import {
  bookHeldByFee,
  bookHeldShare,
  bookIncome,
  bookPotFilling,
  bookUptimeSlot,
  type HookShare,
  type Income,
  schemeAccounts,
  settlePeriod,
  type UptimeBonus,
} from "../ledger/schemes/index.ts";
import { type Terms, termsFor } from "../ledger/terms.ts";
import { type CreditedJob, holderOf, type JobBooking, type NewEntry } from "../ledger/types.ts";
import { postEntries } from "./ledger-store.ts";
import { writeHeld } from "./ledger-writer.ts";
import { isBookedUpTo, safeNow } from "./ledger-periods.ts";
import { locks } from "./locks.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";
import { createUuidV7 } from "./uuid.ts";

/** Money that came in, or left the protocol for a wallet. */
export interface IncomeRecord {
  readonly ref: string;
  readonly kind: "tickets" | "manual" | "withdrawn" | "unpaid" | "pot";
  readonly atMs: number;
  readonly grossWei: bigint;
  readonly keptWei: bigint;
  readonly faceWei: bigint | undefined;
  readonly block: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
  /** Its block was taken back, and so was its booking. */
  readonly revertedAtMs: number | undefined;
}

/** Sums of what was not taken back. */
export interface IncomeTotals {
  /** Redeemed tickets, as they were paid to the orchestrator. */
  readonly redeemedWei: bigint;
  /** What of them and of what was entered by hand is the operator's. */
  readonly keptWei: bigint;
  readonly withdrawnWei: bigint;
  readonly wins: number;
  /** Face value of all winning tickets, and what of it was not paid. */
  readonly faceWei: bigint;
  readonly unpaidWei: bigint;
  /** Of the largest ticket. */
  readonly largestWei: bigint;
}

/** The sums of the books at a moment. */
export interface DayTotals {
  readonly atMs: number;
  readonly feesWei: bigint;
  /** Held, owed, in payouts and paid. */
  readonly creditedWei: bigint;
  readonly gasWei: bigint;
}

/** A job, and what the books gave workers for it at once; undefined: it is not booked yet. */
export type PastJob = CreditedJob & {
  readonly booked: readonly { readonly to: WorkerAddress; readonly wei: bigint }[] | undefined;
};

export interface HeldJob {
  readonly job: CreditedJob;
  readonly termsVersion: number;
  readonly hook: string;
  readonly why: string;
}

export class IncomeStoreError extends PoolError<{ readonly code: "income/already-there"; readonly ref: string }> {}

/** The moment and the terms under which something is booked. */
interface BookingTime {
  readonly nowMs: number;
  readonly terms: Terms;
}

interface IncomeTime extends BookingTime {
  /** Whether workers share what came in at a moment, unix ms. */
  readonly sharing: (atMs: number) => boolean;
}

/** A row `l` whose hook failed, and which was not shared since. Of a fee of nothing there is nothing to share. */
export const WAITS_FOR_HOOK = `l.scheme = 'hook-held' and l.fee_wei > 0
  and not exists (select from openpool.ledger_entries k where k.source = 'hook-released/' || l.job)`;

const EMPTY_TOTALS: IncomeTotals = {
  redeemedWei: 0n,
  keptWei: 0n,
  withdrawnWei: 0n,
  wins: 0,
  faceWei: 0n,
  unpaidWei: 0n,
  largestWei: 0n,
};

/**
 * What pay schemes, hooks and income keep in the database. Everything that is booked here has a source of its own, so that
 * several nodes, or one that is killed and tries again, book it once.
 */
export class PgSchemeStore implements AsyncDisposable {
  readonly #pool: PgPool;
  readonly #newId: () => string;

  constructor(connection: PgConnection, { clock }: { readonly clock: Clock }) {
    this.#newId = createUuidV7(() => clock.now());
    this.#pool = new PgPool(connection, { name: "schemes", max: 2, about: "pay schemes" });
  }

  // Income

  async loadProgress(name: string): Promise<IncomeProgress | undefined> {
    const [row] = await this.#pool.query<{ progress: IncomeProgress }>(
      "select progress from openpool.income_progress where name = $1",
      [name],
    );
    return row?.progress;
  }

  async knownRefs(refs: readonly string[]): Promise<ReadonlySet<string>> {
    if (refs.length === 0) return new Set();
    const rows = await this.#pool.query<{ ref: string }>(
      "select ref from openpool.income where ref = any ($1) and reverted_at is null",
      [refs],
    );
    return new Set(rows.map((row) => row.ref));
  }

  /** References of one chain from blocks after this one, and not taken back. */
  async refsAfter(chainId: number, block: number): Promise<readonly string[]> {
    const rows = await this.#pool.query<{ ref: string }>(
      "select ref from openpool.income where block > $1 and ref like $2 and reverted_at is null order by block, ref",
      [block, `${chainId}:%`],
    );
    return rows.map((row) => row.ref);
  }

  /** Books what was read from the chain and how far it was read, in one step. */
  async commitIncome(
    name: string,
    events: readonly IncomeEvent[],
    progress: IncomeProgress,
    time: IncomeTime,
  ): Promise<void> {
    await this.#inTransaction(async (client) => {
      for (const event of events) {
        if (event.type === "income.reverted") await this.#revert(client, String(event.data["ref"]), time);
        else await this.#add(client, recordOf(event), time);
      }
      await client.query(
        `insert into openpool.income_progress (name, progress) values ($1, $2)
         on conflict (name) do update set progress = excluded.progress`,
        [name, JSON.stringify(progress)],
      );
    });
  }

  /** Books income, or money for a pot, that the operator enters. @throws IncomeStoreError `income/already-there`. */
  async addByHand(
    {
      ref,
      wei,
      pot,
      note,
    }: {
      readonly ref: string;
      readonly wei: bigint;
      readonly pot: "segment" | "uptime" | undefined;
      readonly note: string | undefined;
    },
    time: IncomeTime,
  ): Promise<void> {
    const added = await this.#inTransaction((client) =>
      this.#add(
        client,
        {
          ref: `manual:${ref}`,
          kind: pot === undefined ? "manual" : "pot",
          atMs: time.nowMs,
          grossWei: wei,
          keptWei: wei,
          faceWei: undefined,
          block: undefined,
          data: { ...(pot === undefined ? {} : { pot }), ...(note === undefined ? {} : { note }) },
          revertedAtMs: undefined,
        },
        time,
      ),
    );
    if (added) return;
    throw new IncomeStoreError(
      { code: "income/already-there", ref },
      `Income with the reference "${ref}" was entered before, and is booked once; see \`openpool income list\`.`,
    );
  }

  async #add(client: PoolClient, record: IncomeRecord, { nowMs, terms, sharing }: IncomeTime): Promise<boolean> {
    // What was taken back with its block comes again where the chain returns to its first fork: then it counts again.
    const { rowCount } = await client.query(
      `insert into openpool.income as i (ref, kind, at, gross_wei, kept_wei, face_wei, block, data)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (ref) do update set reverted_at = null where i.reverted_at is not null`,
      [
        record.ref,
        record.kind,
        new Date(record.atMs),
        record.grossWei,
        record.keptWei,
        record.faceWei ?? null,
        record.block ?? null,
        JSON.stringify(record.data),
      ],
    );
    if (rowCount === 0) return false;
    const booking = bookingOf(record, sharing(record.atMs));
    if (booking) {
      const again = await this.#timesReverted(client, record.ref);
      await this.#post(client, `income/${record.ref}${again}`, booking, { nowMs, terms });
    }
    return true;
  }

  /** How often income was booked and taken back, as the end of a source: empty at first, then `/1`, `/2`, … */
  async #timesReverted(client: PoolClient, ref: string): Promise<string> {
    const source = `income-reverted/${ref}`;
    const { rows } = await client.query<{ times: string }>(
      "select count(*) as times from openpool.ledger_entries where rule = 'income-reverted' and (source = $1 or source ^@ $2)",
      [source, `${source}/`],
    );
    const times = rows[0]?.times ?? "0";
    return times === "0" ? "" : `/${times}`;
  }

  async #revert(client: PoolClient, ref: string, time: BookingTime): Promise<void> {
    const { rowCount } = await client.query(
      "update openpool.income set reverted_at = $2 where ref = $1 and reverted_at is null",
      [ref, new Date(time.nowMs)],
    );
    if (rowCount === 0) return;
    const again = await this.#timesReverted(client, ref);
    const { rows } = await client.query<{ id: string; account: string; amount_wei: string }>(
      `select e.id, a.account, p.amount_wei from openpool.ledger_entries e
         join openpool.ledger_postings p on p.entry = e.id join openpool.ledger_accounts a on a.id = p.account
       where e.source = $1 order by a.account`,
      [`income/${ref}${again}`],
    );
    const [first] = rows;
    if (!first) return;
    await this.#post(
      client,
      `income-reverted/${ref}${again}`,
      {
        rule: "income-reverted",
        postings: rows.map((row) => ({ account: row.account, amountWei: -BigInt(row.amount_wei) })),
        data: { ref, why: "its block was taken back" },
      },
      time,
      { corrects: first.id },
    );
  }

  /** The newest first. */
  async incomes(limit: number): Promise<readonly IncomeRecord[]> {
    const rows = await this.#pool.query<{
      ref: string;
      kind: IncomeRecord["kind"];
      at: Date;
      gross_wei: string;
      kept_wei: string;
      face_wei: string | null;
      block: string | null;
      data: Record<string, unknown>;
      reverted_at: Date | null;
    }>("select * from openpool.income order by at desc, ref limit $1", [Math.max(1, Math.min(limit, 10_000))]);
    return rows.map((row) => ({
      ref: row.ref,
      kind: row.kind,
      atMs: row.at.getTime(),
      grossWei: BigInt(row.gross_wei),
      keptWei: BigInt(row.kept_wei),
      faceWei: row.face_wei === null ? undefined : BigInt(row.face_wei),
      block: row.block === null ? undefined : Number(row.block),
      data: row.data,
      revertedAtMs: row.reverted_at?.getTime(),
    }));
  }

  async incomeTotals(sinceMs: number): Promise<IncomeTotals> {
    const [row] = await this.#pool.query<
      Record<"redeemed" | "kept" | "withdrawn" | "wins" | "face" | "unpaid" | "largest", string>
    >(
      `select coalesce(sum(gross_wei) filter (where kind = 'tickets'), 0) as redeemed,
         coalesce(sum(kept_wei) filter (where kind in ('tickets', 'manual')), 0) as kept,
         coalesce(sum(gross_wei) filter (where kind = 'withdrawn'), 0) as withdrawn,
         count(*) filter (where kind = 'tickets') as wins,
         coalesce(sum(coalesce(face_wei, gross_wei)) filter (where kind in ('tickets', 'unpaid')), 0) as face,
         coalesce(sum(coalesce(face_wei, gross_wei) - gross_wei) filter (where kind in ('tickets', 'unpaid')), 0) as unpaid,
         coalesce(max(gross_wei) filter (where kind = 'tickets'), 0) as largest
       from openpool.income where reverted_at is null and at >= $1`,
      [new Date(sinceMs)],
    );
    if (!row) return EMPTY_TOTALS;
    return {
      redeemedWei: BigInt(row.redeemed),
      keptWei: BigInt(row.kept),
      withdrawnWei: BigInt(row.withdrawn),
      wins: Number(row.wins),
      faceWei: BigInt(row.face),
      unpaidWei: BigInt(row.unpaid),
      largestWei: BigInt(row.largest),
    };
  }

  /** Keeps the sums of a day, the first that are given. */
  async keepDay({ atMs, feesWei, creditedWei, gasWei }: DayTotals): Promise<void> {
    await this.#pool.query(
      `insert into openpool.daily_totals (day, at, fees_wei, credited_wei, gas_wei)
       values (($1::timestamptz at time zone 'UTC')::date, $1, $2, $3, $4) on conflict (day) do nothing`,
      [new Date(atMs), feesWei, creditedWei, gasWei],
    );
  }

  /** The oldest sums that are not older than this; undefined when none were kept since. */
  async dayAfter(sinceMs: number): Promise<DayTotals | undefined> {
    const [row] = await this.#pool.query<{ at: Date; fees_wei: string; credited_wei: string; gas_wei: string }>(
      "select at, fees_wei, credited_wei, gas_wei from openpool.daily_totals where at >= $1 order by at limit 1",
      [new Date(sinceMs)],
    );
    if (!row) return undefined;
    return {
      atMs: row.at.getTime(),
      feesWei: BigInt(row.fees_wei),
      creditedWei: BigInt(row.credited_wei),
      gasWei: BigInt(row.gas_wei),
    };
  }

  // Periods and slots

  /** The last period that was settled or skipped, as its name; undefined before the first. */
  async lastPeriod(): Promise<string | undefined> {
    const [row] = await this.#pool.query<{ period: string }>(
      "select progress->>'period' as period from openpool.income_progress where name = 'period'",
    );
    return row?.period;
  }

  async skipPeriod(period: string): Promise<void> {
    await this.#inTransaction((client) => this.#closePeriod(client, period));
  }

  async #closePeriod(client: PoolClient, period: string): Promise<void> {
    await client.query(
      "insert into openpool.income_progress (name, progress) values ('period', $1) on conflict (name) do update set progress = excluded.progress",
      [JSON.stringify({ period })],
    );
  }

  /**
   * Settles a period with what is booked at this moment, once: `behind` while something from before its end is not booked,
   * or while the database and the log do not know of its end.
   */
  async settle(
    period: string,
    endsMs: number,
    time: BookingTime,
  ): Promise<"settled" | "already-settled" | "nothing-to-share" | "behind"> {
    return this.#inTransaction(async (client) => {
      // Nobody books meanwhile: the cursor is locked until the end of the transaction.
      await client.query("select from openpool.ledger_cursor for update");
      if ((await safeNow(client, time.nowMs)) < endsMs || !(await isBookedUpTo(client, endsMs))) return "behind";
      const { rows } = await client.query<{ account: string; balance_wei: string }>(
        `select account, balance_wei from openpool.ledger_accounts
         where account like 'work:%' or account = $1 order by account`,
        [schemeAccounts.shared],
      );
      const balances = new Map(rows.map((row) => [row.account, BigInt(row.balance_wei)]));
      const sharedWei = balances.get(schemeAccounts.shared) ?? 0n;
      balances.delete(schemeAccounts.shared);
      const booking = settlePeriod(period, balances, sharedWei);
      await this.#closePeriod(client, period);
      if (!booking) return "nothing-to-share";
      return (await this.#post(client, `settle/${period}`, booking, time)) ? "settled" : "already-settled";
    });
  }

  /** Books one slot of the uptime bonus, once. */
  async bookUptime(
    bonus: UptimeBonus,
    slot: number,
    ready: readonly WorkerAddress[],
    time: BookingTime,
  ): Promise<"booked" | "already-booked" | "nobody-ready"> {
    const booking = bookUptimeSlot(bonus, slot, ready);
    if (!booking) return "nobody-ready";
    const source = `uptime/${new Date(slot * bonus.slotMs).toISOString()}`;
    const added = await this.#inTransaction((client) => this.#post(client, source, booking, time));
    return added ? "booked" : "already-booked";
  }

  /** Slots that the log says were decided after a moment and that are not booked, the oldest first. */
  async unbookedSlots(sinceMs: number): Promise<readonly BookableSlot[]> {
    const rows = await this.#pool.query<{ starts: Date; slot_ms: number; budget: string; passed: WorkerAddress[] }>(
      // Where several pools decided one, the first counts.
      `select distinct on (starts) (e.data->>'slot')::timestamptz as starts, (e.data->>'slotMs')::int as slot_ms,
         e.data->>'budgetWeiPerDay' as budget, e.data->'passed' as passed
       from openpool.events e
       where e.type = 'uptime.decided' and e.time >= $1 and e.data->>'budgetWeiPerDay' is not null
         and not exists (select from openpool.ledger_entries k where k.source = 'uptime/' || (e.data->>'slot'))
       order by starts, e.position`,
      [new Date(sinceMs)],
    );
    return rows
      .filter(({ passed }) => passed.length > 0)
      .map(({ starts, slot_ms, budget, passed }) => ({
        uptime: { budgetWeiPerDay: BigInt(budget), slotMs: slot_ms },
        number: starts.getTime() / slot_ms,
        passed,
      }));
  }

  // Hooks

  async putHook({ hash, source }: HookModule, exports: readonly string[], nowMs: number): Promise<void> {
    await this.#pool.query(
      `insert into openpool.hooks (hash, source, exports, added_at) values ($1, $2, $3, $4)
       on conflict (hash) do nothing`,
      [hash, source, exports, new Date(nowMs)],
    );
  }

  async hookSource(hash: string): Promise<string | undefined> {
    const [row] = await this.#pool.query<{ source: string }>("select source from openpool.hooks where hash = $1", [
      hash,
    ]);
    return row?.source;
  }

  async hooks(): Promise<
    readonly { readonly hash: string; readonly exports: readonly string[]; readonly addedAtMs: number }[]
  > {
    const rows = await this.#pool.query<{ hash: string; exports: string[]; added_at: Date }>(
      "select hash, exports, added_at from openpool.hooks order by added_at, hash",
    );
    return rows.map((row) => ({ hash: row.hash, exports: row.exports, addedAtMs: row.added_at.getTime() }));
  }

  /** The last credited jobs, oldest first, with what the books gave whom for them: what a hook is tried on. */
  async lastJobs(limit: number): Promise<readonly PastJob[]> {
    const rows = await this.#pool.query<EventRow>(
      `select id, time, worker, rig, data from openpool.events where type = 'job.credited'
       order by position desc limit $1`,
      [Math.max(1, Math.min(limit, 10_000))],
    );
    if (rows.length === 0) return [];
    const booked = await this.#pool.query<{ id: string; worker: WorkerAddress; amount_wei: string }>(
      `select l.id, w.worker, l.amount_wei from openpool.ledger_lines l join openpool.ledger_workers w on w.id = l.worker
       where l.kind = 'credit' and l.id = any ($1) and l.at >= $2`,
      // What comes late is booked later than it happened, never before. Times do not follow the order of the log.
      [rows.map((row) => row.id), new Date(Math.min(...rows.map(({ time }) => time.getTime())))],
    );
    const of = new Map<string, { readonly to: WorkerAddress; readonly wei: bigint }[]>();
    for (const { id, worker, amount_wei } of booked) {
      of.set(id, [...(of.get(id) ?? []), { to: worker, wei: BigInt(amount_wei) }]);
    }
    return rows.reverse().map((row) => ({
      ...decodeCredit(toCreditEvent(row)).job,
      booked: of.get(row.id),
    }));
  }

  /** Jobs that wait because their hook failed, oldest first. */
  async heldJobs(limit: number): Promise<readonly HeldJob[]> {
    const rows = await this.#pool.query<EventRow & { terms_version: number; note: Record<string, unknown> | null }>(
      `select e.id, e.time, e.worker, e.rig, e.data, l.terms_version, l.data as note
       from (
         select l.* from openpool.ledger_lines l where ${WAITS_FOR_HOOK}
         order by l.at, l.id limit $1
       ) l
         -- Only a day of the log is looked at for each.
         join lateral (
           select * from openpool.events e where e.id = l.id and e.type = 'job.credited'
             and e.time between openpool.moment_of(l.id) - interval '1 day' and openpool.moment_of(l.id) + interval '1 minute'
         ) e on true
       order by l.at, l.id`,
      [Math.max(1, Math.min(limit, 1_000))],
    );
    return rows.map((row) => ({
      job: decodeCredit(toCreditEvent(row)).job,
      termsVersion: row.terms_version,
      hook: String(row.note?.["hook"] ?? ""),
      why: String(row.note?.["why"] ?? ""),
    }));
  }

  /** How many jobs wait, and their fees. */
  async heldByHooks(): Promise<{ readonly jobs: number; readonly feeWei: bigint; readonly why: string | undefined }> {
    const [row] = await this.#pool.query<{ jobs: string; fee: string; why: string | null }>(
      `select count(*) as jobs, coalesce(sum(l.fee_wei), 0) as fee, max(l.data->>'why') as why
       from openpool.ledger_lines l where ${WAITS_FOR_HOOK}`,
    );
    return { jobs: Number(row?.jobs ?? 0), feeWei: BigInt(row?.fee ?? 0), why: row?.why ?? undefined };
  }

  /**
   * Books a held job after all, once: as a hook shared it, or by its own fee. `time.terms` are those it was earned under:
   * it is payable when it would have been, had the hook not failed.
   */
  async releaseHeld(
    held: HeldJob,
    share: (HookShare & { readonly kind: "shared" }) | undefined,
    time: BookingTime,
  ): Promise<boolean> {
    const booking = share ? bookHeldShare(held.job, share) : bookHeldByFee(held.job);
    const { job, atMs, worker } = held.job;
    const heldUntilMs = releaseAtMs(atMs, termsFor(time.terms, worker).holdMs);
    return this.#inTransaction((client) =>
      this.#post(client, `hook-released/${job}`, booking, time, { corrects: job, heldUntilMs }),
    );
  }

  // Inside

  /**
   * Posts one booking; false when it is there already. A booking that moves nothing is none. What it gives to a worker is
   * held as that worker's terms say, or until the moment that is told.
   */
  async #post(
    client: PoolClient,
    source: string,
    { rule, postings, data }: JobBooking,
    { nowMs, terms }: BookingTime,
    { corrects, heldUntilMs }: { readonly corrects?: string; readonly heldUntilMs?: number } = {},
  ): Promise<boolean> {
    if (postings.length === 0) return true;
    const shares = postings.flatMap(({ account, amountWei }) => {
      const worker = holderOf(account);
      return worker === undefined ? [] : [{ worker, amountWei }];
    });
    const soonestMs = shares.length === 0 ? nowMs : Math.max(nowMs, (await passedMs(client)) + 1);
    const entry: NewEntry = {
      id: this.#newId(),
      source,
      rule,
      termsVersion: terms.version,
      atMs: nowMs,
      postings,
      data,
      ...(corrects === undefined ? {} : { corrects }),
    };
    if ((await postEntries(client, [entry], { withoutLines: true })) === 0) return false;
    const holds = shares.map(({ worker, amountWei }) => ({
      worker,
      amountWei,
      termsVersion: terms.version,
      releaseAtMs: Math.max(soonestMs, heldUntilMs ?? releaseAtMs(nowMs, termsFor(terms, worker).holdMs)),
    }));
    await writeHeld(client, entry.id, holds);
    return true;
  }

  #inTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return this.#pool.transaction(async (client) => {
      await client.query("select pg_advisory_xact_lock_shared($1)", [locks.periods]);
      return work(client);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}

/**
 * Up to which moment the reader has released what was held, unix ms: what is held from now on ends later, or it would
 * count as released although nobody did. The reader waits until the transaction is over.
 */
async function passedMs(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ ms: string | null }>(
    `select case when isfinite(released_through) then floor(extract(epoch from released_through) * 1000)::bigint end as ms
     from openpool.ledger_cursor for share`,
  );
  return Number(rows[0]?.ms ?? 0);
}

interface EventRow {
  readonly id: string;
  readonly time: Date;
  readonly worker: string;
  readonly rig: string;
  readonly data: Record<string, unknown>;
}

function toCreditEvent({ id, time, worker, rig, data }: EventRow): CreditEvent {
  return { id, atMs: time.getTime(), worker, rig, data };
}

/** What an event of the reader of income says, as a row. */
function recordOf({ type, data }: IncomeEvent): IncomeRecord {
  const text = (name: string): string => String(data[name] ?? "0");
  const common = {
    ref: String(data["ref"]),
    atMs: Date.parse(String(data["at"])),
    block: Number(data["block"]),
    data,
    revertedAtMs: undefined,
  };
  switch (type) {
    case "income.received":
      return {
        ...common,
        kind: "tickets",
        grossWei: BigInt(text("grossWei")),
        keptWei: BigInt(text("keptWei")),
        faceWei: data["faceWei"] === undefined ? undefined : BigInt(text("faceWei")),
      };
    case "income.withdrawn": {
      const wei = BigInt(text("amountWei"));
      return { ...common, kind: "withdrawn", grossWei: wei, keptWei: wei, faceWei: undefined };
    }
    default:
      return { ...common, kind: "unpaid", grossWei: 0n, keptWei: 0n, faceWei: BigInt(text("faceWei")) };
  }
}

/** What income does to the books. Leaving the protocol for a wallet is no income, and what was not paid is none either. */
function bookingOf({ ref, kind, grossWei, keptWei, data }: IncomeRecord, sharing: boolean): JobBooking | undefined {
  if (kind === "pot") return bookPotFilling(data["pot"] === "uptime" ? "uptime" : "segment", ref, grossWei);
  if (kind !== "tickets" && kind !== "manual") return undefined;
  const income: Income = { ref, kind, grossWei, keptWei };
  return bookIncome(income, sharing);
}
