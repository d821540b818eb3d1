import type { WorkerAddress } from "@openpool/protocol";
import type {
  Asset,
  FiatPrice,
  Halt,
  Hex,
  IntentState,
  PayoutIntent,
  PayoutLine,
  PayoutRun,
  PayoutWish,
  PayToChange,
  RunDetail,
  SignedTransaction,
} from "./types.ts";

/** Signs for one account. The key itself never passes this door: a KMS or a hardware wallet fits behind it. */
export interface Signer {
  readonly address: WorkerAddress;
  /** Signs an EIP-1559 transaction; answers the raw bytes to send, and their hash. */
  sign(transaction: UnsignedTransaction): Promise<{ readonly raw: Hex; readonly hash: Hex }>;
}

export interface UnsignedTransaction {
  readonly chainId: number;
  readonly nonce: number;
  readonly to: WorkerAddress;
  readonly valueWei: bigint;
  readonly data: Hex;
  readonly gasLimit: bigint;
  readonly maxFeeWei: bigint;
  readonly maxTipWei: bigint;
}

/** What the chain has made of a nonce of ours, as enough of its nodes agree. */
export type NonceFate =
  /** One of our transactions is in a block; `final`: for good. */
  | { readonly kind: "mined"; readonly final: boolean; readonly receipt: Receipt }
  /** Another transaction has the nonce; `final`: for good. */
  | { readonly kind: "taken"; readonly final: boolean }
  /** Nothing has it yet. */
  | { readonly kind: "open" }
  /** The nodes do not agree, or too few answer: nothing may be decided. */
  | { readonly kind: "unsure"; readonly why: string };

export interface Receipt {
  readonly hash: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly succeeded: boolean;
  readonly gasUsed: bigint;
  readonly gasPriceWei: bigint;
  /** What batch contracts say: that a batch is done, and by their place which of its payments were not made. */
  readonly batches: readonly BatchSays[];
  /** Token movements: only read where a token was paid. */
  readonly transfers: readonly {
    readonly token: WorkerAddress;
    readonly from: WorkerAddress;
    readonly to: WorkerAddress;
    readonly amount: bigint;
  }[];
}

export type BatchSays = {
  readonly contract: WorkerAddress;
  readonly payer: WorkerAddress;
  readonly batch: Hex;
} & ({ readonly says: "unpaid"; readonly place: number } | { readonly says: "done"; readonly unpaid: number });

/** What is known of an address that is to be paid. */
export interface Payee {
  /** It has a history or money, or some of the token: paying it writes into no empty place. */
  readonly exists: boolean;
  readonly isContract: boolean;
}

export interface GasPrices {
  /** What is paid now, per gas. */
  readonly nowWei: bigint;
  /** What to offer at most, so that some blocks of rising prices do no harm. */
  readonly maxFeeWei: bigint;
  readonly maxTipWei: bigint;
}

/** The chain, as enough of its nodes agree. Throws `payout/no-quorum` where they do not. */
export interface Chain {
  readonly chainId: number;
  /** Transactions of an account in mined, or in final, blocks: its next nonce. */
  nextNonce(account: WorkerAddress, at: "latest" | "final"): Promise<number>;
  fate(account: WorkerAddress, nonce: number, hashes: readonly Hex[]): Promise<NonceFate>;
  gasPrices(): Promise<GasPrices>;
  balance(account: WorkerAddress): Promise<bigint>;
  /** Undefined: there is no such token, or it does not say. */
  tokenBalance(token: WorkerAddress, account: WorkerAddress): Promise<bigint | undefined>;
  tokenAllowance(token: WorkerAddress, owner: WorkerAddress, spender: WorkerAddress): Promise<bigint | undefined>;
  payees(addresses: readonly WorkerAddress[], asset: Asset): Promise<ReadonlyMap<WorkerAddress, Payee>>;
  /** Estimated gas; undefined where the call would fail, with what the node says. */
  estimateGas(call: {
    readonly from: WorkerAddress;
    readonly to: WorkerAddress;
    readonly valueWei: bigint;
    readonly data: Hex;
  }): Promise<{ readonly gas: bigint } | { readonly refused: string }>;
  /** Whether our batch contract, byte for byte, is at an address. */
  hasBatchContract(address: WorkerAddress): Promise<boolean>;
  /** The receipt of anybody's transaction, once it is final; else why there is none. */
  finalReceipt(hash: Hex): Promise<Receipt | { readonly none: string }>;
  /** Hands a transaction to every node. What they say decides nothing; it is for people. */
  send(raw: Hex): Promise<readonly string[]>;
}

/** The bytes of calls, and signatures that are checked without a chain. */
export interface Calls {
  payEth(batch: Hex, payments: readonly { readonly to: WorkerAddress; readonly amount: bigint }[]): Hex;
  payToken(
    batch: Hex,
    token: WorkerAddress,
    payments: readonly { readonly to: WorkerAddress; readonly amount: bigint }[],
  ): Hex;
  tokenTransfer(to: WorkerAddress, amount: bigint): Hex;
  tokenApprove(spender: WorkerAddress, amount: bigint): Hex;
}

/** What the books owe a worker now. */
export interface Payable {
  readonly worker: WorkerAddress;
  readonly owedWei: bigint;
  readonly oldestOwedAtMs: number;
}

/** How a worker wants to be paid, and whether it may be. */
export interface PayeeRecord extends PayoutWish {
  readonly worker: WorkerAddress;
  /** Its last payment failed: why. Nothing is paid until someone retries. */
  readonly held: string | undefined;
  /** After a retry: only by a plain transfer. */
  readonly plainOnly: boolean;
}

export interface Control {
  readonly paused: string | undefined;
  readonly halted: Halt | undefined;
  /** When the schedule plans next, unix ms. */
  readonly nextAtMs: number | undefined;
  readonly schedule: string | undefined;
  /** Nonces below it were used by others, and the operator knows. */
  readonly nonceFloor: number | undefined;
}

/** What became of an intent, for the books. Everything in it is written in one transaction. */
export interface Settlement {
  readonly intent: string;
  readonly state: Extract<IntentState, "final" | "reverted" | "lost">;
  readonly minedHash: Hex | undefined;
  readonly minedBlock: number | undefined;
  readonly gasWei: bigint;
  /** Lines that were paid. */
  readonly paid: readonly string[];
  /** Lines whose money is owed again. `hold`: the worker is not paid until someone looks. */
  readonly returned: readonly { readonly line: string; readonly reason: string; readonly hold: boolean }[];
  readonly atMs: number;
  /** Something is so wrong that a person has to look: written together with the rest. */
  readonly halt?: Halt | undefined;
}

/**
 * The memory of the payouts. Every method is one transaction: it happens wholly or not at all, and when its answer is
 * lost it may be asked again. Throws `payout/not-leader` when another process pays by now.
 */
export interface PayoutStore {
  payable(): Promise<readonly Payable[]>;
  payees(): Promise<readonly PayeeRecord[]>;
  control(): Promise<Control>;
  /** Sums planned since a time, of runs that were not cancelled. */
  plannedSince(atMs: number): Promise<bigint>;
  /**
   * Writes a run with its lines and moves owed → paying. False where the books have moved since: a worker is owed less
   * than its line, or another run is not done yet. Nothing is written then.
   */
  commitPlan(run: PayoutRun, lines: readonly PayoutLine[], nextAtMs: number | undefined): Promise<boolean>;
  approve(run: string, by: string): Promise<boolean>;
  /** Moves paying → owed. False where something of it was signed. */
  cancel(run: string, atMs: number): Promise<boolean>;
  /** Runs that are not done or cancelled. */
  openRuns(): Promise<readonly RunDetail[]>;
  /** The highest nonce that an intent of this account has; undefined: none. */
  lastNonce(chainId: number, payer: WorkerAddress): Promise<number | undefined>;
  /** Writes intents with their first signed transactions; lines → signed, run → sending. False where lines have intents. */
  commitIntents(run: string, intents: readonly PayoutIntent[]): Promise<boolean>;
  /** Takes lines back before anything was signed of them. */
  dropLines(run: string, returned: Settlement["returned"], atMs: number): Promise<void>;
  /** Writes a further signed version of an intent, before it is sent. */
  addTransaction(intent: string, transaction: SignedTransaction): Promise<void>;
  /** Lines follow. */
  setIntentState(
    intent: string,
    state: Extract<IntentState, "sent" | "confirmed">,
    atMs: number,
    mined?: { readonly hash: Hex; readonly block: number },
  ): Promise<void>;
  /** Settles an intent and its lines in the books, once; the run is done with its last line. */
  settle(settlement: Settlement): Promise<void>;
  markExported(run: string): Promise<boolean>;
  /** Decides an exported run by what its multisig did. */
  settleExported(
    run: string,
    paid: readonly string[],
    returned: Settlement["returned"],
    hash: Hex,
    atMs: number,
  ): Promise<void>;
  halt(halt: Halt): Promise<void>;
  setPaused(reason: string | undefined): Promise<void>;
  /** Ends a halt: its intent is acknowledged as taken, its nonce becomes the floor. */
  clearHalt(): Promise<void>;
  /** Keeps what ETH was worth on a day (`YYYY-MM-DD`, UTC), unless something was kept for it; answers whether it did. */
  keepFiat(day: string, price: FiatPrice): Promise<boolean>;
  setNextAt(nextAtMs: number | undefined, schedule: string | undefined): Promise<void>;
  runs(limit: number): Promise<readonly PayoutRun[]>;
  run(id: string): Promise<RunDetail | undefined>;
  linesOf(worker: WorkerAddress, limit: number): Promise<readonly PayoutLine[]>;
  line(id: string): Promise<PayoutLine | undefined>;
  retry(worker: WorkerAddress): Promise<void>;
  payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]>;
  /** False where the nonce is not higher than the worker's last. */
  addPayToChange(change: PayToChange, signature: Hex): Promise<boolean>;
  cancelPayToChanges(worker: WorkerAddress, atMs: number): Promise<void>;
  /** Puts changes in force whose time has come; answers which. */
  applyPayToChanges(nowMs: number): Promise<readonly PayToChange[]>;
}
