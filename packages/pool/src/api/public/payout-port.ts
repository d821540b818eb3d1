import type { Asset, PayoutLine, PayoutRun, Reason, WorkerAddress } from "@openpool/protocol";

export interface PayoutsStopped {
  readonly kind: "paused" | "halted";
  /** For everybody. */
  readonly why: Reason;
  /** What the operator said; only of a pause. */
  readonly reason: string;
  readonly sinceMs: number | undefined;
}

/** Payouts as public pages show them; whoever pays implements it. Lists are newest first. */
export interface PayoutsView {
  /** Undefined: by hand only. */
  nextAtMs(): Promise<number | undefined>;
  /** Why no payout is made at the moment; undefined when all is well. */
  stopped(): Promise<PayoutsStopped | undefined>;
  readonly explorer: string | undefined;
  readonly payer: WorkerAddress | undefined;
  readonly asset: Asset;
  /** From how much on this worker is paid. */
  minimumWei(worker: WorkerAddress): Promise<bigint>;
  /** Where its money goes if it chose so by its own signature. */
  payTo(worker: WorkerAddress): Promise<WorkerAddress | undefined>;
  /** Who would be paid if it were now. */
  due(): Promise<{ readonly workers: number; readonly totalWei: bigint }>;
  /** Why the last payout left this worker out, for everybody, unless it was owed too little; undefined: it did not. */
  waits(worker: WorkerAddress): Promise<Reason | undefined>;
  runs(limit: number, before: string | undefined): Promise<readonly PayoutRun[]>;
  run(id: string): Promise<PayoutRun | undefined>;
  /** In their order. */
  linesOfRun(run: string, limit: number, after: string | undefined): Promise<readonly PayoutLine[]>;
  linesOf(worker: WorkerAddress, limit: number, before: string | undefined): Promise<readonly PayoutLine[]>;
  /** Final ones. */
  paid(worker: WorkerAddress): Promise<{ readonly count: number; readonly paidWei: bigint }>;
}
