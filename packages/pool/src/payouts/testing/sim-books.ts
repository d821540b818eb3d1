import type { WorkerAddress } from "@openpool/protocol";
import type { PayoutStore } from "../ports.ts";
import type { RunDetail } from "../types.ts";
import { type MemoryBalance, MemoryPayoutStore } from "./memory-store.ts";

/** Memory and books of simulated payouts: the double, or a real database. They survive every crash. */
export interface SimBooks extends AsyncDisposable {
  /** Only who was connected last may write, because of a lock of the books' own. */
  readonly hasLock: boolean;
  /** To look, whoever leads. */
  readonly look: Pick<PayoutStore, "control" | "runs" | "run" | "payees">;
  /** What one process of the pool writes to. */
  connect(): PayoutStore;
  /** That process is gone. */
  disconnect(store: PayoutStore): Promise<void>;
  credit(worker: WorkerAddress, wei: bigint): Promise<void>;
  balances(workers: readonly WorkerAddress[]): Promise<ReadonlyMap<WorkerAddress, Readonly<MemoryBalance>>>;
  /** All that was ever credited to a worker, as these books know. */
  creditedWei(worker: WorkerAddress): bigint;
  /** Looks for what only these books could have wrong. */
  check(): Promise<void>;
}

/** Of who was never credited. */
export const noBalance: Readonly<MemoryBalance> = { owedWei: 0n, payingWei: 0n, paidWei: 0n };

/** What is not done yet. */
export async function openRun({ look }: SimBooks): Promise<RunDetail | undefined> {
  const open = (await look.runs(2)).find(({ state }) => state !== "done" && state !== "cancelled");
  return open && look.run(open.id);
}

/** Books in memory, that can be set back. */
export class MemoryBooks implements SimBooks {
  readonly hasLock = false;
  store = new MemoryPayoutStore();

  get look(): PayoutStore {
    return this.store;
  }

  connect(): PayoutStore {
    return this.store;
  }

  async disconnect(): Promise<void> {}

  async credit(worker: WorkerAddress, wei: bigint): Promise<void> {
    this.store.credit(worker, wei);
  }

  async balances(): Promise<ReadonlyMap<WorkerAddress, Readonly<MemoryBalance>>> {
    return this.store.books;
  }

  creditedWei(worker: WorkerAddress): bigint {
    return this.store.creditedWei(worker);
  }

  /** Their sums are looked at everywhere. */
  async check(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
