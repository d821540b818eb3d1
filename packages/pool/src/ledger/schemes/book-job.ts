import { FEE_WORK, heldBy, POOL_WORK, schemeAccounts, workOf } from "./accounts.ts";
import { mergePostings } from "./postings.ts";
import { cutPpm } from "./share-out.ts";
import type { CreditedJob, HookShare, JobBooking, Posting } from "../types.ts";
import type { PayScheme, SegmentScheme } from "./types.ts";

export interface JobContext {
  /** Some worker of the pool shares realised income under the terms in force: then all work is counted for it. */
  readonly sharing: boolean;
  /** What the operator's `share` said of this work. */
  share(hash: string): HookShare;
}

/**
 * How one job is booked under a scheme. Its amounts (`feeWei`, `commissionWei`, `earnedWei`) are given; this only decides
 * where they go.
 */
export function bookJob(scheme: PayScheme, work: CreditedJob, context: JobContext): JobBooking {
  const paidByFee = context.sharing ? countedAsPaid(work.feeWei) : [];
  switch (scheme.kind) {
    case "unit":
      return booking("unit", [...unitPostings(work, work.commissionWei, work.earnedWei), ...paidByFee]);
    case "segment":
      return booking("segment", [...fixedPostings(scheme, work), ...paidByFee]);
    case "proportional":
      return booking("proportional", workPostings(work, work.commissionWei, work.earnedWei));
    case "blend": {
      const commission = cutPpm(work.commissionWei, scheme.lambdaPpm);
      const earned = cutPpm(work.earnedWei, scheme.lambdaPpm);
      return booking("blend", [
        ...unitPostings(work, commission.partWei, earned.partWei),
        ...workPostings(work, commission.restWei, earned.restWei),
        ...(context.sharing ? countedAsPaid(commission.partWei + earned.partWei) : []),
      ]);
    }
    case "hook": {
      const share = context.share(scheme.hash);
      const { rule, postings, data } = bookHookShare(work, share);
      return booking(rule, [...postings, ...paidByFee], data);
    }
  }
}

/** The fixed amount that a job earns: `amount × segments`, or `⌊amount × ms × renditions / 1000⌋`. */
export function fixedAmountWei({ per, amountWei }: SegmentScheme, work: CreditedJob): bigint {
  if (per === "segment") return amountWei * BigInt(work.segments);
  return (amountWei * BigInt(Math.round(work.durationMs)) * BigInt(work.renditions.length)) / 1000n;
}

function fixedPostings(scheme: SegmentScheme, work: CreditedJob): Posting[] {
  const amountWei = fixedAmountWei(scheme, work);
  return [
    { account: work.source, amountWei: -work.feeWei },
    { account: schemeAccounts.commission, amountWei: work.commissionWei },
    // May go below zero: a fixed amount was promised, and the pot is how the operator sees what the promise costs.
    { account: schemeAccounts.segmentPot, amountWei: work.earnedWei - amountWei },
    { account: heldBy(work.worker), amountWei },
  ];
}

/** How a job is booked whose hook answered, or failed: then its whole fee waits for the operator. */
function bookHookShare(work: CreditedJob, share: HookShare): JobBooking {
  const taken = { account: work.source, amountWei: -work.feeWei };
  if (share.kind === "failed") {
    const waits = { account: schemeAccounts.heldByHook, amountWei: work.feeWei };
    return booking("hook-held", [taken, waits], { hook: share.hash, why: share.why });
  }
  return booking("hook", [taken, ...hookLines(share)], noteOf(share));
}

/** A job that waited because its hook failed, shared by a working one after all. */
export function bookHeldShare(work: CreditedJob, share: HookShare & { readonly kind: "shared" }): JobBooking {
  const taken = { account: schemeAccounts.heldByHook, amountWei: -work.feeWei };
  return booking("hook-released", [taken, ...hookLines(share)], { job: work.job, ...noteOf(share) });
}

/** A job that waited because its hook failed, split by its own fee after all. */
export function bookHeldByFee(work: CreditedJob): JobBooking {
  return booking(
    "hook-released",
    unitPostings({ ...work, source: schemeAccounts.heldByHook }, work.commissionWei, work.earnedWei),
    { job: work.job },
  );
}

function hookLines(share: HookShare & { readonly kind: "shared" }): Posting[] {
  return share.lines.map(({ to, wei }) => ({
    account: to === "pool" ? schemeAccounts.commission : heldBy(to),
    amountWei: wei,
  }));
}

function noteOf({ hash, note }: HookShare & { readonly kind: "shared" }): Record<string, string> {
  return { hook: hash, ...(note === undefined ? {} : { note }) };
}

function unitPostings(
  work: Pick<CreditedJob, "source" | "worker">,
  commissionWei: bigint,
  earnedWei: bigint,
): Posting[] {
  return [
    { account: work.source, amountWei: -(commissionWei + earnedWei) },
    { account: schemeAccounts.commission, amountWei: commissionWei },
    { account: heldBy(work.worker), amountWei: earnedWei },
  ];
}

function workPostings(work: CreditedJob, commissionWei: bigint, earnedWei: bigint): Posting[] {
  return [
    { account: POOL_WORK, amountWei: commissionWei },
    { account: workOf(work.worker), amountWei: earnedWei },
    { account: schemeAccounts.work, amountWei: -(commissionWei + earnedWei) },
  ];
}

/** Work that has its pay already counts too: or those who wait would share what was earned by others. */
function countedAsPaid(feeWei: bigint): Posting[] {
  return [
    { account: FEE_WORK, amountWei: feeWei },
    { account: schemeAccounts.work, amountWei: -feeWei },
  ];
}

function booking(rule: string, postings: readonly Posting[], data: Readonly<Record<string, unknown>> = {}): JobBooking {
  return { rule, postings: mergePostings(postings), data };
}
