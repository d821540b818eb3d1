import { type Clock, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { Findings, PayoutStore, Settlement } from "../payouts/ports.ts";
import type {
  FiatPrice,
  Halt,
  Hex,
  PayoutIntent,
  PayoutLine,
  PayoutRun,
  PayToChange,
  RunDetail,
  SignedTransaction,
} from "../payouts/types.ts";
import { postEntries } from "./ledger-store.ts";
import { locks } from "./locks.ts";
import {
  addTransaction,
  clearHalts,
  finishRun,
  insertHalt,
  insertRun,
  keepNonces,
  paidEvent,
  PayoutBookings,
  type PayoutTransaction,
  returnedEvent,
  termsVersion,
} from "./payout-bookings.ts";
import { appendEvents, type TransactionEvent } from "./append-events.ts";
import { PgPayoutReader } from "./payout-reader.ts";
import { type ChangeRow, detailOf, type LineRow, type RunRow, RUNS, toChange, toLine } from "./payout-rows.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgLeader } from "./pg-leader.ts";

export interface PgPayoutStoreDeps {
  readonly clock: Clock;
  readonly newId: () => string;
}

/**
 * The payouts' memory in PostgreSQL. Whatever changes something runs over one connection that holds the payer's lock, so two
 * processes never both pay. And whatever the event log is to know of a change is appended in the transaction of the change.
 */
export class PgPayoutStore extends PgPayoutReader implements PayoutStore {
  readonly #deps: PgPayoutStoreDeps;
  readonly #bookings: PayoutBookings;
  readonly #leader: PgLeader;

  constructor(connection: PgConnection, deps: PgPayoutStoreDeps) {
    super(connection, deps.clock);
    this.#deps = deps;
    this.#bookings = new PayoutBookings(deps.newId);
    this.#leader = new PgLeader(connection, {
      name: "payer",
      lock: locks.payer,
      about: "payouts",
      notLeader: () =>
        new PoolError(
          { code: "payout/not-leader" },
          "Another process of this pool pays: it holds the lock in the database.",
        ),
    });
  }

  async commitPlan(run: PayoutRun, lines: readonly PayoutLine[], nextAtMs: number | undefined): Promise<boolean> {
    const planned = this.#write(async ({ client, tell }) => {
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
        lines.map((line) => this.#bookings.move(line, "plan", terms, run.createdAtMs, "owed", "paying")),
      );
      if (nextAtMs !== undefined) {
        await client.query("update openpool.payout_control set next_at = $1", [new Date(nextAtMs)]);
      }
      const { id, totalWei, approvalReason } = run;
      const data = { run: id, totalWei, lines: run.lines, waiting: run.waiting.length, approvalReason };
      tell({ type: "payout.planned", data });
      return true;
    });
    return planned.catch((error: unknown) => {
      if (error instanceof PoolError && error.info.code === "ledger/negative-balance") return false;
      throw error;
    });
  }

  approve(run: string, by: string): Promise<boolean> {
    return this.#write(async ({ client, tell }) => {
      const { rowCount } = await client.query(
        "update openpool.payout_runs set state = 'approved', approved_by = $2 where id = $1 and state = 'planned'",
        [run, by],
      );
      if (rowCount !== 1) return false;
      tell({ type: "payout.approved", data: { run, by } });
      return true;
    });
  }

  cancel(run: string, atMs: number): Promise<boolean> {
    return this.#write(async (transaction) => {
      const { client, tell } = transaction;
      const taken = (await this.#cancelWhole(client, run, atMs)) || (await this.#cancelRest(transaction, run, atMs));
      if (taken) tell({ type: "payout.cancelled", data: { run } });
      return taken;
    });
  }

  async #cancelWhole(client: PayoutTransaction["client"], run: string, atMs: number): Promise<boolean> {
    const { rowCount } = await client.query(
      `update openpool.payout_runs set state = 'cancelled', finished_at = $2
       where id = $1 and state in ('planned', 'approved')
         and not exists (select from openpool.payout_intents i where i.run = $1)`,
      [run, new Date(atMs)],
    );
    if (rowCount !== 1) return false;
    await this.#bookings.returnLines(
      client,
      (await plannedOf(client, run)).map(({ id }) => ({ line: id, reason: "the run was cancelled", hold: false })),
      "planned",
      undefined,
      atMs,
    );
    return true;
  }

  /** What is not signed yet of a run that is on its way. */
  async #cancelRest({ client, tell }: PayoutTransaction, run: string, atMs: number): Promise<boolean> {
    const { rowCount } = await client.query(
      "select from openpool.payout_runs where id = $1 and state = 'sending' for update",
      [run],
    );
    const left = rowCount === 1 ? (await plannedOf(client, run)).filter(({ method }) => method !== "safe") : [];
    if (left.length === 0) return false;
    const reason = "the rest of the run was cancelled";
    const returned = left.map(({ id }) => ({ line: id, reason, hold: false }));
    for (const line of await this.#bookings.returnLines(client, returned, "planned", undefined, atMs)) {
      tell(returnedEvent(line));
    }
    await finishRun(client, run, atMs);
    return true;
  }

  openRuns(): Promise<readonly RunDetail[]> {
    return this.#write(async ({ client }) => {
      const { rows } = await client.query<RunRow>(
        `${RUNS} where r.state not in ('done', 'cancelled') order by r.created_at`,
      );
      const ask = async <Row extends object>(sql: string, values: readonly unknown[]): Promise<readonly Row[]> =>
        (await client.query<Row & Record<string, unknown>>(sql, [...values])).rows;
      return Promise.all(rows.map((row) => detailOf(ask, row)));
    });
  }

  commitIntents(run: string, intents: readonly PayoutIntent[]): Promise<boolean> {
    return this.#write(async ({ client, tell }) => {
      const { rows } = await client.query<{ state: string }>(
        "select state from openpool.payout_runs where id = $1 for update",
        [run],
      );
      if (rows[0]?.state !== "approved" && rows[0]?.state !== "sending") return false;
      const { rowCount: stopped } = await client.query(
        "select from openpool.halts union all select from openpool.payout_control where paused is not null limit 1",
      );
      if (stopped !== 0) return false;
      const wanted = intents.flatMap((one) => one.lines);
      const { rowCount: free } = await client.query(
        "select from openpool.payout_lines where run = $1 and id = any ($2) and state = 'planned' and intent is null for update",
        [run, wanted],
      );
      if (free !== wanted.length || new Set(wanted).size !== wanted.length) return false;
      for (const intent of intents) {
        const { id, kind, chainId, payer, nonce, valueWei, data, gasLimit, lines, transactions } = intent;
        await client.query(
          `insert into openpool.payout_intents
             (id, run, kind, chain_id, payer, nonce, to_address, value_wei, data, gas_limit, lines, state)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'signed')`,
          [id, run, kind, chainId, payer, nonce, intent.to, valueWei, data, gasLimit, lines],
        );
        for (const transaction of transactions) await addTransaction(client, id, transaction);
        const hash = transactions[0]?.hash;
        await client.query(
          "update openpool.payout_lines set state = 'signed', intent = $1, tx_hash = $3 where id = any ($2)",
          [id, lines, hash ?? null],
        );
        tell({ type: "payout.signed", data: { run, intent: id, nonce, hash, lines: lines.length, valueWei } });
      }
      await client.query("update openpool.payout_runs set state = 'sending' where id = $1", [run]);
      return true;
    });
  }

  dropLines(run: string, returned: Settlement["returned"], atMs: number): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      for (const line of await this.#bookings.returnLines(client, returned, "planned", undefined, atMs)) {
        tell(returnedEvent(line));
      }
      await finishRun(client, run, atMs);
    });
  }

  addTransaction(intent: string, transaction: SignedTransaction): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      const { rows } = await client.query<{ hash: Hex }>(
        "select hash from openpool.payout_transactions where intent = $1 order by version desc limit 1",
        [intent],
      );
      if (!(await addTransaction(client, intent, transaction))) return;
      tell({ type: "payout.outbid", data: { intent, hash: transaction.hash, replaces: rows[0]?.hash } });
    });
  }

  setIntentState(
    intent: string,
    state: "sent" | "confirmed",
    atMs: number,
    mined?: { readonly hash: Hex; readonly block: number },
  ): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      const { rows } = await client.query<{ state: string; mined_hash: Hex | null }>(
        `select state, mined_hash from openpool.payout_intents
         where id = $1 and state in ('signed', 'sent', 'confirmed') for update`,
        [intent],
      );
      const [before] = rows;
      if (!before) return;
      await client.query(
        "update openpool.payout_intents set state = $2, mined_hash = $3, mined_block = $4 where id = $1",
        [intent, state, mined?.hash ?? null, mined?.block ?? null],
      );
      await client.query(
        `update openpool.payout_lines set state = $2, sent_at = coalesce(sent_at, $3),
           tx_hash = coalesce($4, tx_hash), block = $5 where intent = $1`,
        [intent, state, new Date(atMs), mined?.hash ?? null, mined?.block ?? null],
      );
      if (before.state === "confirmed" && state === "sent") {
        tell({ type: "payout.reorged", data: { intent, hash: before.mined_hash } });
      }
    });
  }

  settle(settlement: Settlement): Promise<void> {
    return this.#write(async (transaction) => void (await this.#bookings.settle(transaction, settlement)));
  }

  markExported(run: string): Promise<boolean> {
    return this.#write(async ({ client }) => {
      const { rowCount } = await client.query(
        "update openpool.payout_runs set state = 'exported' where id = $1 and state = 'approved'",
        [run],
      );
      return rowCount === 1;
    });
  }

  settleExported(
    run: string,
    { paid, returned, hash, atMs, halt }: Parameters<PayoutStore["settleExported"]>[1],
  ): Promise<void> {
    return this.#write(async (transaction) => {
      const { client, tell } = transaction;
      const { rowCount } = await client.query(
        "select from openpool.payout_runs where id = $1 and state = 'exported' for update",
        [run],
      );
      if (rowCount !== 1) return;
      const terms = await termsVersion(client, atMs);
      for (const line of await this.#bookings.payLines(client, paid, hash, undefined, atMs, terms)) {
        tell(paidEvent(line));
      }
      for (const line of await this.#bookings.returnLines(client, returned, "planned", hash, atMs)) {
        tell(returnedEvent(line));
      }
      if (halt) await insertHalt(transaction, halt);
      await finishRun(client, run, atMs);
    });
  }

  giveUp(run: string, reason: string, by: string, atMs: number): Promise<boolean> {
    return this.#write(async ({ client, tell }) => {
      const { rowCount } = await client.query(
        `update openpool.payout_runs set state = 'cancelled', finished_at = $2, given_up_at = $2
         where id = $1 and state = 'exported'`,
        [run, new Date(atMs)],
      );
      if (rowCount !== 1) return false;
      const returned = (await plannedOf(client, run)).map(({ id }) => ({ line: id, reason, hold: false }));
      for (const line of await this.#bookings.returnLines(client, returned, "planned", undefined, atMs)) {
        tell(returnedEvent(line));
      }
      tell({ type: "payout.given-up", data: { run, reason, by } });
      return true;
    });
  }

  giveUpSigned(
    run: string,
    { nonceFloor, reason, by, atMs }: Parameters<PayoutStore["giveUpSigned"]>[1],
  ): Promise<boolean> {
    return this.#write(async (transaction) => {
      const { client, tell } = transaction;
      const { rows } = await client.query<{
        id: string;
        lines: string[];
        chain_id: string;
        payer: WorkerAddress;
        nonce: string;
      }>(
        `select id, lines, chain_id, payer, nonce from openpool.payout_intents
         where run = $1 and state in ('signed', 'sent', 'confirmed') order by nonce for update`,
        [run],
      );
      const last = rows.at(-1);
      if (!last || rows.some(({ nonce }) => Number(nonce) < nonceFloor)) return false;
      const back = (line: string): Settlement["returned"][number] => ({ line, reason, hold: false });
      const planned = (await plannedOf(client, run)).map(({ id }) => back(id));
      for (const line of await this.#bookings.returnLines(client, planned, "planned", undefined, atMs)) {
        tell(returnedEvent(line));
      }
      const lost = { state: "lost", minedHash: undefined, minedBlock: undefined, gasWei: 0n, paid: [], atMs } as const;
      for (const { id, lines } of rows) {
        const settlement = { ...lost, intent: id, returned: lines.map(back) };
        for (const line of await this.#bookings.settle(transaction, settlement)) tell(returnedEvent(line));
      }
      await keepNonces(client, {
        chainId: Number(last.chain_id),
        payer: last.payer,
        nonceFloor,
        nonceGuard: Number(last.nonce) + 1,
      });
      tell({ type: "payout.given-up", data: { run, reason, by } });
      return true;
    });
  }

  paidAfterAll(run: string, halt: Halt): Promise<void> {
    return this.#write(async (transaction) => {
      const { rowCount } = await transaction.client.query(
        "update openpool.payout_runs set paid_after_all_at = $2 where id = $1 and paid_after_all_at is null",
        [run, new Date(halt.atMs)],
      );
      if (rowCount === 1) await insertHalt(transaction, halt);
    });
  }

  halt(halt: Halt): Promise<void> {
    return this.#write((transaction) => insertHalt(transaction, halt));
  }

  pause(reason: string): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      await client.query("update openpool.payout_control set paused = $1", [reason]);
      tell({ type: "payout.paused", data: { reason } });
    });
  }

  resume(found: readonly Findings[], handedOut: readonly string[] = []): ReturnType<PayoutStore["resume"]> {
    return this.#write(async (transaction) => {
      const { client, tell } = transaction;
      const notOwed = [];
      for (const one of found) notOwed.push(...(await this.#bookings.bookFound(transaction, one)));
      await client.query(
        `update openpool.payout_runs set state = 'exported', approved_by = coalesce(approved_by, 'nobody knows: the books were set back')
         where state in ('planned', 'approved') and id = any ($1)`,
        [handedOut],
      );
      await clearHalts(client);
      await client.query("update openpool.payout_control set paused = null");
      tell({ type: "payout.resumed", data: {} });
      return notOwed;
    });
  }

  keepFiat(day: string, { currency, perEth, source, atMs }: FiatPrice): Promise<boolean> {
    return this.#write(async ({ client }) => {
      const { rowCount } = await client.query(
        `insert into openpool.fiat_prices (day, currency, per_eth, source, read_at) values ($1, $2, $3, $4, $5)
         on conflict (day) do nothing`,
        [day, currency, perEth, source, new Date(atMs)],
      );
      return rowCount === 1;
    });
  }

  setNextAt(nextAtMs: number | undefined, schedule: string | undefined): Promise<void> {
    return this.#write(async ({ client }) => {
      await client.query("update openpool.payout_control set next_at = $1, schedule = $2", [
        nextAtMs === undefined ? null : new Date(nextAtMs),
        schedule ?? null,
      ]);
    });
  }

  retry(worker: WorkerAddress): Promise<void> {
    return this.#write(async ({ client }) => {
      await client.query("update openpool.payout_payees set held = null, plain_only = true where worker = $1", [
        worker,
      ]);
    });
  }

  hold(worker: WorkerAddress, reason: string | undefined): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      // Only a ban that is there can be released: it does not change meanwhile, and the next one is another.
      const { rows } = await client.query<{ banned: string | null }>(
        "select banned from openpool.workers where worker = $1 for share",
        [worker],
      );
      await client.query(
        `insert into openpool.payout_payees (worker, stopped, paid_though_banned) values ($1, $2, $3)
         on conflict (worker) do update set stopped = excluded.stopped, paid_though_banned = excluded.paid_though_banned`,
        [worker, reason ?? null, reason === undefined && typeof rows[0]?.banned === "string"],
      );
      if (reason === undefined) tell({ type: "payout.released", worker, data: {} });
      else tell({ type: "payout.held", worker, data: { reason } });
    });
  }

  addPayToChange(change: PayToChange, signature: Hex): Promise<PayToChange | undefined> {
    return this.#write(async ({ client, tell }) => {
      const { rows } = await client.query<ChangeRow & { signature: string }>(
        "select * from openpool.payto_changes where worker = $1 order by nonce desc limit 1 for update",
        [change.worker],
      );
      const [last] = rows;
      if (last && BigInt(last.nonce) === change.nonce && last.signature === signature) return toChange(last);
      if (last && BigInt(last.nonce) >= change.nonce) return undefined;
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
      const { rows: inForce } = await client.query<{ pay_to: WorkerAddress }>(
        "select pay_to from openpool.payto_changes where worker = $1 and state = 'in-force'",
        [change.worker],
      );
      const { effectiveAtMs, worker } = change;
      const paidTo = inForce[0]?.pay_to ?? worker;
      tell({ type: "payto.requested", worker, data: { ...wishedIn(change), effectiveAtMs, paidTo } });
      return change;
    });
  }

  cancelPayToChanges(worker: WorkerAddress): Promise<void> {
    return this.#write(async ({ client, tell }) => {
      const { rowCount } = await client.query(
        "update openpool.payto_changes set state = 'cancelled' where worker = $1 and state = 'waiting'",
        [worker],
      );
      if (rowCount !== 0) tell({ type: "payto.cancelled", worker, data: {} });
    });
  }

  applyPayToChanges(nowMs: number): Promise<void> {
    return this.#write(async ({ client, tell }) => {
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
        tell({ type: "payto.changed", worker: row.worker, data: wishedIn(toChange(row)) });
      }
    });
  }

  /** One transaction of the process that leads; what it tells is appended at its end. */
  #write<T>(work: (transaction: PayoutTransaction) => Promise<T>): Promise<T> {
    const { clock, newId } = this.#deps;
    return this.#leader.transaction(async (client) => {
      const events: TransactionEvent[] = [];
      const result = await work({ client, tell: (event) => void events.push(event) });
      await appendEvents(client, events, clock.now(), newId);
      return result;
    });
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.#leader[Symbol.asyncDispose]();
    await super[Symbol.asyncDispose]();
  }
}

/** Lines of a run of which nothing was signed. */
async function plannedOf(client: PayoutTransaction["client"], run: string): Promise<readonly PayoutLine[]> {
  const { rows } = await client.query<LineRow>(
    "select * from openpool.payout_lines where run = $1 and state = 'planned' order by place for update",
    [run],
  );
  return rows.map(toLine);
}

function wishedIn({
  payTo,
  thresholdWei,
  asset,
  maxGasPriceWei,
  maxGasSharePpm,
}: PayToChange): TransactionEvent["data"] {
  return { payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm };
}
