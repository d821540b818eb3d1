import { formatEth } from "@openpool/base";
import type { FeeCut } from "./types.ts";

/** Nobody could find it out yet: not the same as nothing. */
type Unknown = "unknown";

/** What solvency is worked out from. All wei; times in unix ms. */
export interface SolvencyFacts {
  readonly books: {
    readonly feesWei: bigint;
    readonly commissionWei: bigint;
    readonly heldWei: bigint;
    readonly owedWei: bigint;
    readonly payingWei: bigint;
    readonly paidWei: bigint;
    /** What fixed amounts and bonuses are paid from; below zero the operator adds to it. */
    readonly potsWei: bigint;
    /** Fees of jobs that wait because their hook failed. */
    readonly unsharedWei: bigint;
  };
  /** Days that `recent` is about; fewer where the pool is younger. */
  readonly days: number;
  readonly recent: {
    /** What gateways owe for the work: its expected income. */
    readonly feesWei: bigint;
    /** What workers earned of it, or will by the terms. */
    readonly earnedWei: bigint;
  };
  /** What was received; undefined where the pool is not told how to look. */
  readonly income:
    | {
        readonly receivedWei: bigint;
        readonly recentRedeemedWei: bigint;
        readonly recentKeptWei: bigint;
        readonly withdrawnWei: bigint;
        /** Of winning tickets: what they promised, and what of it was not paid. */
        readonly recentFaceWei: bigint;
        readonly recentUnpaidWei: bigint;
        /** The largest winning ticket of late. */
        readonly largestWei: bigint;
      }
    | undefined;
  /** What is there on chain; undefined where the pool is not told how to look. */
  readonly chain:
    | {
        readonly feeSharePpm: bigint;
        readonly ownStake: bigint;
        readonly totalStake: bigint;
        readonly withdrawableWei: bigint;
        readonly walletWei: bigint;
      }
    | Unknown
    | undefined;
  /**
   * What payouts are made from, with what left it that the books do not count as paid yet; of the orchestrator's own wallet only
   * the latter, for `chain` has the rest. Undefined: there is no such account.
   */
  readonly payoutBalanceWei: bigint | Unknown | undefined;
  /** Gas spent in the recent days. */
  readonly recentGasWei: bigint;
  /** The largest share of a fee that the terms promise to a worker, where they promise one. */
  readonly promisedPpm: bigint | undefined;
}

export type SolvencyWarning =
  | "promise-over-share"
  | "reserve-negative"
  | "reserve-thin"
  | "bad-luck"
  | "tickets-unpaid"
  | "pot-empty"
  | "hook-holds";

export interface Solvency {
  readonly creditedWei: bigint;
  /** Held, owed and in payouts: all that workers still have to get. */
  readonly debtWei: bigint;
  /** Received of what was expected in the recent days; undefined when nothing was expected or nobody looks. */
  readonly luckPpm: bigint | undefined;
  /** What there is, less all debts; undefined where nobody knows what there is. */
  readonly reserveWei: bigint | undefined;
  /** Days of recent earnings that the reserve covers without a single win. */
  readonly reserveDays: number | undefined;
  /** Of each redeemed wei, what reaches the operator. */
  readonly keptPpm: bigint | undefined;
  /** The largest share of a fee that workers can be promised at today's cuts, gas and unpaid tickets. */
  readonly maxSharePpm: bigint | undefined;
  readonly promisedPpm: bigint | undefined;
  /** A reserve that runs dry once in a hundred lives; undefined where no reserve is large enough, or nobody can say. */
  readonly wantedReserveWei: bigint | undefined;
  readonly warnings: readonly { readonly code: SolvencyWarning; readonly text: string }[];
}

/** With what it follows from. */
export interface SolvencyReport extends Solvency {
  readonly facts: SolvencyFacts;
  /** Why the chain's part is missing or old. */
  readonly incomeProblem: string | undefined;
}

const PPM = 1_000_000n;
/** Fewer days than this are worth a word. */
const THIN_DAYS = 3;
/** Luck below this, over the recent days, is worth a word: less than half. */
const BAD_LUCK_PPM = 500_000n;
/** ln(100) / 2, in parts per million: the reserve against ruin in one of a hundred. */
const RUIN_PPM = 2_302_585n;

/** Can the pool pay what it promised? Exact integers, but for days. */
export function solvencyOf(facts: SolvencyFacts): Solvency {
  const { books, recent, income, days } = facts;
  const chain = ifKnown(facts.chain);
  const debtWei = books.heldWei + books.owedWei + books.payingWei;
  const luckPpm = income && recent.feesWei > 0n ? (income.recentRedeemedWei * PPM) / recent.feesWei : undefined;
  const assetsWei = assetsOf(facts);
  const reserveWei = assetsWei === undefined ? undefined : assetsWei - debtWei;
  const reserveDays =
    reserveWei === undefined || recent.earnedWei === 0n || days <= 0
      ? undefined
      : // A ratio for people; scaled first, so that it does not overflow.
        Number(((reserveWei < 0n ? 0n : reserveWei) * 1_000n * BigInt(Math.ceil(days))) / recent.earnedWei) / 1_000;
  const keptPpm = chain && keptShare(chain);
  const maxSharePpm = keptPpm === undefined ? undefined : maxShare(keptPpm, facts);
  const promisedPpm = facts.promisedPpm;
  const marginPpm = maxSharePpm === undefined || promisedPpm === undefined ? undefined : maxSharePpm - promisedPpm;
  const wantedReserveWei =
    income && marginPpm !== undefined && marginPpm > 0n && income.largestWei > 0n
      ? (income.largestWei * RUIN_PPM) / marginPpm
      : undefined;
  const known = {
    creditedWei: debtWei + books.paidWei,
    debtWei,
    luckPpm,
    reserveWei,
    reserveDays,
    keptPpm,
    maxSharePpm,
    promisedPpm,
    wantedReserveWei,
  };
  return { ...known, warnings: warningsOf(known, facts) };
}

/** What is known of a fact; undefined where it is not, or there is none. */
export function ifKnown<Fact>(fact: Fact | Unknown): Fact | undefined {
  return fact === "unknown" ? undefined : fact;
}

/** What there is; undefined where there is nothing to look at, or a part of it is not known: the rest would pass for all. */
function assetsOf({ chain, payoutBalanceWei: payer }: SolvencyFacts): bigint | undefined {
  if (chain === "unknown" || payer === "unknown") return undefined;
  if (chain === undefined) return payer;
  return chain.withdrawableWei + chain.walletWei + (payer ?? 0n);
}

/** `k = (1 − s) + s × own stake / all stake`. */
function keptShare({ feeSharePpm, ownStake, totalStake }: Omit<FeeCut, "from">): bigint {
  const own = ownStake > totalStake ? totalStake : ownStake;
  return PPM - feeSharePpm + (totalStake > 0n ? (feeSharePpm * own) / totalStake : 0n);
}

/** `k × (1 − h) − g`: what is kept, less what winning tickets did not pay, less gas; never below zero. */
function maxShare(keptPpm: bigint, { income, recent, recentGasWei }: SolvencyFacts): bigint {
  const lostPpm = income && income.recentFaceWei > 0n ? (income.recentUnpaidWei * PPM) / income.recentFaceWei : 0n;
  const gasPpm = recent.feesWei > 0n ? (recentGasWei * PPM + recent.feesWei - 1n) / recent.feesWei : 0n;
  const share = (keptPpm * (PPM - lostPpm)) / PPM - gasPpm;
  return share > 0n ? share : 0n;
}

function warningsOf(
  { maxSharePpm, promisedPpm, reserveWei, reserveDays, luckPpm, wantedReserveWei }: Omit<Solvency, "warnings">,
  { books, income, recent }: SolvencyFacts,
): Solvency["warnings"] {
  const warnings: { readonly code: SolvencyWarning; readonly text: string }[] = [];
  const warn = (code: SolvencyWarning, text: string): void => void warnings.push({ code, text });
  if (maxSharePpm !== undefined && promisedPpm !== undefined && promisedPpm >= maxSharePpm) {
    warn(
      "promise-over-share",
      `Workers are promised ${percent(promisedPpm)} of each fee and at most ${percent(maxSharePpm)} of it reaches the operator: no reserve lasts. Raise the commission or lower the fee share of delegators.`,
    );
  }
  if (reserveWei !== undefined && reserveWei < 0n) {
    warn("reserve-negative", `What is there is ${formatEth(-reserveWei)} ETH less than what workers have to get.`);
  } else if (reserveDays !== undefined && reserveDays < THIN_DAYS) {
    warn("reserve-thin", `Without a win the reserve lasts ${reserveDays.toFixed(1)} days.`);
  }
  if (wantedReserveWei !== undefined && reserveWei !== undefined && reserveWei >= 0n && reserveWei < wantedReserveWei) {
    warn(
      "reserve-thin",
      `At this margin and ticket size a reserve of ${formatEth(wantedReserveWei)} ETH runs dry once in a hundred; there are ${formatEth(reserveWei)} ETH.`,
    );
  }
  // With a handful of wins luck says nothing yet.
  const enough = income !== undefined && income.largestWei > 0n && recent.feesWei >= income.largestWei * 25n;
  if (luckPpm !== undefined && luckPpm < BAD_LUCK_PPM && enough) {
    warn(
      "bad-luck",
      `Only ${percent(luckPpm)} of what was expected came in, over enough tickets that this is no chance: look for tickets that are not redeemed.`,
    );
  }
  if (income && income.recentUnpaidWei > 0n) {
    warn(
      "tickets-unpaid",
      `Winning tickets worth ${formatEth(income.recentUnpaidWei)} ETH were not paid: gateways ran out of funds.`,
    );
  }
  if (books.potsWei < 0n) {
    warn(
      "pot-empty",
      `Fixed amounts and bonuses have cost ${formatEth(-books.potsWei)} ETH more than their pots held.`,
    );
  }
  if (books.unsharedWei > 0n) {
    warn(
      "hook-holds",
      `Fees of ${formatEth(books.unsharedWei)} ETH wait because their hook failed: see \`openpool hooks held\`.`,
    );
  }
  return warnings;
}

function percent(ppm: bigint): string {
  return `${Number(ppm) / 10_000} %`;
}
