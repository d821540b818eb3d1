import { type Clock, errorCode, errorText, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { Client, Pool, type QueryResultRow } from "pg";
import type { Control, Findings, Payable, PayeeRecord, PayoutStore, Settlement } from "../payouts/ports.ts";
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
import {
  addTransaction,
  clearHalts,
  finishRun,
  insertHalt,
  insertRun,
  PayoutBookings,
  termsVersion,
} from "./payout-bookings.ts";
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
import { locks } from "./locks.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";

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
  readonly #bookings: PayoutBookings;
  readonly #readers: Pool;
  #leader: Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(connection: PgConnection, deps: PgPayoutStoreDeps) {
    this.#connection = connection;
    this.#bookings = new PayoutBookings(deps.newId);
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
    const rows = await this.#read<
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
        lines.map((line) => this.#bookings.move(line, "plan", terms, run.createdAtMs, "owed", "paying")),
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
      const entries = rows.map((row) => this.#bookings.move(toLine(row), "returned", terms, atMs, "paying", "owed"));
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
      await this.#bookings.returnLines(client, returned, "planned", undefined, atMs);
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
    return this.#write((client) => this.#bookings.settle(client, settlement));
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
      await this.#bookings.payLines(client, paid, hash, undefined, atMs, await termsVersion(client, atMs));
      await this.#bookings.returnLines(client, returned, "planned", hash, atMs);
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
    return this.#write((client) => this.#bookings.bookFound(client, found));
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

  hold(worker: WorkerAddress, reason: string | undefined): Promise<void> {
    return this.#write(async (client) => {
      await client.query(
        `insert into openpool.payout_payees (worker, stopped, paid_though_banned) values ($1, $2, $2::text is null)
         on conflict (worker) do update set stopped = excluded.stopped, paid_though_banned = excluded.paid_though_banned`,
        [worker, reason ?? null],
      );
    });
  }

  async untold(sinceMs: number): Promise<readonly PayoutLine[]> {
    // What a resume found, and what was cancelled, is told of in other words.
    const rows = await this.#read<LineRow>(
      `${LINES} where l.finished_at > $1
         and (l.state = 'failed' or (l.tx_hash is not null and (l.intent is not null or l.method = 'safe')))
         and l.state in ('final', 'failed', 'returned')
         and l.id::text not in (
           select e.data->>'line' from openpool.events e
           where e.type in ('payout.paid', 'payout.returned') and e.time > $1 and e.data->>'line' is not null)
       order by l.finished_at, l.id`,
      [new Date(sinceMs)],
    );
    return rows.map(toLine);
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
      const { rows } = await client.query<{ won: boolean }>("select pg_try_advisory_lock($1) as won", [locks.payer]);
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

function failed(cause: unknown): PoolError {
  const code = errorCode(cause);
  return new PoolError(
    { code: code?.startsWith("23") ? "store/conflict" : "store/unavailable" },
    `The database did not answer the payouts: ${errorText(cause)}.`,
    { cause },
  );
}
