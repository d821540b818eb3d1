import type { WorkerAddress } from "@openpool/protocol";
import { poolAccounts, workerAccount } from "../types.ts";

/** Ledger places that schemes move money between, besides those that every pool has. */
export const schemeAccounts = {
  commission: poolAccounts.commission,
  /** Realised income that is the operator's: it backs what workers were credited by fee. */
  tickets: poolAccounts.tickets,
  other: poolAccounts.otherIncome,
  /** Realised income that waits to be shared at the end of its period. */
  shared: "pool:income:shared",
  /** What delegators take of each redeemed ticket. */
  delegators: "pool:delegators",
  /** What fixed amounts are paid from: the fees of their jobs go in. Below zero: the operator adds to it. */
  segmentPot: "pool:pot:segment",
  uptimePot: "pool:pot:uptime",
  /** Fees of jobs whose hook failed: nobody's yet. */
  heldByHook: "pool:unshared",
  /** The counterpart of `work:*`: what that work is worth by its own fees. */
  work: "pool:work",
  /** Where income comes from: a chain, or what the operator says. */
  fromChain: "source:chain",
  fromOperator: "source:operator",
} as const;

export function heldBy(worker: WorkerAddress): string {
  return workerAccount(worker, "held");
}

const WORK = "work:";
/** The pool's commission takes part in sharing as a worker does: with the rate of each job. */
export const POOL_WORK = `${WORK}pool`;
/** Work that was paid by its own fee: its share of the income is the operator's, who paid for it. */
export const FEE_WORK = `${WORK}by-fee`;

/** Work that waits for the end of its period, in wei of its worth by fee. */
export function workOf(worker: WorkerAddress): string {
  return `${WORK}${worker}`;
}

/** Where the share of an account that counts work goes; undefined for every other account. */
export function payeeOfWork(account: string): string | undefined {
  if (account === POOL_WORK) return schemeAccounts.commission;
  if (account === FEE_WORK) return schemeAccounts.tickets;
  // What else begins so was written by `workOf`.
  return account.startsWith(WORK) ? heldBy(account.slice(WORK.length) as WorkerAddress) : undefined;
}
