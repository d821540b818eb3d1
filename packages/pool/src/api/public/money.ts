import type { Balance, NotConfigured, Reason, WorkerAddress, WorkerNextPayout } from "@openpool/protocol";
import { termsFor } from "../../ledger/terms.ts";
import type { AccountBalance } from "../../ledger/types.ts";
import { asFact, inField, reasonOf } from "./amounts.ts";
import type { Context } from "./context.ts";
import { STEP_MS, time, timeOrNull } from "./sums.ts";
import { currentTerms } from "./terms.ts";

const noPayouts = reasonOf("no-payouts", {});
export const NO_PAYOUTS: NotConfigured = { configured: false, ...inField("why", noPayouts) };
/** The same where it is a reason, and not an answer of its own. */
export const PAYOUTS_NOT_CONFIGURED = asFact("why", noPayouts);

/** All that pages say about one worker's money. */
export interface WorkerMoney {
  readonly payTo: WorkerAddress;
  readonly balance: Balance | null;
  readonly nextPayout: NotConfigured | WorkerNextPayout;
  readonly unpaid: Reason[];
}

export async function moneyOf(context: Context, worker: WorkerAddress): Promise<WorkerMoney> {
  const { port, clock } = context;
  const { payouts, books } = port;
  const nowMs = clock.now();
  const payTo = (await payouts?.payTo(worker)) ?? worker;
  const accounts = await books?.balance(worker);
  const terms = termsFor(currentTerms(port.terms(), nowMs), worker);
  if (accounts === undefined) {
    return { payTo, balance: null, nextPayout: NO_PAYOUTS, unpaid: [] };
  }
  const oldestHeldMs = accounts.heldWei > 0n ? await books?.nextReleaseMs?.(worker) : undefined;
  const unpaidWei = accounts.heldWei + accounts.owedWei + accounts.payingWei;
  const balance: Balance = {
    ...context.age(nowMs),
    earnedWei: (unpaidWei + accounts.paidWei).toString(),
    heldWei: accounts.heldWei.toString(),
    owedWei: accounts.owedWei.toString(),
    payingWei: accounts.payingWei.toString(),
    paidWei: accounts.paidWei.toString(),
    unpaidWei: unpaidWei.toString(),
    oldestHeldReleaseAt: timeOrNull(oldestHeldMs),
  };
  if (!payouts) {
    return { payTo, balance, nextPayout: NO_PAYOUTS, unpaid: unpaidReasons({ accounts, nowMs, oldestHeldMs }) };
  }
  const [nextAtMs, stopped, minimumWei, waits] = await Promise.all([
    payouts.nextAtMs(),
    payouts.stopped(),
    payouts.minimumWei(worker),
    accounts.owedWei > 0n ? payouts.waits(worker) : undefined,
  ]);
  // Sums of work say what of the holds is over only where work is credited by its fee.
  const foreseeable = nextAtMs !== undefined && terms.scheme === "unit";
  const estimateWei =
    accounts.owedWei +
    (!foreseeable ? 0n : await releasedBy(context, worker, accounts.heldWei, nextAtMs - terms.holdMs, nowMs));
  const payout = { nextAtMs, stopped: stopped?.why, minimumWei, waits };
  return {
    payTo,
    balance,
    nextPayout: {
      configured: true,
      at: stopped ? null : timeOrNull(nextAtMs),
      ...inField("paused", stopped?.why ?? null),
      minimumWei: minimumWei.toString(),
      progressPpm: progressOf(accounts.owedWei, minimumWei),
      estimateWei: (estimateWei >= minimumWei ? estimateWei : 0n).toString(),
    },
    unpaid: unpaidReasons({ accounts, nowMs, oldestHeldMs, payout }),
  };
}

function progressOf(owedWei: bigint, minimumWei: bigint): number {
  if (minimumWei === 0n) return 1_000_000;
  const ppm = (owedWei * 1_000_000n) / minimumWei;
  return Number(ppm > 1_000_000_000n ? 1_000_000_000n : ppm);
}

/** How much of what is held now was earned before `untilMs`, and so is released by the next payout. */
async function releasedBy(
  context: Context,
  worker: WorkerAddress,
  heldWei: bigint,
  untilMs: number,
  nowMs: number,
): Promise<bigint> {
  if (heldWei === 0n || untilMs >= nowMs) return heldWei;
  const step = nowMs - untilMs < 47 * STEP_MS.hour ? "minute" : "hour";
  const [later] = await context.port.rollups.sums({ worker }, [{ step, fromMs: untilMs }]);
  const rest = heldWei - (later?.earnedWei ?? 0n);
  return rest > 0n ? rest : 0n;
}

/** Why money is not there yet, most important first. */
function unpaidReasons(facts: {
  readonly accounts: AccountBalance;
  readonly nowMs: number;
  readonly oldestHeldMs: number | undefined;
  readonly payout?: {
    readonly nextAtMs: number | undefined;
    readonly stopped: Reason | undefined;
    readonly minimumWei: bigint;
    readonly waits: Reason | undefined;
  };
}): Reason[] {
  const { accounts, payout, nowMs, oldestHeldMs } = facts;
  const { owedWei, heldWei, payingWei } = accounts;
  const reasons: Reason[] = [];
  if (payingWei > 0n) reasons.push(reasonOf("payout-under-way", { payingWei }));
  if (owedWei > 0n) {
    if (!payout) {
      reasons.push(reasonOf("payouts-not-configured", PAYOUTS_NOT_CONFIGURED));
    } else if (payout.stopped !== undefined) {
      reasons.push(reasonOf("payouts-stopped", asFact("why", payout.stopped)));
    } else if (owedWei < payout.minimumWei) {
      const { minimumWei } = payout;
      reasons.push(reasonOf("below-minimum", { owedWei, missingWei: minimumWei - owedWei, minimumWei }));
    } else if (payout.waits !== undefined) {
      reasons.push(reasonOf("waits", asFact("why", payout.waits)));
    } else if (payout.nextAtMs === undefined) {
      reasons.push(reasonOf("by-hand", {}));
    } else {
      const untilMs = payout.nextAtMs - nowMs;
      reasons.push(reasonOf("waits-for-payout", { owedWei, untilMs, nextAt: time(payout.nextAtMs) }));
    }
  }
  if (heldWei > 0n) {
    const releaseMs = oldestHeldMs === undefined ? undefined : Math.max(0, oldestHeldMs - nowMs);
    reasons.push(reasonOf("held", { heldWei, releaseMs }));
  }
  return reasons;
}
