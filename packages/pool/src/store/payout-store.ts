import { type Clock, errorCode, errorText, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { Client, Pool, type QueryResultRow } from "pg";
import { type NewEntry, poolAccounts, workerAccount } from "../ledger/types.ts";
import type { Control, Findings, Payable, PayeeRecord, PayoutStore, Settlement } from "../payouts/ports.ts";
import type {
  FiatPrice,
  Halt,
  Hex,
  PayoutIntent,
  PayoutLine,
  PayoutRun,
  PayoutWish,
  PayToChange,
  RunDetail,
  SignedTransaction,
} from "../payouts/types.ts";
import { postEntries } from "./ledger-store.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";

/** Any constant of ours: who holds it pays. */
const PAYER_LOCK = 7_105_237;
const HALT_PREFIX = "payout/";

interface RunRow {
  readonly id: string;
  readonly state: PayoutRun["state"];
  readonly created_at: Date;
  readonly finished_at: Date | null;
  readonly chain_id: string;
  readonly payer: WorkerAddress;
  readonly asset: PayoutRun["asset"];
  readonly total_wei: string;
  readonly approval_reason: string | null;
  readonly approved_by: string | null;
  readonly details: RunDetails;
  readonly lines: string;
  readonly gas_wei: string;
}

/** The JSON of a run; wei as decimal strings. */
interface RunDetails {
  readonly prices: readonly {
    readonly token: WorkerAddress;
    readonly unitsPerEth: string;
    readonly source: string;
    readonly atBlock?: number;
  }[];
  readonly fiat?: PayoutRun["fiat"];
  readonly waiting: readonly { readonly worker: WorkerAddress; readonly owedWei: string; readonly reason: string }[];
  readonly notes: readonly string[];
}

interface LineRow {
  readonly id: string;
  readonly run: string;
  readonly worker: WorkerAddress;
  readonly pay_to: WorkerAddress;
  readonly amount_wei: string;
  readonly gas_share_wei: string;
  readonly send_amount: string;
  readonly asset: PayoutLine["asset"];
  readonly method: PayoutLine["method"];
  readonly method_reason: string;
  readonly state: PayoutLine["state"];
  readonly intent: string | null;
  readonly reason: string | null;
  readonly tx_hash: Hex | null;
  readonly block: string | null;
  readonly planned_at: Date;
  readonly sent_at: Date | null;
  readonly finished_at: Date | null;
  /** Of its run; not where a row comes from a change of the table. */
  readonly fiat?: PayoutRun["fiat"] | null;
}

interface IntentRow {
  readonly id: string;
  readonly run: string;
  readonly kind: PayoutIntent["kind"];
  readonly chain_id: string;
  readonly payer: WorkerAddress;
  readonly nonce: string;
  readonly to_address: WorkerAddress;
  readonly value_wei: string;
  readonly data: Hex;
  readonly gas_limit: string;
  readonly lines: readonly string[];
  readonly state: PayoutIntent["state"];
  readonly mined_hash: Hex | null;
  readonly mined_block: string | null;
  readonly gas_wei: string | null;
  readonly transactions: readonly {
    readonly hash: Hex;
    readonly raw: Hex;
    readonly max_fee_wei: string;
    readonly max_tip_wei: string;
    readonly signed_at_ms: number;
  }[];
}

const RUNS = `
  select r.*, (select count(*) from openpool.payout_lines l where l.run = r.id) as lines,
    (select coalesce(sum(gas_wei), 0) from openpool.payout_intents i where i.run = r.id) as gas_wei
  from openpool.payout_runs r`;
const LINES = `
  select l.*, r.details -> 'fiat' as fiat from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run`;
const INTENTS = `
  select i.*, (
    select json_agg(json_build_object('hash', t.hash, 'raw', t.raw, 'max_fee_wei', t.max_fee_wei::text,
      'max_tip_wei', t.max_tip_wei::text, 'signed_at_ms', floor(extract(epoch from t.signed_at) * 1000)) order by t.version)
    from openpool.payout_transactions t where t.intent = i.id) as transactions
  from openpool.payout_intents i`;

function toRun(row: RunRow): PayoutRun {
  const { prices, fiat, waiting, notes } = row.details;
  return {
    id: row.id,
    state: row.state,
    createdAtMs: row.created_at.getTime(),
    finishedAtMs: row.finished_at?.getTime(),
    chainId: Number(row.chain_id),
    payer: row.payer,
    asset: row.asset,
    totalWei: BigInt(row.total_wei),
    lines: Number(row.lines),
    approvalReason: row.approval_reason ?? undefined,
    approvedBy: row.approved_by ?? undefined,
    prices: prices.map((one) => ({ atBlock: undefined, ...one, unitsPerEth: BigInt(one.unitsPerEth) })),
    fiat,
    gasWei: BigInt(row.gas_wei),
    waiting: waiting.map((one) => ({ ...one, owedWei: BigInt(one.owedWei) })),
    notes,
  };
}

function toLine(row: LineRow): PayoutLine {
  return {
    id: row.id,
    run: row.run,
    worker: row.worker,
    payTo: row.pay_to,
    amountWei: BigInt(row.amount_wei),
    gasShareWei: BigInt(row.gas_share_wei),
    sendAmount: BigInt(row.send_amount),
    asset: row.asset,
    method: row.method,
    methodReason: row.method_reason,
    state: row.state,
    intent: row.intent ?? undefined,
    reason: row.reason ?? undefined,
    txHash: row.tx_hash ?? undefined,
    block: row.block === null ? undefined : Number(row.block),
    plannedAtMs: row.planned_at.getTime(),
    sentAtMs: row.sent_at?.getTime(),
    finishedAtMs: row.finished_at?.getTime(),
    fiat: row.fiat ?? undefined,
  };
}

function toIntent(row: IntentRow): PayoutIntent {
  return {
    id: row.id,
    run: row.run,
    kind: row.kind,
    chainId: Number(row.chain_id),
    payer: row.payer,
    nonce: Number(row.nonce),
    to: row.to_address,
    valueWei: BigInt(row.value_wei),
    data: row.data,
    gasLimit: BigInt(row.gas_limit),
    lines: row.lines,
    state: row.state,
    transactions: row.transactions.map((one) => ({
      hash: one.hash,
      raw: one.raw,
      maxFeeWei: BigInt(one.max_fee_wei),
      maxTipWei: BigInt(one.max_tip_wei),
      signedAtMs: one.signed_at_ms,
    })),
    minedHash: row.mined_hash ?? undefined,
    minedBlock: row.mined_block === null ? undefined : Number(row.mined_block),
    gasWei: row.gas_wei === null ? undefined : BigInt(row.gas_wei),
  };
}

export interface PgPayoutStoreDeps {
  readonly clock: Clock;
  readonly newId: () => string;
}

/**
 * The payouts' memory in PostgreSQL. Whatever changes something runs over one connection that holds the payer's lock:
 * who has lost the connection has lost the lock, and can write nothing any more. So two processes never both pay.
 */
export class PgPayoutStore implements PayoutStore, AsyncDisposable {
  readonly #connection: PgConnection;
  readonly #deps: PgPayoutStoreDeps;
  readonly #readers: Pool;
  #leader: Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(connection: PgConnection, deps: PgPayoutStoreDeps) {
    this.#connection = connection;
    this.#deps = deps;
    this.#readers = new Pool({
      ...clientConfig(connection, `openpool payouts reader ${process.pid}`),
      max: 2,
      idleTimeoutMillis: 30_000,
      statement_timeout: 60_000,
      query_timeout: 65_000,
      allowExitOnIdle: true,
    });
    this.#readers.on("error", () => {});
  }

  async payable(): Promise<readonly Payable[]> {
    const rows = await this.#read<{ worker: WorkerAddress; balance_wei: string; since: Date | null }>(
      `select worker, balance_wei, since from openpool.ledger_accounts
       where worker is not null and account like '%:owed' and balance_wei > 0 order by worker`,
    );
    return rows.map(({ worker, balance_wei, since }) => ({
      worker,
      owedWei: BigInt(balance_wei),
      oldestOwedAtMs: since?.getTime() ?? 0,
    }));
  }

  async payees(): Promise<readonly PayeeRecord[]> {
    const rows = await this.#read<WishRow & { readonly held: string | null; readonly plain_only: boolean }>(
      "select * from openpool.payout_payees",
    );
    return rows.map((row) => ({
      worker: row.worker,
      ...toWish(row),
      held: row.held ?? undefined,
      plainOnly: row.plain_only,
    }));
  }

  async control(): Promise<Control> {
    const [row] = await this.#read<{
      paused: string | null;
      next_at: Date | null;
      schedule: string | null;
      nonce_floor: string | null;
      nonce_guard: string | null;
    }>("select paused, next_at, schedule, nonce_floor, nonce_guard from openpool.payout_control");
    const halts = await this.#read<{
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
      nonceFloor: toNumber(row?.nonce_floor),
      nonceGuard: toNumber(row?.nonce_guard),
    };
  }

  async plannedSince(atMs: number): Promise<bigint> {
    const [row] = await this.#read<{ wei: string }>(
      `select coalesce(sum(l.amount_wei), 0) as wei from openpool.payout_lines l
       where l.planned_at > $1 and l.state not in ('returned', 'failed')`,
      [new Date(atMs)],
    );
    return BigInt(row?.wei ?? "0");
  }

  commitPlan(run: PayoutRun, lines: readonly PayoutLine[], nextAtMs: number | undefined): Promise<boolean> {
    return this.#write(async (client) => {
      const { rows } = await client.query<{ id: string }>(
        "select id from openpool.payout_runs where id = $1 or state not in ('done', 'cancelled')",
        [run.id],
      );
      if (rows.length > 0) return rows[0]?.id === run.id;
      const { rowCount: halts } = await client.query("select from openpool.halts limit 1");
      if (halts !== 0) return false;
      await insertRun(client, run, lines);
      const terms = await termsVersion(client, run.createdAtMs);
      await postEntries(
        client,
        lines.map((line) => this.#move(line, "plan", terms, run.createdAtMs, "owed", "paying")),
      );
      if (nextAtMs !== undefined) {
        await client.query("update openpool.payout_control set next_at = $1", [new Date(nextAtMs)]);
      }
      return true;
    }, "ledger/negative-balance");
  }

  approve(run: string, by: string): Promise<boolean> {
    return this.#write(async (client) => {
      const { rowCount } = await client.query(
        "update openpool.payout_runs set state = 'approved', approved_by = $2 where id = $1 and state = 'planned'",
        [run, by],
      );
      return rowCount === 1;
    });
  }

  cancel(run: string, atMs: number): Promise<boolean> {
    return this.#write(async (client) => {
      const { rowCount } = await client.query(
        `update openpool.payout_runs set state = 'cancelled', finished_at = $2
         where id = $1 and state in ('planned', 'approved')
           and not exists (select from openpool.payout_intents i where i.run = $1)`,
        [run, new Date(atMs)],
      );
      if (rowCount !== 1) return false;
      const { rows } = await client.query<LineRow>(
        `update openpool.payout_lines set state = 'returned', reason = 'the run was cancelled', finished_at = $2
         where run = $1 and state = 'planned' returning *`,
        [run, new Date(atMs)],
      );
      const terms = await termsVersion(client, atMs);
      const entries = rows.map((row) => this.#move(toLine(row), "returned", terms, atMs, "paying", "owed"));
      await postEntries(client, entries);
      return true;
    });
  }

  async openRuns(): Promise<readonly RunDetail[]> {
    return this.#write(async (client) => {
      const { rows } = await client.query<RunRow>(
        `${RUNS} where r.state not in ('done', 'cancelled') order by r.created_at`,
      );
      return Promise.all(rows.map((row) => detailOf(client, row)));
    });
  }

  async lastNonce(chainId: number, payer: WorkerAddress): Promise<number | undefined> {
    const [row] = await this.#read<{ nonce: string | null }>(
      "select max(nonce) as nonce from openpool.payout_intents where chain_id = $1 and payer = $2",
      [chainId, payer],
    );
    return toNumber(row?.nonce);
  }

  commitIntents(run: string, intents: readonly PayoutIntent[]): Promise<boolean> {
    return this.#write(async (client) => {
      const { rows } = await client.query<{ state: string }>(
        "select state from openpool.payout_runs where id = $1 for update",
        [run],
      );
      if (rows[0]?.state !== "approved" && rows[0]?.state !== "sending") return false;
      const wanted = intents.flatMap((one) => one.lines);
      const { rowCount: free } = await client.query(
        "select from openpool.payout_lines where run = $1 and id = any ($2) and state = 'planned' and intent is null for update",
        [run, wanted],
      );
      if (free !== wanted.length || new Set(wanted).size !== wanted.length) return false;
      for (const intent of intents) {
        await client.query(
          `insert into openpool.payout_intents
             (id, run, kind, chain_id, payer, nonce, to_address, value_wei, data, gas_limit, lines, state)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'signed')`,
          [
            intent.id,
            run,
            intent.kind,
            intent.chainId,
            intent.payer,
            intent.nonce,
            intent.to,
            intent.valueWei,
            intent.data,
            intent.gasLimit,
            intent.lines,
          ],
        );
        for (const transaction of intent.transactions) await addTransaction(client, intent.id, transaction);
        await client.query(
          "update openpool.payout_lines set state = 'signed', intent = $1, tx_hash = $3 where id = any ($2)",
          [intent.id, intent.lines, intent.transactions[0]?.hash ?? null],
        );
      }
      await client.query("update openpool.payout_runs set state = 'sending' where id = $1", [run]);
      return true;
    });
  }

  dropLines(run: string, returned: Settlement["returned"], atMs: number): Promise<void> {
    return this.#write(async (client) => {
      await this.#returnLines(client, returned, "planned", undefined, atMs);
      await finishRun(client, run, atMs);
    });
  }

  addTransaction(intent: string, transaction: SignedTransaction): Promise<void> {
    return this.#write((client) => addTransaction(client, intent, transaction));
  }

  setIntentState(
    intent: string,
    state: "sent" | "confirmed",
    atMs: number,
    mined?: { readonly hash: Hex; readonly block: number },
  ): Promise<void> {
    return this.#write(async (client) => {
      const { rowCount } = await client.query(
        `update openpool.payout_intents set state = $2, mined_hash = $3, mined_block = $4
         where id = $1 and state in ('signed', 'sent', 'confirmed')`,
        [intent, state, mined?.hash ?? null, mined?.block ?? null],
      );
      if (rowCount !== 1) return;
      await client.query(
        `update openpool.payout_lines set state = $2, sent_at = coalesce(sent_at, $3),
           tx_hash = coalesce($4, tx_hash), block = $5 where intent = $1`,
        [intent, state, new Date(atMs), mined?.hash ?? null, mined?.block ?? null],
      );
    });
  }

  settle(settlement: Settlement): Promise<void> {
    return this.#write((client) => this.#settle(client, settlement));
  }

  async #settle(client: Client, settlement: Settlement): Promise<void> {
    const { intent, state, minedHash, minedBlock, gasWei, paid, returned, atMs, halt } = settlement;
    const { rows } = await client.query<{ run: string; nonce: string }>(
      `update openpool.payout_intents set state = $2, mined_hash = $3, mined_block = $4, gas_wei = $5
         where id = $1 and state in ('signed', 'sent', 'confirmed') returning run, nonce`,
      [intent, state, minedHash ?? null, minedBlock ?? null, gasWei],
    );
    const [settled] = rows;
    // Settled before: its answer had got lost.
    if (!settled) return;
    const terms = await termsVersion(client, atMs);
    await this.#payLines(client, paid, minedHash, minedBlock, atMs, terms);
    await this.#returnLines(client, returned, "live", minedHash, atMs);
    if (gasWei > 0n) {
      const data = { run: settled.run, intent, hash: minedHash, block: minedBlock };
      await postEntries(client, [this.#gas(intent, gasWei, data, terms, atMs)]);
    }
    if (halt) await insertHalt(client, halt);
    await finishRun(client, settled.run, atMs);
  }

  /** What a transaction cost, out of the reserve. */
  #gas(of: string, wei: bigint, data: Readonly<Record<string, unknown>>, termsVersion: number, atMs: number): NewEntry {
    return {
      id: this.#deps.newId(),
      source: `${of}/gas`,
      rule: "gas",
      termsVersion,
      atMs,
      postings: [
        { account: poolAccounts.gas, amountWei: wei },
        { account: poolAccounts.reserve, amountWei: -wei },
      ],
      data,
    };
  }

  markExported(run: string): Promise<boolean> {
    return this.#write(async (client) => {
      const { rowCount } = await client.query(
        "update openpool.payout_runs set state = 'exported' where id = $1 and state = 'approved'",
        [run],
      );
      return rowCount === 1;
    });
  }

  settleExported(
    run: string,
    paid: readonly string[],
    returned: Settlement["returned"],
    hash: Hex,
    atMs: number,
  ): Promise<void> {
    return this.#write(async (client) => {
      const { rows } = await client.query<{ state: string }>(
        "select state from openpool.payout_runs where id = $1 for update",
        [run],
      );
      if (rows[0]?.state !== "exported") return;
      await this.#payLines(client, paid, hash, undefined, atMs, await termsVersion(client, atMs));
      await this.#returnLines(client, returned, "planned", hash, atMs);
      await finishRun(client, run, atMs);
    });
  }

  halt(halt: Halt): Promise<void> {
    return this.#write((client) => insertHalt(client, halt));
  }

  setPaused(reason: string | undefined): Promise<void> {
    return this.#write(async (client) => {
      await client.query("update openpool.payout_control set paused = $1", [reason ?? null]);
    });
  }

  clearHalts(): Promise<void> {
    return this.#write(clearHalts);
  }

  async booksAreBehind(nowMs: number): Promise<boolean> {
    const [row] = await this.#read<{ behind: boolean }>(
      `select c.position < h.position
         or exists (select from openpool.ledger_holds where release_at <= least($1, now()) and amount_wei > 0) as behind
       from openpool.ledger_cursor c, openpool.log_head h`,
      [new Date(nowMs)],
    );
    return row?.behind ?? true;
  }

  async workers(): Promise<readonly WorkerAddress[]> {
    const rows = await this.#read<{ worker: WorkerAddress }>(
      `select worker from openpool.ledger_accounts where worker is not null
       union select worker from openpool.workers union select worker from openpool.payout_payees order by 1`,
    );
    return rows.map(({ worker }) => worker);
  }

  async knownTransactions(
    chainId: number,
    payer: WorkerAddress,
    from: number,
  ): ReturnType<PayoutStore["knownTransactions"]> {
    const rows = await this.#read<{ nonce: string; hash: Hex }>(
      `select i.nonce, t.hash from openpool.payout_intents i join openpool.payout_transactions t on t.intent = i.id
       where i.chain_id = $1 and i.payer = $2 and i.nonce >= $3`,
      [chainId, payer, from],
    );
    const found = await this.#read<{ hash: Hex }>(
      `select distinct l.tx_hash as hash from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run
       where r.chain_id = $1 and r.payer = $2 and l.intent is null and l.tx_hash is not null`,
      [chainId, payer],
    );
    return {
      nonces: new Set(rows.map(({ nonce }) => Number(nonce))),
      hashes: new Set([...rows, ...found].map(({ hash }) => hash)),
    };
  }

  async lastSignedMs(chainId: number, payer: WorkerAddress): Promise<number | undefined> {
    const [row] = await this.#read<{ at: Date | null }>(
      `select max(t.signed_at) as at from openpool.payout_intents i join openpool.payout_transactions t on t.intent = i.id
       where i.chain_id = $1 and i.payer = $2 and t.version = 0`,
      [chainId, payer],
    );
    return row?.at?.getTime();
  }

  bookFound(found: Findings): ReturnType<PayoutStore["bookFound"]> {
    const { atMs } = found;
    return this.#write(async (client) => {
      const terms = await termsVersion(client, atMs);
      // What a lost intent gives back is what another transaction paid.
      for (const one of found.lost) await this.#settle(client, one);
      for (const { line, hash, block } of found.lines) await this.#payLines(client, [line], hash, block, atMs, terms);
      await client.query(
        `update openpool.payout_runs set state = 'sending', approved_by = coalesce(approved_by, 'as the chain shows')
         where state in ('planned', 'approved') and id in (select run from openpool.payout_lines where id = any ($1))`,
        [found.lines.map(({ line }) => line)],
      );
      await this.#takeBack(client, found);
      const { rows: open } = await client.query<{ id: string }>(
        "select id from openpool.payout_runs where state not in ('done', 'cancelled')",
      );
      for (const { id } of open) await finishRun(client, id, atMs);
      const notOwed = await this.#bookUnplanned(client, found, terms);
      await postEntries(
        client,
        found.gas.map(({ hash, block, wei }) => this.#gas(hash, wei, { hash, block }, terms, atMs)),
      );
      await client.query(
        `update openpool.payout_control set nonce_floor = greatest(coalesce(nonce_floor, 0), $1),
           nonce_guard = greatest(nonce_guard, $2)`,
        [found.nonceFloor, found.nonceGuard ?? null],
      );
      await clearHalts(client);
      return notOwed;
    });
  }

  keepFiat(day: string, { currency, perEth, source, atMs }: FiatPrice): Promise<boolean> {
    return this.#write(async (client) => {
      const { rowCount } = await client.query(
        `insert into openpool.fiat_prices (day, currency, per_eth, source, read_at) values ($1, $2, $3, $4, $5)
         on conflict (day) do nothing`,
        [day, currency, perEth, source, new Date(atMs)],
      );
      return rowCount === 1;
    });
  }

  /** Lines that were to pay workers who were paid otherwise: what is left to pay them is planned anew. */
  async #takeBack(client: Client, { payments, atMs }: Findings): Promise<void> {
    const { rows } = await client.query<{ id: string }>(
      "select id from openpool.payout_lines where worker = any ($1) and state = 'planned' and method <> 'safe'",
      [payments.map(({ worker }) => worker)],
    );
    const reason = "its worker was paid otherwise, as the chain shows";
    const returned = rows.map(({ id }) => ({ line: id, reason, hold: false }));
    await this.#returnLines(client, returned, "planned", undefined, atMs);
    await client.query(
      `update openpool.payout_runs r set state = 'cancelled', finished_at = $1 where r.state = 'planned'
         and not exists (select from openpool.payout_lines l where l.run = r.id and l.state = 'planned')`,
      [new Date(atMs)],
    );
  }

  /** Payments that no line stood for: each transaction becomes a run that is done. */
  async #bookUnplanned(
    client: Client,
    { payments, chainId, payer, atMs }: Findings,
    terms: number,
  ): Promise<readonly { readonly worker: WorkerAddress; readonly wei: bigint }[]> {
    const notOwed: { worker: WorkerAddress; wei: bigint }[] = [];
    for (const hash of new Set(payments.map((one) => one.hash))) {
      // A worker has one line in a run.
      const lines = new Map<WorkerAddress, PayoutLine>();
      const run = this.#deps.newId();
      for (const one of payments.filter((payment) => payment.hash === hash)) {
        const amountWei = (lines.get(one.worker)?.amountWei ?? 0n) + one.amountWei;
        lines.set(one.worker, {
          id: lines.get(one.worker)?.id ?? this.#deps.newId(),
          run,
          worker: one.worker,
          payTo: one.payTo,
          amountWei,
          gasShareWei: 0n,
          sendAmount: amountWei,
          asset: "eth",
          method: one.method,
          methodReason: "found on the chain",
          state: "planned",
          intent: undefined,
          reason: undefined,
          txHash: hash,
          block: one.block,
          plannedAtMs: atMs,
          sentAtMs: undefined,
          finishedAtMs: undefined,
          fiat: undefined,
        });
      }
      const all = [...lines.values()];
      await insertRun(
        client,
        {
          id: run,
          state: "done",
          createdAtMs: atMs,
          finishedAtMs: atMs,
          chainId,
          payer,
          asset: "eth",
          totalWei: all.reduce((sum, line) => sum + line.amountWei, 0n),
          lines: all.length,
          approvalReason: undefined,
          approvedBy: "as the chain shows",
          prices: [],
          fiat: undefined,
          gasWei: 0n,
          waiting: [],
          notes: [`found on the chain: transaction ${hash}`],
        },
        all,
      );
      for (const line of all) {
        const { rows } = await client.query<{ balance_wei: string }>(
          "select balance_wei from openpool.ledger_accounts where account = $1 for update",
          [workerAccount(line.worker, "owed")],
        );
        const missing = line.amountWei - BigInt(rows[0]?.balance_wei ?? 0);
        if (missing <= 0n) continue;
        notOwed.push({ worker: line.worker, wei: missing });
        await postEntries(client, [
          {
            id: this.#deps.newId(),
            source: `${line.id}/lost-credits`,
            rule: "adjusted",
            termsVersion: terms,
            atMs,
            postings: [
              { account: workerAccount(line.worker, "owed"), amountWei: missing },
              { account: poolAccounts.adjustments, amountWei: -missing },
            ],
            data: { reason: `paid in ${hash} for credits that were lost with the database` },
          },
        ]);
      }
      await postEntries(
        client,
        all.map((line) => this.#move(line, "plan", terms, atMs, "owed", "paying")),
      );
      for (const line of all) await this.#payLines(client, [line.id], hash, line.block, atMs, terms);
    }
    return notOwed;
  }

  setNextAt(nextAtMs: number | undefined, schedule: string | undefined): Promise<void> {
    return this.#write(async (client) => {
      await client.query("update openpool.payout_control set next_at = $1, schedule = $2", [
        nextAtMs === undefined ? null : new Date(nextAtMs),
        schedule ?? null,
      ]);
    });
  }

  async runs(limit: number): Promise<readonly PayoutRun[]> {
    const rows = await this.#read<RunRow>(`${RUNS} order by r.created_at desc limit $1`, [Math.min(limit, 10_000)]);
    return rows.map(toRun);
  }

  async run(id: string): Promise<RunDetail | undefined> {
    if (!/^[0-9a-f-]{36}$/.test(id)) return undefined;
    const [row] = await this.#read<RunRow>(`${RUNS} where r.id = $1`, [id]);
    return row && detailOf(this.#readers, row);
  }

  async linesOf(worker: WorkerAddress, limit: number): Promise<readonly PayoutLine[]> {
    const rows = await this.#read<LineRow>(
      `${LINES} where l.worker = $1 order by l.planned_at desc, l.id desc limit $2`,
      [worker, Math.min(limit, 10_000)],
    );
    return rows.map(toLine);
  }

  async line(id: string): Promise<PayoutLine | undefined> {
    if (!/^[0-9a-f-]{36}$/.test(id)) return undefined;
    const [row] = await this.#read<LineRow>(`${LINES} where l.id = $1`, [id]);
    return row && toLine(row);
  }

  retry(worker: WorkerAddress): Promise<void> {
    return this.#write(async (client) => {
      await client.query("update openpool.payout_payees set held = null, plain_only = true where worker = $1", [
        worker,
      ]);
    });
  }

  async payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]> {
    const rows = await this.#read<ChangeRow>(
      "select * from openpool.payto_changes where worker = $1 order by nonce desc limit 100",
      [worker],
    );
    return rows.map(toChange);
  }

  addPayToChange(change: PayToChange, signature: Hex): Promise<boolean> {
    return this.#write(async (client) => {
      const { rows } = await client.query<{ nonce: string; signature: string }>(
        "select nonce, signature from openpool.payto_changes where worker = $1 order by nonce desc limit 1 for update",
        [change.worker],
      );
      const [last] = rows;
      if (last && BigInt(last.nonce) === change.nonce && last.signature === signature) return true;
      if (last && BigInt(last.nonce) >= change.nonce) return false;
      await client.query(
        "update openpool.payto_changes set state = 'replaced' where worker = $1 and state = 'waiting'",
        [change.worker],
      );
      await client.query(
        `insert into openpool.payto_changes
           (worker, nonce, pay_to, threshold_wei, asset, max_gas_price_wei, max_gas_share_ppm, signature, requested_at,
            effective_at, state)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'waiting')`,
        [
          change.worker,
          change.nonce,
          change.payTo,
          change.thresholdWei,
          change.asset,
          change.maxGasPriceWei,
          change.maxGasSharePpm,
          signature,
          new Date(change.requestedAtMs),
          new Date(change.effectiveAtMs),
        ],
      );
      return true;
    });
  }

  cancelPayToChanges(worker: WorkerAddress): Promise<void> {
    return this.#write(async (client) => {
      await client.query(
        "update openpool.payto_changes set state = 'cancelled' where worker = $1 and state = 'waiting'",
        [worker],
      );
    });
  }

  applyPayToChanges(nowMs: number): Promise<readonly PayToChange[]> {
    return this.#write(async (client) => {
      const { rows } = await client.query<ChangeRow>(
        "update openpool.payto_changes set state = 'in-force' where state = 'waiting' and effective_at <= $1 returning *",
        [new Date(nowMs)],
      );
      for (const row of rows) {
        // A new address gets a new chance: what was held against the old one is over.
        await client.query(
          `insert into openpool.payout_payees
             (worker, pay_to, threshold_wei, asset, max_gas_price_wei, max_gas_share_ppm) values ($1, $2, $3, $4, $5, $6)
           on conflict (worker) do update set
             held = case when payout_payees.pay_to is distinct from excluded.pay_to then null else payout_payees.held end,
             plain_only = payout_payees.plain_only and payout_payees.pay_to is not distinct from excluded.pay_to,
             pay_to = excluded.pay_to, threshold_wei = excluded.threshold_wei, asset = excluded.asset,
             max_gas_price_wei = excluded.max_gas_price_wei, max_gas_share_ppm = excluded.max_gas_share_ppm`,
          [row.worker, row.pay_to, row.threshold_wei, row.asset, row.max_gas_price_wei, row.max_gas_share_ppm],
        );
        await client.query(
          "update openpool.payto_changes set state = 'replaced' where worker = $1 and state = 'in-force' and nonce < $2",
          [row.worker, row.nonce],
        );
      }
      return rows.map(toChange);
    });
  }

  async #payLines(
    client: Client,
    ids: readonly string[],
    hash: Hex | undefined,
    block: number | undefined,
    atMs: number,
    terms: number,
  ): Promise<void> {
    const { rows } = await client.query<LineRow>(
      `update openpool.payout_lines l set state = 'final', tx_hash = $2, block = $3, finished_at = $4
       from openpool.payout_runs r
       where r.id = l.run and l.id = any ($1) and l.state not in ('final', 'failed', 'returned')
       returning l.*, r.details -> 'fiat' as fiat`,
      [ids, hash ?? null, block ?? null, new Date(atMs)],
    );
    await postEntries(
      client,
      rows.map((row): NewEntry => {
        const line = toLine(row);
        const { worker, amountWei, gasShareWei } = line;
        return {
          id: this.#deps.newId(),
          source: `${line.id}/paid`,
          rule: "paid",
          termsVersion: terms,
          atMs,
          postings: [
            { account: workerAccount(worker, "paying"), amountWei: -amountWei },
            { account: workerAccount(worker, "paid"), amountWei: amountWei - gasShareWei },
            // What the worker bears of the gas goes to the reserve, from which the gas is taken.
            ...(gasShareWei > 0n ? [{ account: poolAccounts.reserve, amountWei: gasShareWei }] : []),
          ],
          data: {
            run: line.run,
            line: line.id,
            payTo: line.payTo,
            asset: line.asset,
            sendAmount: String(line.sendAmount),
            gasShareWei: String(gasShareWei),
            hash,
            block,
            fiat: line.fiat,
          },
        };
      }),
    );
  }

  async #returnLines(
    client: Client,
    returned: Settlement["returned"],
    from: "planned" | "live",
    hash: Hex | undefined,
    atMs: number,
  ): Promise<void> {
    if (returned.length === 0) return;
    const states = from === "planned" ? ["planned"] : ["signed", "sent", "confirmed"];
    const terms = await termsVersion(client, atMs);
    for (const { line: id, reason, hold } of returned) {
      const { rows } = await client.query<LineRow>(
        `update openpool.payout_lines set state = $5, reason = $2, tx_hash = $3, finished_at = $4
         where id = $1 and state = any ($6) returning *`,
        [id, reason, hash ?? null, new Date(atMs), hold ? "failed" : "returned", states],
      );
      const [row] = rows;
      if (!row) continue;
      await postEntries(client, [this.#move(toLine(row), "returned", terms, atMs, "paying", "owed")]);
      if (!hold) continue;
      await client.query(
        `insert into openpool.payout_payees (worker, held) values ($1, $2)
         on conflict (worker) do update set held = excluded.held`,
        [row.worker, reason],
      );
    }
  }

  #move(
    line: PayoutLine,
    rule: "plan" | "returned",
    termsVersion: number,
    atMs: number,
    from: "owed" | "paying",
    to: "owed" | "paying",
  ): NewEntry {
    return {
      id: this.#deps.newId(),
      source: `${line.id}/${rule}`,
      rule,
      termsVersion,
      atMs,
      postings: [
        { account: workerAccount(line.worker, from), amountWei: -line.amountWei },
        { account: workerAccount(line.worker, to), amountWei: line.amountWei },
      ],
      data: { run: line.run, line: line.id, ...(line.reason === undefined ? {} : { reason: line.reason }) },
    };
  }

  async #read<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    try {
      return (await this.#readers.query<Row>(sql, [...values])).rows;
    } catch (cause) {
      throw failed(cause);
    }
  }

  /** One transaction over the connection that holds the lock. `refusal`: an error of this code means "false". */
  #write<T>(work: (client: Client) => Promise<T>, refusal?: string): Promise<T> {
    const result = this.#last.then(
      () => this.#transaction(work, refusal),
      () => this.#transaction(work, refusal),
    );
    this.#last = result.catch(() => {});
    return result;
  }

  async #transaction<T>(work: (client: Client) => Promise<T>, refusal: string | undefined): Promise<T> {
    const client = await this.#lead();
    try {
      await client.query("begin");
      const result = await work(client);
      await client.query("commit");
      return result;
    } catch (cause) {
      if (cause instanceof PoolError) {
        const undone = await client.query("rollback").then(
          () => true,
          () => false,
        );
        if (!undone) await this.#resign();
        // Only asked for where the answer is a boolean.
        if (cause.info.code === refusal) return false as T;
        throw cause;
      }
      // What became of the transaction is not known: a new connection will read it.
      await this.#resign();
      throw failed(cause);
    }
  }

  async #lead(): Promise<Client> {
    if (this.#leader) return this.#leader;
    if (this.#closed) throw new PoolError({ code: "store/unavailable" }, "The payouts are being stopped.");
    const client = new Client({
      ...clientConfig(this.#connection, `openpool payer ${process.pid}`),
      statement_timeout: 60_000,
      query_timeout: 65_000,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("set session characteristics as transaction isolation level read committed");
      await client.query(
        "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
      );
      const { rows } = await client.query<{ won: boolean }>("select pg_try_advisory_lock($1) as won", [PAYER_LOCK]);
      if (!rows[0]?.won) {
        throw new PoolError(
          { code: "payout/not-leader" },
          "Another process of this pool pays: it holds the lock in the database.",
        );
      }
    } catch (error) {
      await client.end().catch(() => {});
      throw error instanceof PoolError ? error : failed(error);
    }
    client.once("end", () => {
      if (this.#leader === client) this.#leader = undefined;
    });
    this.#leader = client;
    return client;
  }

  async #resign(): Promise<void> {
    const client = this.#leader;
    this.#leader = undefined;
    await client?.end().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#resign();
    if (!this.#readers.ended) await this.#readers.end();
  }
}

/** How a worker wants to be paid; without an address of its choice at its own. */
interface WishRow {
  readonly worker: WorkerAddress;
  readonly pay_to: WorkerAddress | null;
  readonly threshold_wei: string;
  readonly asset: PayoutWish["asset"];
  readonly max_gas_price_wei: string;
  readonly max_gas_share_ppm: string;
}

function toWish(row: WishRow): PayoutWish {
  return {
    payTo: row.pay_to ?? row.worker,
    thresholdWei: BigInt(row.threshold_wei),
    asset: row.asset,
    maxGasPriceWei: BigInt(row.max_gas_price_wei),
    maxGasSharePpm: BigInt(row.max_gas_share_ppm),
  };
}

interface ChangeRow extends WishRow {
  readonly nonce: string;
  readonly requested_at: Date;
  readonly effective_at: Date;
  readonly state: PayToChange["state"];
}

function toChange(row: ChangeRow): PayToChange {
  return {
    worker: row.worker,
    ...toWish(row),
    nonce: BigInt(row.nonce),
    requestedAtMs: row.requested_at.getTime(),
    effectiveAtMs: row.effective_at.getTime(),
    state: row.state,
  };
}

async function detailOf(client: Client | Pool, row: RunRow): Promise<RunDetail> {
  const lines = await client.query<LineRow>(`${LINES} where l.run = $1 order by l.place`, [row.id]);
  const intents = await client.query<IntentRow>(`${INTENTS} where i.run = $1 order by i.nonce`, [row.id]);
  return { run: toRun(row), lines: lines.rows.map(toLine), intents: intents.rows.map(toIntent) };
}

async function addTransaction(client: Client, intent: string, transaction: SignedTransaction): Promise<void> {
  const { hash, raw, maxFeeWei, maxTipWei, signedAtMs } = transaction;
  await client.query(
    `insert into openpool.payout_transactions (hash, intent, version, raw, max_fee_wei, max_tip_wei, signed_at)
     select $1, $2, count(*), $3, $4, $5, $6 from openpool.payout_transactions where intent = $2
     on conflict (hash) do nothing`,
    [hash, intent, raw, maxFeeWei, maxTipWei, new Date(signedAtMs)],
  );
}

async function insertHalt(client: Client, { code, message, atMs, intent, nonce }: Halt): Promise<void> {
  await client.query(
    "insert into openpool.halts (name, reason, details, since) values ($1, $2, $3, $4) on conflict (name) do nothing",
    [code, message, JSON.stringify({ intent, nonce }), new Date(atMs)],
  );
}

/** A run is done when nothing of it is under way any more. */
async function finishRun(client: Client, run: string, atMs: number): Promise<void> {
  await client.query(
    `update openpool.payout_runs r set state = 'done', finished_at = $2
     where r.id = $1 and r.state in ('approved', 'sending', 'exported')
       and not exists (select from openpool.payout_lines l
         where l.run = r.id and l.state not in ('final', 'failed', 'returned'))
       and not exists (select from openpool.payout_intents i
         where i.run = r.id and i.state in ('signed', 'sent', 'confirmed'))`,
    [run, new Date(atMs)],
  );
}

/** The terms in force, which every entry names. */
async function termsVersion(client: Client, atMs: number): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    "select version from openpool.terms where effective_at <= $1 order by version desc limit 1",
    [new Date(atMs)],
  );
  return rows[0]?.version ?? 1;
}

function failed(cause: unknown): PoolError {
  const code = errorCode(cause);
  return new PoolError(
    { code: code?.startsWith("23") ? "store/conflict" : "store/unavailable" },
    `The database did not answer the payouts: ${errorText(cause)}.`,
    { cause },
  );
}

/** A bigint column that a `number` holds. */
function toNumber(text: string | null | undefined): number | undefined {
  return text === null || text === undefined ? undefined : Number(text);
}

/** Writes a run with its lines, none of which anything was done about yet. */
async function insertRun(client: Client, run: PayoutRun, lines: readonly PayoutLine[]): Promise<void> {
  const details: RunDetails = {
    prices: run.prices.map(({ token, unitsPerEth, source, atBlock }) => ({
      token,
      unitsPerEth: String(unitsPerEth),
      source,
      ...(atBlock === undefined ? {} : { atBlock }),
    })),
    ...(run.fiat ? { fiat: run.fiat } : {}),
    waiting: run.waiting.map((one) => ({ ...one, owedWei: String(one.owedWei) })),
    notes: run.notes,
  };
  await client.query(
    `insert into openpool.payout_runs
           (id, state, created_at, finished_at, chain_id, payer, asset, total_wei, approval_reason, approved_by, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      run.id,
      run.state,
      new Date(run.createdAtMs),
      run.finishedAtMs === undefined ? null : new Date(run.finishedAtMs),
      run.chainId,
      run.payer,
      run.asset,
      run.totalWei,
      run.approvalReason ?? null,
      run.approvedBy ?? null,
      JSON.stringify(details),
    ],
  );
  await client.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount,
           asset, method, method_reason, state, planned_at)
         select l.id, $1, l.place, l.worker, l.pay_to, l.amount, l.gas_share, l.send, l.asset, l.method, l.reason, 'planned', $2
         from unnest($3::uuid[], $4::text[], $5::text[], $6::numeric[], $7::numeric[], $8::numeric[], $9::text[],
           $10::text[], $11::text[]) with ordinality as l (id, worker, pay_to, amount, gas_share, send, asset, method, reason, place)`,
    [
      run.id,
      new Date(run.createdAtMs),
      lines.map((line) => line.id),
      lines.map((line) => line.worker),
      lines.map((line) => line.payTo),
      lines.map((line) => line.amountWei),
      lines.map((line) => line.gasShareWei),
      lines.map((line) => line.sendAmount),
      lines.map((line) => line.asset),
      lines.map((line) => line.method),
      lines.map((line) => line.methodReason),
    ],
  );
}

async function clearHalts(client: Client): Promise<void> {
  await client.query("delete from openpool.halts where starts_with(name, $1)", [HALT_PREFIX]);
}
