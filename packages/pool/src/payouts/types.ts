import type { WorkerAddress } from "@openpool/protocol";

/** `0x` and an even number of hex digits. */
export type Hex = `0x${string}`;

/** What is paid: the chain's own coin, or a token. */
export type Asset = "eth" | WorkerAddress;

/** What a worker wants to be paid in: whatever the pool pays in, or just this. */
export type AssetChoice = "pool" | Asset;

/**
 * A payout round, from its plan to its last wei:
 *
 * ```
 * planned ─approve→ approved ─sign→ sending ─all lines decided→ done
 *    └────cancel───────┴→ cancelled
 *                      └─export→ exported ─reconciled→ done
 * ```
 */
export type RunState = "planned" | "approved" | "sending" | "exported" | "done" | "cancelled";

/**
 * One worker's part of a run:
 *
 * ```
 * planned → signed → sent ⇄ confirmed → final      paid, for ever
 *    │                          └─────→ failed → returned   owed again, and held until someone looks
 *    └→ returned                                    its run was cancelled
 * ```
 *
 * `confirmed` goes back to `sent` when the chain drops the block. `failed` and `returned` fall together: the money is
 * back in the same step that says why.
 */
export type LineState = "planned" | "signed" | "sent" | "confirmed" | "final" | "failed" | "returned";

/** How a line is paid. */
export type PayMethod = "batch" | "transfer" | "safe";

export interface PayoutLine {
  readonly id: string;
  readonly run: string;
  readonly worker: WorkerAddress;
  readonly payTo: WorkerAddress;
  /** What leaves the worker's balance, in wei. */
  readonly amountWei: bigint;
  /** The part of it that pays for gas, where the worker bears it; else 0. */
  readonly gasShareWei: bigint;
  /** What arrives: wei, or the smallest unit of the token. */
  readonly sendAmount: bigint;
  readonly asset: Asset;
  readonly method: PayMethod;
  /** Why this method, in words. */
  readonly methodReason: string;
  readonly state: LineState;
  readonly intent: string | undefined;
  /** Why it failed or was returned. */
  readonly reason: string | undefined;
  /** Of the transaction that is on chain, and its block. */
  readonly txHash: Hex | undefined;
  readonly block: number | undefined;
  readonly plannedAtMs: number;
  readonly sentAtMs: number | undefined;
  /** When it was final or returned. */
  readonly finishedAtMs: number | undefined;
  /** What ETH was worth when its run was planned. */
  readonly fiat: FiatPrice | undefined;
}

/** How many of the smallest unit of a token one ETH is worth, and where that was read. */
export interface AssetPrice {
  readonly token: WorkerAddress;
  /** `sendAmount = ⌊wei × unitsPerEth / 10^18⌋` */
  readonly unitsPerEth: bigint;
  readonly source: string;
  readonly atBlock: number | undefined;
}

/** What one ETH cost in money when the run was planned; for people and their tax office, never for our arithmetic. */
export interface FiatPrice {
  readonly currency: string;
  /** A decimal number. */
  readonly perEth: string;
  readonly source: string;
  readonly atMs: number;
}

/** What kind of thing keeps a worker out of a plan. */
export type WaitingCode =
  | "stopped"
  | "failed-before"
  | "below-minimum"
  | "gas"
  | "address"
  | "asset"
  | "way-to-pay"
  | "nothing-left"
  | "daily-cap"
  | "run-full"
  | "no-funds";

/** What a plan leaves out of what a worker is owed, and why. */
export interface Waiting {
  readonly worker: WorkerAddress;
  readonly owedWei: bigint;
  /** Undefined: it was planned by a version that did not say. */
  readonly code: WaitingCode | undefined;
  /** For the operator: may hold its own words, or those of a node. */
  readonly reason: string;
}

export interface PayoutRun {
  readonly id: string;
  readonly state: RunState;
  readonly createdAtMs: number;
  readonly finishedAtMs: number | undefined;
  readonly chainId: number;
  readonly payer: WorkerAddress;
  /** The contract of its batches: each takes a batch once, so that a run never changes it. */
  readonly batchContract?: WorkerAddress | undefined;
  /** What its lines are paid in; `mixed`: each says so itself. */
  readonly asset: Asset | "mixed";
  readonly totalWei: bigint;
  readonly lines: number;
  /** Why a person has to approve it; undefined: nobody has to. */
  readonly approvalReason: string | undefined;
  readonly approvedBy: string | undefined;
  /** Of every token that it pays, as they were when it was planned. */
  readonly prices: readonly AssetPrice[];
  readonly fiat: FiatPrice | undefined;
  readonly gasWei: bigint;
  readonly waiting: readonly Waiting[];
  /** What a hook or the planner has to say. */
  readonly notes: readonly string[];
}

/** What an intent does when it is mined. */
export type IntentKind = "batch" | "transfer" | "approve";

/**
 * ```
 * signed → sent ⇄ confirmed → final | reverted      what the chain says at finality depth
 *            └───────────────→ lost                 another transaction took the nonce, finally
 * ```
 */
export type IntentState = "signed" | "sent" | "confirmed" | "final" | "reverted" | "lost";

/** One signed version of an intent; all of an intent have its nonce, so that the chain takes one of them at most. */
export interface SignedTransaction {
  readonly hash: Hex;
  readonly raw: Hex;
  readonly maxFeeWei: bigint;
  readonly maxTipWei: bigint;
  readonly signedAtMs: number;
}

export interface PayoutIntent {
  readonly id: string;
  readonly run: string;
  readonly kind: IntentKind;
  readonly chainId: number;
  readonly payer: WorkerAddress;
  readonly nonce: number;
  readonly to: WorkerAddress;
  readonly valueWei: bigint;
  readonly data: Hex;
  readonly gasLimit: bigint;
  /** The lines that it pays, in the order in which the transaction names them. */
  readonly lines: readonly string[];
  readonly state: IntentState;
  /** Oldest first, never empty. */
  readonly transactions: readonly SignedTransaction[];
  readonly minedHash: Hex | undefined;
  readonly minedBlock: number | undefined;
  readonly gasWei: bigint | undefined;
}

/** Why no payout is made until a person has looked. */
export interface Halt {
  /** `payout/…`, see docs/errors.md. */
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
  readonly intent: string | undefined;
  /** The next nonce that the chain gave, where that is what is wrong. */
  readonly nonce: number | undefined;
  /** The books are a backup of this moment, unix ms. */
  readonly booksOfMs?: number | undefined;
}

/** How much of an asset the paying account holds, against what is owed in it. Amounts in its smallest unit. */
export interface FloatNow {
  readonly asset: Asset;
  readonly balance: bigint;
  /** What all that is owed in it now comes to, with room for gas where it is ETH. */
  readonly due: bigint;
  /** `high`: much more than the next payouts need. */
  readonly state: "low" | "fine" | "high";
  /** What a person should do about it; undefined: nothing. */
  readonly text: string | undefined;
}

/** What the engine does at the moment. */
export interface PayoutStatus {
  readonly chainId: number;
  /** What workers know this pool by: part of what they sign. */
  readonly pool: string;
  /** How long after its signature a change of a payout address counts. */
  readonly payToDelayMs: number;
  readonly payer: WorkerAddress | undefined;
  /** What a worker is paid in that chose nothing, and what it may choose besides. */
  readonly asset: Asset;
  readonly choices: readonly Asset[];
  /** As of the last look, as `goneWei` and `floats`; undefined: there is no account, or nobody could look yet. */
  readonly balanceWei: bigint | undefined;
  /** What payments that are in a block took of it that the books do not count as paid yet. */
  readonly goneWei: bigint;
  readonly paused: string | undefined;
  readonly halted: Halt | undefined;
  /** Why nothing moves although something should, in words: gas is high, a node does not answer. */
  readonly waitingFor: string | undefined;
  /** The last look is some minutes old at most, while nodes answer. */
  readonly floats: readonly FloatNow[];
  readonly warnings: readonly string[];
}

export interface NextPayout {
  /** When the schedule plans next; undefined: only when asked. */
  readonly atMs: number | undefined;
  readonly schedule: string | undefined;
  readonly timeZone: string;
  readonly minimumWei: bigint;
}

/** What a plan would do, before it does anything. */
export interface PlannedPayout {
  /** Undefined: nothing would be paid. */
  readonly run: PayoutRun | undefined;
  readonly lines: readonly PayoutLine[];
  readonly waiting: readonly Waiting[];
  /** Why no run can be made at all. */
  readonly refused: string | undefined;
  /** Somebody is left out for what may be otherwise soon: gas, a price, money in the account, a payout before this one. */
  readonly mayPass: boolean;
}

export interface RunDetail {
  readonly run: PayoutRun;
  readonly lines: readonly PayoutLine[];
  readonly intents: readonly PayoutIntent[];
}

/** How a worker wants to be paid. Only its own signature says so; 0 and `pool` leave it to the pool. */
export interface PayoutWish {
  readonly payTo: WorkerAddress;
  /** Pay from this much on, if that is more than the pool's minimum. */
  readonly thresholdWei: bigint;
  readonly asset: AssetChoice;
  /** Do not plan a payment while gas costs more. */
  readonly maxGasPriceWei: bigint;
  /** Nor while gas takes a larger part of the amount, in parts per million. */
  readonly maxGasSharePpm: bigint;
}

/** A change of how a worker is paid: asked for by the worker's own signature. */
export interface PayToChange extends PayoutWish {
  readonly worker: WorkerAddress;
  readonly nonce: bigint;
  readonly requestedAtMs: number;
  readonly effectiveAtMs: number;
  readonly state: "waiting" | "in-force" | "cancelled" | "replaced";
}

/** `safe`: what a multisig executes to pay a run; `safe-cancel`: what it executes so that the run can never be paid. */
export type ExportFormat = "json" | "csv" | "safe" | "safe-cancel";

/** What a person knows of transactions that the books cannot explain. */
export interface ResumeHow {
  /** These paid no worker, or what they paid was entered by hand. `all`: the chain is not read at all. */
  readonly foreign?: readonly Hex[] | "all" | undefined;
  /** Whom a payment was for: by the address that got it, or by `<transaction>/<place in its batch>`. */
  readonly paidFor?: ReadonlyMap<string, WorkerAddress> | undefined;
  /** Accounts and multisigs that these books do not know, and that paid workers since they were backed up. */
  readonly alsoPayers?: readonly WorkerAddress[] | undefined;
  /** There were none of these: after a restore one of the two has to be said. */
  readonly noOtherPayer?: boolean | undefined;
  /** Payments of accounts that do not pay any more wait to be mined, and whom they pay is held. */
  readonly despitePending?: boolean | undefined;
  /** What tokens were worth when they were paid, in their smallest unit for one ETH: where nodes do not know it any more. */
  readonly unitsPerEth?: ReadonlyMap<WorkerAddress, bigint> | undefined;
}

interface GivenUp {
  /** For workers and the record. */
  readonly reason: string;
  /** Who answers for it. */
  readonly by: string;
}
/** Takes back a run whose multisig is lost. */
export interface GiveUpMultisig extends GivenUp {
  /** The multisig, named once more by who gives it up. */
  readonly safe: WorkerAddress;
}
/** Takes back what an account signed that is lost. */
export interface GiveUpAccount extends GivenUp {
  /** The account, named once more by who gives it up. */
  readonly payer: WorkerAddress;
}

export interface ResumeReport {
  /** Payments that the chain had and the books did not. */
  readonly found: readonly {
    readonly worker: WorkerAddress;
    readonly payTo: WorkerAddress;
    readonly amountWei: bigint;
    readonly hash: Hex;
  }[];
  /** Of these, what the books did not owe: paid beyond what they do. */
  readonly notOwed: readonly { readonly worker: WorkerAddress; readonly wei: bigint }[];
  /** Runs that a multisig may have, or have executed: books that were set back do not know. */
  readonly handedOut: readonly string[];
}

export interface PayeeStanding {
  readonly worker: WorkerAddress;
  /** In wei; the pool's own minimum counts where it is more. */
  readonly thresholdWei: bigint;
  /** Nothing is paid to it before a person has looked. */
  readonly stopped: boolean;
  /** For the operator: why its last payment failed, and why it is held back. */
  readonly failed: string | undefined;
  readonly heldBack: string | undefined;
}

/** Part of a list that is newest first. */
export interface PageQuery {
  readonly limit?: number;
  /** Behind the one with this id; one that is not in the list has nothing behind it. */
  readonly before?: string | undefined;
}

/** What API and commands may ask of the payouts. Refusals are `PoolError`s. Amounts are in wei. */
export interface PayoutPort {
  status(): Promise<PayoutStatus>;
  next(): Promise<NextPayout>;
  /** Newest first. */
  runs(query?: PageQuery): Promise<readonly PayoutRun[]>;
  run(id: string): Promise<RunDetail | undefined>;
  /** Newest first. */
  linesOf(worker: WorkerAddress, query?: PageQuery): Promise<readonly PayoutLine[]>;
  /** `dryRun`: nothing is written. */
  plan(query: { readonly dryRun: boolean }): Promise<PlannedPayout>;
  approve(id: string, by: string): Promise<PayoutRun>;
  /** Takes back what of a run is not signed yet; its money is owed again. */
  cancel(id: string): Promise<PayoutRun>;
  pause(reason: string): Promise<void>;
  /**
   * Ends a pause, and a halt that someone has looked at. Where the chain may know payments that the books do not, those
   * are read and booked first. @throws PoolError `payout/unexplained` with all that nobody can explain: nothing is booked
   * then, and the halt stays.
   */
  resume(how?: ResumeHow): Promise<ResumeReport>;
  /** Lets a worker whose payment failed be paid again, by a plain transfer; a multisig tries its batch again. */
  retry(lineId: string): Promise<PayoutLine>;
  /** Plans nothing for a worker until it is released, and takes back what was planned and not signed. */
  hold(worker: WorkerAddress, reason: string): Promise<void>;
  /** Ends a hold; also what a ban holds back. */
  release(worker: WorkerAddress): Promise<void>;
  /** `safe` makes an approved run the multisig's, for good: it may have been signed by then. Not if it would pay who is held. */
  exportRun(id: string, format: ExportFormat): Promise<string>;
  /** Says that the multisig paid or cancelled an exported run in this transaction; checked against the chain. */
  reconcile(id: string, hash: Hex): Promise<PayoutRun>;
  /** Takes back a run whose multisig or whose account is lost, and watches that from then on. */
  giveUp(id: string, how: GiveUpMultisig | GiveUpAccount): Promise<PayoutRun>;
  /** Of those who chose something, or are held back: from how much on they are paid, and whether they are at all. */
  payees(): Promise<readonly PayeeStanding[]>;
  payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]>;
  /** Takes a signed change in; it counts after a delay. */
  requestPayTo(change: PayToRequest): Promise<PayToChange>;
  cancelPayTo(worker: WorkerAddress): Promise<void>;
}

/** What a worker signs (EIP-712): see docs/money.md. */
export interface PayToRequest extends PayoutWish {
  readonly worker: WorkerAddress;
  /** Grows with every change, so that an old signature changes nothing. */
  readonly nonce: bigint;
  readonly signature: Hex;
}
