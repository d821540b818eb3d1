import { type Clock, errorCode, errorText, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { ClientBase } from "pg";
import { parseTermsDocument, type Terms, type TermsDocument, termsDocumentJson } from "../ledger/terms.ts";
import { type AccountBalance, type NewEntry, poolAccounts, workerAccount } from "../ledger/types.ts";
import type { Payable } from "../payouts/ports.ts";
import type { ClosedPeriod } from "./ledger-periods.ts";
import { appendEvents } from "./append-events.ts";
import { lockHeldCredit } from "./held-credit.ts";
import { writeHeld } from "./ledger-writer.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";
import { createUuidV7, isUuid } from "./uuid.ts";

/** All accounts of one kind together, in wei. */
export interface LedgerTotals extends AccountBalance {
  /** What came from gateways and upstreams: fees credited. */
  readonly feesWei: bigint;
  readonly commissionWei: bigint;
  readonly reserveWei: bigint;
  readonly gasWei: bigint;
  readonly adjustmentsWei: bigint;
  readonly ticketIncomeWei: bigint;
  readonly otherIncomeWei: bigint;
}

/** From and to are unix ms; `fromMs` belongs to it, `toMs` does not. */
export interface StatementRange {
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
}

/** One row of a statement: what changed the sum that the pool owes to the worker. `docs/money.md` names the columns. */
export interface StatementRow {
  /** A UUIDv7: of the event of a credit, of the entry otherwise. */
  readonly id: string;
  readonly atMs: number;
  /** `credit`, `adjusted`, `paid`, … */
  readonly kind: string;
  /** Signed: what the worker gained, or was paid. */
  readonly amountWei: bigint;
  /** Of a credit: `held` or `owed`; otherwise `booked`. */
  readonly state: "held" | "owed" | "booked";
  readonly termsVersion: number;
  /** Of a credit: held before, owed from then on. */
  readonly releaseAtMs: number | undefined;
  readonly entry: string;
  /** The rest is of credits only. */
  readonly rig: string | undefined;
  readonly job: string | undefined;
  readonly segments: number | undefined;
  readonly pixels: bigint | undefined;
  readonly pricePerUnitWei: bigint | undefined;
  readonly pixelsPerUnit: bigint | undefined;
  readonly feeWei: bigint | undefined;
  readonly commissionWei: bigint | undefined;
  /** `1280x720+854x480`: the sizes of the renditions. */
  readonly shape: string | undefined;
  readonly scheme: string | undefined;
  /** What else is known: of a payout its transaction, of an adjustment its reason. */
  readonly data: Readonly<Record<string, unknown>> | undefined;
  /** What ETH was worth: of a payout when it was planned, of everything else on its day. */
  readonly ethPrice: EthPrice | undefined;
}

/** A price in money, for people: nothing is computed from it. */
export interface EthPrice {
  /** ISO 4217. */
  readonly currency: string;
  /** A decimal number: one ETH in it. */
  readonly perEth: string;
}

export interface StatementPage {
  readonly rows: readonly StatementRow[];
  /** Where the next page begins; undefined at the end. */
  readonly next: string | undefined;
}

/** What a statement adds up to: `openingWei` + the sums of its rows = `closingWei`. */
export interface StatementSums {
  readonly openingWei: bigint;
  readonly closingWei: bigint;
  /** By kind of row. */
  readonly byKind: Readonly<Record<string, { readonly rows: number; readonly amountWei: bigint }>>;
}

/** A change by hand. */
export interface Adjustment {
  readonly worker: WorkerAddress;
  /** Signed. */
  readonly amountWei: bigint;
  readonly reason: string;
  readonly corrects?: string | undefined;
  /** The operator's own name for it: an adjustment is booked once for each. */
  readonly key?: string | undefined;
  readonly termsVersion: number;
}

/** Why no payout may be made. */
export interface Halt {
  readonly name: string;
  readonly reason: string;
  readonly details: unknown;
  readonly sinceMs: number;
}

/** The books as other rooms read them. */
export interface LedgerStore extends AsyncDisposable {
  /** Workers to whom something is owed, the largest sum first. */
  payable(): Promise<readonly Payable[]>;
  balance(worker: WorkerAddress): Promise<AccountBalance>;
  /** When the first of what is held for its time becomes owed, unix ms; undefined when nothing is. */
  nextReleaseMs(worker: WorkerAddress): Promise<number | undefined>;
  /** Of all workers that ever had an account, by address. */
  balances(): Promise<ReadonlyMap<WorkerAddress, AccountBalance>>;
  totals(): Promise<LedgerTotals>;
  /** Every account and its balance, by name. */
  accounts(): Promise<ReadonlyMap<string, bigint>>;
  /**
   * Rows of a worker's statement, in time's order or the newest first. `cursor` is the `next` of the page before;
   * @throws PoolError `ledger/bad-cursor`.
   */
  statement(
    worker: WorkerAddress,
    range: StatementRange,
    cursor: string | undefined,
    limit: number,
    order?: "oldest-first" | "newest-first",
  ): Promise<StatementPage>;
  statementSums(worker: WorkerAddress, range: StatementRange): Promise<StatementSums>;
  /**
   * Adds to what a worker is owed, or takes from it, by hand: a new entry with its reason, which may name the job or the
   * entry that it corrects. What corrects a credit that is still held changes what is held, until the credit's own moment. @throws LedgerError `ledger/negative-balance`, `ledger/unknown-entry`, `ledger/bad-adjustment`.
   */
  adjust(adjustment: Adjustment): Promise<{
    readonly entry: string;
    readonly balance: AccountBalance;
    /** Its key was booked before. */ readonly repeated: boolean;
  }>;
  /** Months whose books are closed, the oldest first. */
  closedPeriods(): Promise<readonly ClosedPeriod[]>;
  terms(): Promise<readonly Terms[]>;
  /** Adds a version. @throws PoolError `store/conflict` when another node was faster. */
  addTerms(terms: Terms): Promise<void>;
  /** Empty: payouts may be made. */
  halts(): Promise<readonly Halt[]>;
  /** Halts payouts for a reason of this name. A later reason takes the place of the first; since when stays. */
  halt(name: string, reason: string, details: unknown): Promise<void>;
  /** Takes the halt of this name back. */
  liftHalt(name: string): Promise<void>;
}

export class LedgerError extends PoolError<{
  readonly code:
    | "ledger/unbalanced"
    | "ledger/negative-balance"
    | "ledger/bad-cursor"
    | "ledger/bad-account"
    | "ledger/bad-adjustment"
    | "ledger/unknown-entry";
}> {}

/** Of workers, of where money comes from, of the pool, and of work that waits for its share. */
const ACCOUNT =
  /^(worker:0x[0-9a-fA-F]{40}:(held|owed|paying|paid)|source:upstream:[^\s:]{1,100}|source:[a-z]+|pool(:[a-z]+){1,3}|work:(0x[0-9a-fA-F]{40}|[a-z-]+))$/;

/** Options that only the ledger's own reader uses. */
export interface PostingOptions {
  /** The entries follow from the event log: a rebuild makes them anew. */
  readonly derived?: boolean;
  /** The rows of statements are written by the caller. */
  readonly withoutLines?: boolean;
}

/**
 * Posts entries inside the caller's own transaction, each once: an entry whose source is there already is left out.
 * Answers how many were new. What it changes for a worker becomes a row of its statement.
 *
 * @throws LedgerError `ledger/unbalanced`, `ledger/bad-account`, and `ledger/negative-balance` when it would bring an
 * account of a worker below zero; the transaction is then to be rolled back.
 */
export async function postEntries(
  client: ClientBase,
  entries: readonly NewEntry[],
  { derived = false, withoutLines = false }: PostingOptions = {},
): Promise<number> {
  if (entries.length === 0) return 0;
  const at: number[] = [];
  const accounts: string[] = [];
  const amounts: bigint[] = [];
  for (const [i, entry] of entries.entries()) {
    let sum = 0n;
    for (const { account, amountWei } of entry.postings) {
      if (!ACCOUNT.test(account)) {
        throw new LedgerError({ code: "ledger/bad-account" }, `There is no account ${account}; nothing was booked.`);
      }
      sum += amountWei;
      at.push(i + 1);
      accounts.push(account);
      amounts.push(amountWei);
    }
    // What follows from the log may be work that is worth nothing, at a price of zero: its rows need their entry.
    if (sum !== 0n || (entry.postings.length === 0 && !derived)) {
      throw new LedgerError(
        { code: "ledger/unbalanced" },
        `The postings of ${entry.source} sum to ${sum} wei and not to zero; nothing was booked.`,
      );
    }
  }
  try {
    const { rows } = await client.query<{ added: number }>({
      name: "post-entries",
      text: "select openpool.post_entries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) as added",
      values: [
        entries.map((entry) => entry.id),
        entries.map((entry) => entry.source),
        entries.map((entry) => entry.rule),
        entries.map((entry) => entry.termsVersion),
        entries.map((entry) => Math.floor(entry.atMs)),
        entries.map(() => derived),
        entries.map((entry) => entry.corrects ?? null),
        entries.map((entry) => JSON.stringify(entry.data)),
        entries.map(() => !withoutLines),
        // What is held has a moment of its own for each worker: `writeHeld` says it.
        entries.map((entry) => Math.floor(entry.atMs)),
        at,
        accounts,
        amounts,
      ],
    });
    return rows[0]?.added ?? 0;
  } catch (cause) {
    if (errorCode(cause) !== "OP003") throw cause;
    throw new LedgerError(
      { code: "ledger/negative-balance" },
      `Refused, for ${errorText(cause)} wei: a worker's account never goes below zero.`,
      { cause },
    );
  }
}

const EMPTY: AccountBalance = { heldWei: 0n, owedWei: 0n, payingWei: 0n, paidWei: 0n };

/** Readers of the books in one process. */
const MAX_READERS = 4;
const MAX_ROWS = 10_000;

interface LineRow {
  readonly id: string;
  readonly at: Date;
  readonly kind: string;
  readonly amount_wei: string;
  readonly held: boolean;
  readonly release_at: Date | null;
  readonly terms_version: number;
  readonly entry: string;
  readonly rig: string | null;
  readonly job: string | null;
  readonly segments: number | null;
  readonly pixels: string | null;
  readonly price_per_unit: string | null;
  readonly pixels_per_unit: string | null;
  readonly fee_wei: string | null;
  readonly commission_wei: string | null;
  readonly shape: string | null;
  readonly scheme: string | null;
  readonly data: Record<string, unknown> | null;
  readonly fiat_currency: string | null;
  readonly fiat_per_eth: string | null;
}

/** With a payout the price of its plan is kept. */
function ethPriceOf({ data, fiat_currency, fiat_per_eth }: LineRow): EthPrice | undefined {
  const kept = data?.["fiat"];
  if (typeof kept === "object" && kept !== null && "currency" in kept && "perEth" in kept) {
    return { currency: String(kept.currency), perEth: String(kept.perEth) };
  }
  return fiat_currency === null || fiat_per_eth === null
    ? undefined
    : { currency: fiat_currency, perEth: fiat_per_eth };
}

function toStatementRow(row: LineRow): StatementRow {
  const big = (text: string | null): bigint | undefined => (text === null ? undefined : BigInt(text));
  return {
    id: row.id,
    atMs: row.at.getTime(),
    kind: row.kind,
    amountWei: BigInt(row.amount_wei),
    state: row.release_at === null ? "booked" : row.held ? "held" : "owed",
    termsVersion: row.terms_version,
    releaseAtMs: row.release_at?.getTime(),
    entry: row.entry,
    rig: row.rig ?? undefined,
    job: row.job ?? undefined,
    segments: row.segments ?? undefined,
    pixels: big(row.pixels),
    pricePerUnitWei: big(row.price_per_unit),
    pixelsPerUnit: big(row.pixels_per_unit),
    feeWei: big(row.fee_wei),
    commissionWei: big(row.commission_wei),
    shape: row.shape ?? undefined,
    scheme: row.scheme ?? undefined,
    data: row.data ?? undefined,
    ethPrice: ethPriceOf(row),
  };
}

/** A place in a statement: `<unix ms>.<id of the last row>`. */
function parseCursor(cursor: string): { readonly at: Date; readonly id: string } {
  const [, ms, id] = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(cursor) ?? [];
  if (ms !== undefined && id !== undefined) return { at: new Date(Number(ms)), id };
  throw new LedgerError({ code: "ledger/bad-cursor" }, "That is no place in a statement: ask from its beginning.");
}

async function isEntryOrJob(client: ClientBase, id: string): Promise<boolean> {
  if (!isUuid(id)) return false;
  const { rows } = await client.query<{ known: boolean }>(
    `select exists (select from openpool.ledger_entries where id = $1::uuid)
       or exists (select from openpool.credits where job = $1::uuid) as known`,
    [id],
  );
  return rows[0]?.known === true;
}

/** What was booked under a source by hand. */
async function adjustedBefore(
  client: ClientBase,
  source: string,
): Promise<
  | { readonly id: string; readonly worker: string; readonly amountWei: bigint; readonly corrects: string | undefined }
  | undefined
> {
  const { rows } = await client.query<{ id: string; corrects: string | null; account: string; wei: string }>(
    `select e.id, e.corrects, a.account, p.amount_wei as wei
     from openpool.ledger_entries e join openpool.ledger_postings p on p.entry = e.id
       join openpool.ledger_accounts a on a.id = p.account
     where e.source = $1 and a.account like 'worker:%'`,
    [source],
  );
  const [row] = rows;
  if (!row) return undefined;
  const worker = row.account.split(":")[1] ?? "";
  return { id: row.id, worker, amountWei: BigInt(row.wei), corrects: row.corrects ?? undefined };
}

/** Workers to whom something is owed, the largest sum first. */
export async function readPayable(pool: PgPool): Promise<readonly Payable[]> {
  const rows = await pool.query<{ worker: WorkerAddress; balance_wei: string; since: Date | null }>(
    `select worker, balance_wei, since from openpool.ledger_accounts
     where worker is not null and account like '%:owed' and balance_wei > 0 order by balance_wei desc, worker`,
  );
  return rows.map(({ worker, balance_wei, since }) => ({
    worker,
    owedWei: BigInt(balance_wei),
    oldestOwedAtMs: since?.getTime() ?? 0,
  }));
}

/** The books in PostgreSQL. The schema is the event log's: open that first. */
export class PgLedgerStore implements LedgerStore {
  readonly #clock: Clock;
  readonly #newId: () => string;
  readonly #pool: PgPool;

  constructor(connection: PgConnection, { clock }: { readonly clock: Clock }) {
    this.#clock = clock;
    this.#newId = createUuidV7(() => clock.now());
    this.#pool = new PgPool(connection, { name: "ledger", max: MAX_READERS, about: "the books" });
  }

  payable(): Promise<readonly Payable[]> {
    return readPayable(this.#pool);
  }

  async balance(worker: WorkerAddress): Promise<AccountBalance> {
    const rows = await this.#pool.query<{ state: string; balance_wei: string }>(
      "select split_part(account, ':', 3) as state, balance_wei from openpool.ledger_accounts where worker = $1",
      [worker],
    );
    return rows.reduce((sum, row) => ({ ...sum, [`${row.state}Wei`]: BigInt(row.balance_wei) }), EMPTY);
  }

  async nextReleaseMs(worker: WorkerAddress): Promise<number | undefined> {
    const [row] = await this.#pool.query<{ at: Date | null }>(
      `select min(release_at) as at from openpool.ledger_holds
       where worker = (select id from openpool.ledger_workers where worker = $1) and amount_wei > 0 and isfinite(release_at)`,
      [worker],
    );
    return row?.at?.getTime();
  }

  async balances(): Promise<ReadonlyMap<WorkerAddress, AccountBalance>> {
    const rows = await this.#pool.query<{ worker: WorkerAddress; state: string; balance_wei: string }>(
      `select worker, split_part(account, ':', 3) as state, balance_wei from openpool.ledger_accounts
       where worker is not null order by worker`,
    );
    const found = new Map<WorkerAddress, AccountBalance>();
    for (const { worker, state, balance_wei } of rows) {
      found.set(worker, { ...(found.get(worker) ?? EMPTY), [`${state}Wei`]: BigInt(balance_wei) });
    }
    return found;
  }

  async accounts(): Promise<ReadonlyMap<string, bigint>> {
    const rows = await this.#pool.query<{ account: string; balance_wei: string }>(
      "select account, balance_wei from openpool.ledger_accounts order by account",
    );
    return new Map(rows.map((row) => [row.account, BigInt(row.balance_wei)]));
  }

  async totals(): Promise<LedgerTotals> {
    const rows = await this.#pool.query<{ kind: string; wei: string }>(
      `select case when worker is not null then split_part(account, ':', 3)
         when account = 'source:gateway' or account like 'source:upstream:%' then 'source' else account end as kind, sum(balance_wei) as wei
       from openpool.ledger_accounts group by 1`,
    );
    const of = new Map(rows.map((row) => [row.kind, BigInt(row.wei)]));
    const wei = (kind: string): bigint => of.get(kind) ?? 0n;
    return {
      feesWei: -wei("source"),
      commissionWei: wei("pool:commission"),
      heldWei: wei("held"),
      owedWei: wei("owed"),
      payingWei: wei("paying"),
      paidWei: wei("paid"),
      reserveWei: wei("pool:reserve"),
      gasWei: wei("pool:gas"),
      adjustmentsWei: wei("pool:adjustments"),
      ticketIncomeWei: wei("pool:income:tickets"),
      otherIncomeWei: wei("pool:income:other"),
    };
  }

  async statement(
    worker: WorkerAddress,
    { fromMs, toMs }: StatementRange,
    cursor: string | undefined,
    limit: number,
    order: "oldest-first" | "newest-first" = "oldest-first",
  ): Promise<StatementPage> {
    const forward = order === "oldest-first";
    const values: unknown[] = [worker];
    const where: string[] = [];
    const add = (condition: string, ...more: unknown[]): void => {
      where.push(condition.replaceAll("?", () => `$${values.push(more.shift())}`));
    };
    if (fromMs !== undefined) add("l.at >= ?", new Date(fromMs));
    if (toMs !== undefined) add("l.at < ?", new Date(toMs));
    if (cursor !== undefined) {
      const { at, id } = parseCursor(cursor);
      add(`(l.at, l.id) ${forward ? ">" : "<"} (?, ?)`, at, id);
    }
    const wanted = Math.max(1, Math.min(limit, MAX_ROWS));
    const direction = forward ? "asc" : "desc";
    const rows = await this.#pool.query<LineRow>(
      `select l.id, l.at, l.kind, l.amount_wei, l.release_at, l.terms_version, l.entry, l.rig, l.job, l.segments,
         l.pixels, l.price_per_unit, l.pixels_per_unit, l.fee_wei, l.commission_wei, l.shape, l.scheme, l.data,
         l.release_at > (select released_through from openpool.ledger_cursor)
           and not exists (select from openpool.ledger_released_early x where x.id = l.id and x.worker = l.worker) as held,
         f.currency as fiat_currency, f.per_eth as fiat_per_eth
       from openpool.ledger_lines l left join openpool.fiat_prices f on f.day = (l.at at time zone 'UTC')::date
       where l.worker = (select id from openpool.ledger_workers where worker = $1)
         ${where.map((one) => `and ${one}`).join(" ")}
       order by l.at ${direction}, l.id ${direction} limit ${wanted + 1}`,
      values,
    );
    const page = rows.slice(0, wanted);
    const last = page.at(-1);
    return {
      rows: page.map(toStatementRow),
      next: rows.length > wanted && last ? `${last.at.getTime()}.${last.id}` : undefined,
    };
  }

  async statementSums(worker: WorkerAddress, { fromMs, toMs }: StatementRange): Promise<StatementSums> {
    const rows = await this.#pool.query<{ kind: string; rows: string; before: string; within: string }>(
      `select l.kind, count(*) filter (where l.at >= $2) as rows,
         coalesce(sum(l.amount_wei) filter (where l.at < $2), 0) as before,
         coalesce(sum(l.amount_wei) filter (where l.at >= $2), 0) as within
       from openpool.ledger_lines l
       where l.worker = (select id from openpool.ledger_workers where worker = $1) and l.at < $3
       group by l.kind order by l.kind`,
      [worker, fromMs === undefined ? "-infinity" : new Date(fromMs), toMs === undefined ? "infinity" : new Date(toMs)],
    );
    const openingWei = rows.reduce((sum, row) => sum + BigInt(row.before), 0n);
    const within = rows.filter((row) => row.rows !== "0");
    return {
      openingWei,
      closingWei: within.reduce((sum, row) => sum + BigInt(row.within), openingWei),
      byKind: Object.fromEntries(
        within.map((row) => [row.kind, { rows: Number(row.rows), amountWei: BigInt(row.within) }]),
      ),
    };
  }

  async adjust({
    worker,
    amountWei,
    reason,
    corrects,
    key,
    termsVersion,
  }: Adjustment): ReturnType<LedgerStore["adjust"]> {
    if (amountWei === 0n || reason.trim() === "") {
      throw new LedgerError(
        { code: "ledger/bad-adjustment" },
        "An adjustment needs an amount that is not zero, and a reason that the worker will read.",
      );
    }
    const id = this.#newId();
    const source = key === undefined ? `${id}/adjusted` : `key:${key}/adjusted`;
    const entryId = await this.#pool.transaction(async (client): Promise<string> => {
      const before = await adjustedBefore(client, source);
      if (before) {
        if (before.worker === worker && before.amountWei === amountWei && before.corrects === corrects)
          return before.id;
        throw new LedgerError(
          { code: "ledger/bad-adjustment" },
          `The key ${key} names another adjustment, of ${before.amountWei} wei for ${before.worker}: nothing was booked.`,
        );
      }
      if (corrects !== undefined) {
        if (!(await isEntryOrJob(client, corrects))) {
          throw new LedgerError(
            { code: "ledger/unknown-entry" },
            `There is no entry and no job ${corrects}; nothing was booked.`,
          );
        }
      }
      const held = corrects === undefined ? undefined : await lockHeldCredit(client, worker, corrects);
      if (held && held.amountWei + amountWei < 0n) {
        throw new LedgerError(
          { code: "ledger/bad-adjustment" },
          `Job ${corrects} has ${held.amountWei} wei left, which are still held: no more can be taken of them.`,
        );
      }
      const entry: NewEntry = {
        id,
        source,
        rule: "adjusted",
        termsVersion: held?.termsVersion ?? termsVersion,
        atMs: this.#clock.now(),
        postings: [
          { account: workerAccount(worker, held ? "held" : "owed"), amountWei },
          { account: poolAccounts.adjustments, amountWei: -amountWei },
        ],
        data: { reason, ...(corrects === undefined ? {} : { corrects }) },
        corrects,
      };
      if ((await postEntries(client, [entry], { withoutLines: held !== undefined })) === 0) {
        throw new PoolError({ code: "store/conflict" }, `Another adjustment with the key ${key} is being booked.`);
      }
      if (held) await writeHeld(client, id, [{ ...held, worker, amountWei }]);
      const data = { entry: id, amountWei, reason, corrects };
      await appendEvents(client, [{ type: "ledger.adjusted", worker, data }], this.#clock.now(), this.#newId);
      return id;
    });
    return { entry: entryId, balance: await this.balance(worker), repeated: entryId !== id };
  }

  async closedPeriods(): Promise<readonly ClosedPeriod[]> {
    const rows = await this.#pool.query<{
      period: string;
      ends_at: Date;
      sealed_at: Date;
      lines: string;
      dropped_at: Date | null;
    }>("select period, ends_at, sealed_at, lines, dropped_at from openpool.ledger_periods order by ends_at");
    return rows.map((row) => ({
      period: row.period,
      endsAtMs: row.ends_at.getTime(),
      sealedAtMs: row.sealed_at.getTime(),
      lines: Number(row.lines),
      droppedAtMs: row.dropped_at?.getTime(),
    }));
  }

  async terms(): Promise<readonly Terms[]> {
    const rows = await this.#pool.query<{ version: number; effective_at: Date; announced_at: Date; document: unknown }>(
      "select version, effective_at, announced_at, document from openpool.terms order by version",
    );
    return rows.map((row) => ({
      version: row.version,
      effectiveAtMs: row.effective_at.getTime(),
      announcedAtMs: row.announced_at.getTime(),
      ...parseTermsDocument(row.document),
    }));
  }

  async addTerms({ version, effectiveAtMs, announcedAtMs, ...document }: Terms): Promise<void> {
    const terms = termsDocumentJson(document satisfies TermsDocument);
    await this.#pool.transaction(async (client) => {
      await client.query(
        "insert into openpool.terms (version, effective_at, announced_at, document) values ($1, $2, $3, $4)",
        [version, new Date(effectiveAtMs), new Date(announcedAtMs), JSON.stringify(terms)],
      );
      const data = { version, effectiveAt: new Date(effectiveAtMs).toISOString(), terms };
      await appendEvents(client, [{ type: "terms.announced", data }], this.#clock.now(), this.#newId);
    });
  }

  async halts(): Promise<readonly Halt[]> {
    const rows = await this.#pool.query<{ name: string; reason: string; details: unknown; since: Date }>(
      "select name, reason, details, since from openpool.halts order by since, name",
    );
    return rows.map(({ since, ...row }) => ({ ...row, sinceMs: since.getTime() }));
  }

  async halt(name: string, reason: string, details: unknown): Promise<void> {
    await this.#pool.query(
      `insert into openpool.halts (name, reason, details, since) values ($1, $2, $3, $4)
       on conflict (name) do update set reason = excluded.reason, details = excluded.details`,
      [name, reason, JSON.stringify(details ?? null), new Date(this.#clock.now())],
    );
  }

  async liftHalt(name: string): Promise<void> {
    await this.#pool.query("delete from openpool.halts where name = $1", [name]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}
