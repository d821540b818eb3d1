import type { Clock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { PgLedgerStore } from "../../store/ledger-store.ts";
import { PgPayoutStore } from "../../store/payout-store.ts";
import { type Debts, openDebts } from "../../store/testing/debts.ts";
import { newJob } from "../../store/testing/sample-credit.ts";
import type { TestDatabase } from "../../store/testing/test-store.ts";
import type { PayoutStore } from "../ports.ts";
import type { MemoryBalance } from "./memory-store.ts";
import { noBalance, type SimBooks } from "./sim-books.ts";

/** The real books, for simulated payouts: real transactions, and the real lock of who pays. */
export class PostgresBooks implements SimBooks {
  readonly hasLock = true;
  readonly look: PgPayoutStore;
  readonly #database: TestDatabase;
  readonly #clock: Clock;
  readonly #ledger: PgLedgerStore;
  readonly #debts: Debts;
  readonly #credited = new Map<WorkerAddress, bigint>();
  readonly #connected = new Set<PgPayoutStore>();

  private constructor(database: TestDatabase, clock: Clock, debts: Debts) {
    this.#database = database;
    this.#clock = clock;
    this.#debts = debts;
    this.look = this.#open();
    this.#ledger = new PgLedgerStore(database.connection, { clock });
  }

  static async open(database: TestDatabase, clock: Clock): Promise<PostgresBooks> {
    return new PostgresBooks(database, clock, await openDebts(database.connection));
  }

  #open(): PgPayoutStore {
    return new PgPayoutStore(this.#database.connection, { clock: this.#clock, newId: newJob });
  }

  connect(): PayoutStore {
    const store = this.#open();
    this.#connected.add(store);
    return store;
  }

  async disconnect(store: PayoutStore): Promise<void> {
    for (const one of this.#connected) {
      if (one !== store) continue;
      this.#connected.delete(one);
      await one[Symbol.asyncDispose]();
    }
  }

  async credit(worker: WorkerAddress, wei: bigint): Promise<void> {
    await this.#debts.owe(worker, wei);
    this.#credited.set(worker, this.creditedWei(worker) + wei);
  }

  async balances(workers: readonly WorkerAddress[]): Promise<ReadonlyMap<WorkerAddress, Readonly<MemoryBalance>>> {
    const found = await Promise.all(workers.map((worker) => this.#ledger.balance(worker)));
    return new Map(workers.map((worker, i) => [worker, found[i] ?? noBalance]));
  }

  creditedWei(worker: WorkerAddress): bigint {
    return this.#credited.get(worker) ?? 0n;
  }

  /** Sums that are not zero, and what the event log says twice or not at all. */
  async check(): Promise<void> {
    const wrong = await this.#database.query<{ what: string }>(
      `select 'the postings of ' || entry || ' sum to ' || sum(amount_wei) as what
         from openpool.ledger_postings group by entry having sum(amount_wei) <> 0
       union all
       select 'all accounts sum to ' || sum(balance_wei) from openpool.ledger_accounts having sum(balance_wei) <> 0
       union all
       select 'line ' || l.id || ' is ' || l.state || ' and was told to be paid ' || count(e.id) || ' times'
         from openpool.payout_lines l
           left join openpool.events e on e.type = 'payout.paid' and e.data->>'line' = l.id::text
         group by l.id, l.state having count(e.id) <> (case l.state when 'final' then 1 else 0 end)`,
    );
    if (wrong.length > 0) throw new Error(wrong.map(({ what }) => what).join("; "));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of [...this.#connected, this.look]) await store[Symbol.asyncDispose]();
    await this.#ledger[Symbol.asyncDispose]();
    await this.#debts[Symbol.asyncDispose]();
  }
}
