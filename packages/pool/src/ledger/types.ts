import type { Price } from "@openpool/base";
import type { RigName, WorkerAddress } from "@openpool/protocol";

/** Where a worker's money stands: earned and not payable yet, payable, in a payout that is not final, final on chain. */
export type WorkerAccountState = "held" | "owed" | "paying" | "paid";

/** The account of a worker: `worker:0x…:owed`. */
export function workerAccount(worker: WorkerAddress, state: WorkerAccountState): string {
  return `worker:${worker}:${state}`;
}

/** The accounts of the pool itself. Sources (`source:gateway`, `source:upstream:NAME`) run negative: what came in. */
export const poolAccounts = {
  gateway: "source:gateway",
  commission: "pool:commission",
  gas: "pool:gas",
  reserve: "pool:reserve",
  tickets: "pool:income:tickets",
  otherIncome: "pool:income:other",
  adjustments: "pool:adjustments",
} as const;

/** One signed amount at one account; positive: the account receives. */
export interface Posting {
  readonly account: string;
  readonly amountWei: bigint;
}

/** Postings that sum to zero, and where they come from. Entries are never changed: a correction is another entry. */
export interface NewEntry {
  /** UUIDv7. */
  readonly id: string;
  /** Unique for ever: what it was made from and by which rule, as `<event id>/adjusted`. */
  readonly source: string;
  /** `credit`, `release`, `adjusted`, `plan`, `paid`, `returned`, … */
  readonly rule: string;
  readonly termsVersion: number;
  /** Unix ms. */
  readonly atMs: number;
  readonly postings: readonly Posting[];
  /** JSON for people and statements; bigints as decimal strings. */
  readonly data: Readonly<Record<string, unknown>>;
  /** The id of the entry, or of the job, that this one corrects. */
  readonly corrects?: string | undefined;
}

/** What a worker has, by state. `heldWei + owedWei + payingWei` is what the pool still owes it. */
export interface AccountBalance {
  readonly heldWei: bigint;
  readonly owedWei: bigint;
  readonly payingWei: bigint;
  readonly paidWei: bigint;
}

/** One answered job as the log has it: what a scheme decides from. */
export interface CreditedJob {
  /** Id of the `job.credited` event. */
  readonly event: string;
  readonly job: string;
  readonly atMs: number;
  readonly earner: RigName;
  /** `source:gateway` or `source:upstream:NAME`: the account that the fee comes from. */
  readonly source: string;
  readonly segments: number;
  readonly pixels: bigint;
  readonly durationMs: number;
  readonly price: Price;
  readonly commissionPpm: bigint;
  /** The split that was promised when the job was credited: `commissionWei + earnedWei`. */
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly earnedWei: bigint;
  readonly renditions: readonly { readonly width: number; readonly height: number; readonly frames: number }[];
}

/** What one worker gets of a job. */
export interface Share {
  readonly worker: WorkerAddress;
  /** Zero or more. */
  readonly amountWei: bigint;
}

/**
 * How a scheme divides a job's fee: `commissionWei`, the shares and `reserveWei` (negative where a scheme pays out of the
 * reserve) sum to `feeWei`. A scheme that pays at the end of a period books all zeros now, with a share of zero for the
 * worker, so that the job stands in its statement.
 */
export interface JobShares {
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly shares: readonly Share[];
  readonly reserveWei: bigint;
  /** Kept with every line, as the content hash of a hook. */
  readonly note?: string | undefined;
  /** Why the shares stay held until the operator decides, whatever the hold time. */
  readonly hold?: string | undefined;
}

/** A payout scheme: a pure function of the job and the terms. Order of events and restarts must change nothing. */
export interface Scheme {
  /** As the terms name it. */
  readonly name: string;
  onCredit(job: CreditedJob, terms: import("./terms.ts").WorkerTerms): JobShares;
}
