import type { Price } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { WorkerTerms } from "./terms.ts";

/** Where a worker's money stands: earned and not payable yet, payable, in a payout that is not final, final on chain. */
export type WorkerAccountState = "held" | "owed" | "paying" | "paid";

/** The account of a worker: `worker:0x…:owed`. */
export function workerAccount(worker: WorkerAddress, state: WorkerAccountState): string {
  return `worker:${worker}:${state}`;
}

const HELD = /^worker:(0x[0-9a-fA-F]{40}):held$/;

/** The worker whose `held` account this is; undefined for every other account. */
export function holderOf(account: string): WorkerAddress | undefined {
  // What looks so was written by `workerAccount`.
  return HELD.exec(account)?.[1] as WorkerAddress | undefined;
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
  readonly worker: WorkerAddress;
  readonly rig: string;
  /** The account that the fee comes from: `source:gateway` or `source:upstream:NAME`. */
  readonly source: string;
  readonly segments: number;
  readonly pixels: bigint;
  /** Of the source. */
  readonly durationMs: number;
  readonly price: Price;
  readonly commissionPpm: bigint;
  /** The split that the job was credited with: `commissionWei + earnedWei`. */
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly earnedWei: bigint;
  readonly renditions: readonly { readonly width: number; readonly height: number; readonly frames: number }[];
}

/** Where the money of one job goes. */
export interface JobBooking {
  /** `unit`, or what else the scheme calls it. */
  readonly rule: string;
  /** They sum to zero. What a worker gets goes to its `held` account; nothing is taken from one. */
  readonly postings: readonly Posting[];
  /** Kept with the job's row of the statement: JSON, bigints as decimal strings. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** What a hook made of a job: exact lines, or why there are none. */
export type HookShare =
  | {
      readonly kind: "shared";
      readonly hash: string;
      /** They sum to the job's fee; `pool` is the commission. */
      readonly lines: readonly { readonly to: WorkerAddress | "pool"; readonly wei: bigint }[];
      /** What the hook wants to be remembered of the job. */
      readonly note?: string | undefined;
    }
  | { readonly kind: "failed"; readonly hash: string; readonly why: string };

/** What hooks said of one job. A fact, kept with its booking: asked again, a slow hook could say something else. */
export interface HookVerdict {
  readonly share?: HookShare | undefined;
  readonly note?: string | undefined;
}

/** By the id of the credit's event. */
export type HookVerdicts = ReadonlyMap<string, HookVerdict>;

export interface JobUnderTerms {
  readonly job: CreditedJob;
  readonly terms: WorkerTerms;
}

/** The operator's functions, as far as books need them. */
export interface BookingHooks {
  /** Some terms name a hook. */
  inUse(): boolean;
  /** Whether a hook shares this job, or only notes something about it, or is not asked. */
  wants(job: CreditedJob, terms: WorkerTerms): "share" | "note" | undefined;
  /** Asks them, once a job: afterwards what they said is read. */
  ask(jobs: readonly JobUnderTerms[]): Promise<HookVerdicts>;
}

/**
 * A payout scheme at work: a function of the job, the terms and what hooks said alone, because the books are rebuilt with
 * it. Order of events and restarts change nothing.
 */
export interface BookJob {
  (job: CreditedJob, terms: WorkerTerms, verdict?: HookVerdict): JobBooking;
  readonly hooks?: BookingHooks;
}
