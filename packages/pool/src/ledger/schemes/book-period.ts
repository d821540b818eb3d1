import type { WorkerAddress } from "@openpool/protocol";
import { heldBy, payeeOfWork, schemeAccounts } from "./accounts.ts";
import { mergePostings } from "./postings.ts";
import { shareOut } from "./share-out.ts";
import type { JobBooking, Posting } from "../types.ts";
import type { UptimeBonus } from "./types.ts";

/** Income that came in. */
export interface Income {
  /** Names it for ever: income is booked once a reference. */
  readonly ref: string;
  readonly kind: "tickets" | "manual";
  /** What was paid to the orchestrator. */
  readonly grossWei: bigint;
  /** What of it is the operator's, after the delegators' cut. */
  readonly keptWei: bigint;
}

/** How income is booked: it waits to be shared where workers share income, and is the operator's elsewhere. */
export function bookIncome({ ref, kind, grossWei, keptWei }: Income, sharing: boolean): JobBooking {
  const own = kind === "tickets" ? schemeAccounts.tickets : schemeAccounts.other;
  return {
    rule: "income",
    postings: mergePostings([
      { account: kind === "tickets" ? schemeAccounts.fromChain : schemeAccounts.fromOperator, amountWei: -grossWei },
      { account: schemeAccounts.delegators, amountWei: grossWei - keptWei },
      { account: sharing ? schemeAccounts.shared : own, amountWei: keptWei },
    ]),
    data: { ref, kind, grossWei: String(grossWei), keptWei: String(keptWei) },
  };
}

/** Money that the operator puts into a pot, by hand and with a reference. */
export function bookPotFilling(pot: "segment" | "uptime", ref: string, amountWei: bigint): JobBooking {
  return {
    rule: "pot",
    postings: mergePostings([
      { account: schemeAccounts.fromOperator, amountWei: -amountWei },
      { account: pot === "segment" ? schemeAccounts.segmentPot : schemeAccounts.uptimePot, amountWei },
    ]),
    data: { ref, pot, amountWei: String(amountWei) },
  };
}

/**
 * The end of a period: the income that waits is shared by the work that waits, and both begin again at zero. The pool's
 * commission takes part, and so does work that was paid by its fee already. Undefined when there is nothing to share
 * or nobody to share with: what waits then counts into the next period.
 *
 * @param work the balances of the `work:*` accounts
 * @param sharedWei the balance of the income that waits
 */
export function settlePeriod(
  period: string,
  work: ReadonlyMap<string, bigint>,
  sharedWei: bigint,
): JobBooking | undefined {
  const weights = new Map([...work].filter(([account, wei]) => wei > 0n && payeeOfWork(account) !== undefined));
  if (sharedWei <= 0n || weights.size === 0) return undefined;
  const postings: Posting[] = [{ account: schemeAccounts.shared, amountWei: -sharedWei }];
  for (const [account, amountWei] of shareOut(sharedWei, weights)) {
    // Every weight has a payee: the others were left out.
    postings.push({ account: payeeOfWork(account) ?? schemeAccounts.shared, amountWei });
  }
  let workWei = 0n;
  for (const [account, wei] of weights) {
    postings.push({ account, amountWei: -wei });
    workWei += wei;
  }
  postings.push({ account: schemeAccounts.work, amountWei: workWei });
  return {
    rule: "settle",
    postings: mergePostings(postings),
    data: { period, sharedWei: String(sharedWei), workWei: String(workWei) },
  };
}

const DAY_MS = 86_400_000;

/** What slot number `slot` has to give: the slots of a day sum to its budget exactly. Slots count from the epoch. */
export function slotBudgetWei({ budgetWeiPerDay, slotMs }: UptimeBonus, slot: number): bigint {
  const slots = BigInt(Math.round(DAY_MS / slotMs));
  const index = BigInt(slot) % slots;
  return (budgetWeiPerDay * (index + 1n)) / slots - (budgetWeiPerDay * index) / slots;
}

/**
 * One slot of the uptime bonus: its budget in equal parts over the workers that were ready, one part a worker however many
 * rigs it has. Undefined when nobody was: that slot's budget is not spent.
 */
export function bookUptimeSlot(
  bonus: UptimeBonus,
  slot: number,
  ready: readonly WorkerAddress[],
): JobBooking | undefined {
  const budgetWei = slotBudgetWei(bonus, slot);
  const shares = shareOut(budgetWei, new Map(ready.map((worker) => [worker, 1n])));
  if (budgetWei === 0n || shares.size === 0) return undefined;
  return {
    rule: "uptime",
    postings: mergePostings([
      { account: schemeAccounts.uptimePot, amountWei: -budgetWei },
      ...[...shares].map(([worker, amountWei]) => ({ account: heldBy(worker), amountWei })),
    ]),
    data: { slot: new Date(slot * bonus.slotMs).toISOString(), budgetWei: String(budgetWei), ready: shares.size },
  };
}
