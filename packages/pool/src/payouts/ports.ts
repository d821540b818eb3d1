import type { WorkerAddress } from "@openpool/protocol";
import type {
  Asset,
  AssetPrice,
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

/**
 * Signs for one account. The key itself never passes this door: a KMS or a hardware wallet fits behind it. It may take its
 * time, and payouts wait meanwhile; it may reject, and is asked again at the next step, for what was not written down by then.
 */
export interface Signer {
  readonly address: WorkerAddress;
  /** Signs an EIP-1559 transaction; answers the raw bytes to send, and their hash. Answers or rejects at some time. */
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
  /** Contracts that said anything, also what nobody here understands; left out: none did. */
  readonly loggedBy?: readonly WorkerAddress[];
}

export type BatchSays = {
  readonly contract: WorkerAddress;
  readonly payer: WorkerAddress;
  readonly batch: Hex;
} & ({ readonly says: "unpaid"; readonly place: number } | { readonly says: "done"; readonly unpaid: number });

/** A batch that a batch contract did: paid, or cancelled. */
export interface BatchDone {
  readonly payer: WorkerAddress;
  readonly batch: Hex;
  readonly hash: Hex;
  readonly block: number;
}

/** A transaction that an account made, as the chain has it. */
export interface MadeTransaction {
  readonly hash: Hex;
  readonly nonce: number;
  readonly block: number;
  /** Undefined: it made a contract. */
  readonly to: WorkerAddress | undefined;
  readonly valueWei: bigint;
  readonly data: Hex;
}

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
  /** The newest block, final or not. */
  lastBlock(): Promise<number>;
  /** As many transactions of an account as a quorum vouches for, final or not: its next nonce is no less. */
  nextNonce(account: WorkerAddress): Promise<number>;
  /** The highest next nonce that any node knows of, with what waits to be mined: of that no node has to know all. */
  pendingNonce(account: WorkerAddress): Promise<number>;
  /** An account's next nonce where all before it is final, in the same words of a quorum; undefined: not yet. */
  settledNonce(account: WorkerAddress): Promise<number | undefined>;
  /** An account's next nonce as it was at a time, unix ms. Nodes must keep state so old. */
  nonceAt(account: WorkerAddress, atMs: number): Promise<number>;
  /** The transactions that an account made since a time and by now: nonces from `from` on, below `to`. */
  madeSince(account: WorkerAddress, atMs: number, from: number, to: number): Promise<readonly MadeTransaction[]>;
  /** What an account, or undefined: everybody, did in a block. */
  transactionsIn(block: number, account: WorkerAddress | undefined): Promise<readonly MadeTransaction[]>;
  /** Which batches a batch contract did since a time, for whom, and in which transactions. */
  batchesSince(contract: WorkerAddress, atMs: number): Promise<readonly BatchDone[]>;
  fate(account: WorkerAddress, nonce: number, hashes: readonly Hex[]): Promise<NonceFate>;
  gasPrices(): Promise<GasPrices>;
  balance(account: WorkerAddress): Promise<bigint>;
  /** Undefined: there is no such token, or it does not say. */
  tokenBalance(token: WorkerAddress, account: WorkerAddress): Promise<bigint | undefined>;
  tokenAllowance(token: WorkerAddress, owner: WorkerAddress, spender: WorkerAddress): Promise<bigint | undefined>;
  payees(addresses: readonly WorkerAddress[], asset: Asset): Promise<ReadonlyMap<WorkerAddress, Payee>>;
  /** Estimated gas, or what a node says of a call that would fail. Not `agreed`: too few of them say so, or the opposite. */
  estimateGas(call: {
    readonly from: WorkerAddress;
    readonly to: WorkerAddress;
    readonly valueWei: bigint;
    readonly data: Hex;
  }): Promise<{ readonly gas: bigint } | { readonly refused: string; readonly agreed: boolean }>;
  /** Whether our batch contract, byte for byte, is at an address. */
  hasBatchContract(address: WorkerAddress): Promise<boolean>;
  /** Whether a batch contract has taken this batch of a payer: paid or cancelled. */
  isBatchDone(contract: WorkerAddress, payer: WorkerAddress, batch: Hex): Promise<boolean>;
  /**
   * The receipt of anybody's transaction, once it is final; else why there is none. `agreed`: enough nodes know of none, who
   * may have forgotten it; otherwise they cannot tell yet.
   */
  finalReceipt(hash: Hex): Promise<Receipt | { readonly none: string; readonly agreed: boolean }>;
  /** Hands a transaction to every node. What they say decides nothing; it is for people. */
  send(raw: Hex): Promise<readonly string[]>;
}

/** The bytes of calls. */
export interface Calls {
  payEth(batch: Hex, payments: readonly Payment[]): Hex;
  payToken(batch: Hex, token: WorkerAddress, payments: readonly Payment[]): Hex;
  tokenTransfer(to: WorkerAddress, amount: bigint): Hex;
  tokenApprove(spender: WorkerAddress, amount: bigint): Hex;
  /** Keccak-256 of the UTF-8 bytes of a text. */
  keccak(text: string): Hex;
  /** What the bytes of one of these calls say; undefined: they are of another call. */
  read(data: Hex): ReadCall | undefined;
}

export interface Payment {
  readonly to: WorkerAddress;
  readonly amount: bigint;
}

export type ReadCall =
  | { readonly kind: "pay-eth"; readonly batch: Hex; readonly payments: readonly Payment[] }
  | {
      readonly kind: "pay-token";
      readonly batch: Hex;
      readonly token: WorkerAddress;
      readonly payments: readonly Payment[];
    }
  | ({ readonly kind: "token-transfer" } & Payment)
  | { readonly kind: "token-approve"; readonly spender: WorkerAddress };

/** What the books owe a worker now. */
export interface Payable {
  readonly worker: WorkerAddress;
  readonly owedWei: bigint;
  /** Since when, without a break, something is owed; unix ms. */
  readonly oldestOwedAtMs: number;
}

/** How a worker wants to be paid, and whether it may be. */
export interface PayeeRecord extends PayoutWish {
  readonly worker: WorkerAddress;
  /** Its last payment failed: why. Nothing is paid until someone retries. */
  readonly held: string | undefined;
  /** The operator holds its payouts, or it is banned: why. */
  readonly stopped: string | undefined;
  /** After a retry: only by a plain transfer. */
  readonly plainOnly: boolean;
}

export interface Control {
  readonly paused: string | undefined;
  /** Why nothing may be paid, the first reason first. */
  readonly halts: readonly Halt[];
  /** When the schedule plans next, unix ms. */
  readonly nextAtMs: number | undefined;
  readonly schedule: string | undefined;
}

/** What the books know of the nonces of an account that paid, or was reconciled. */
export interface AccountNonces {
  /** The highest one of an intent that is not lost. */
  readonly last?: number | undefined;
  /** Nonces below it were used by others, and the operator knows. */
  readonly floor?: number | undefined;
  /**
   * Nonces below it are spent on nothing before anything is paid: books that were set back may have handed out payments
   * with them that nobody remembers.
   */
  readonly guard?: number | undefined;
}

/** A run that was taken back although nobody can make it impossible that its multisig pays it. */
export interface GivenUpRun {
  readonly run: PayoutRun;
  /** What it was to pay and had not: each is a batch of its own. */
  readonly assets: readonly Asset[];
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

/** What was found on the chain and the books did not know. All of it is written in one transaction. */
export interface Findings {
  /** Intents whose nonce another transaction took for good: their money is owed again. */
  readonly lost: readonly Settlement[];
  /** Payments of lines that the books still thought were to be made. */
  readonly lines: readonly FoundLine[];
  /** Payments that no line of the books stands for. A line that was to pay such a worker is taken back: it is planned anew. */
  readonly payments: readonly FoundPayment[];
  /** What these transactions cost in gas. */
  readonly gas: readonly { readonly hash: Hex; readonly block: number; readonly wei: bigint }[];
  /** The payer's next nonce: all below it is accounted for. */
  readonly nonceFloor: number;
  /** See {@link AccountNonces.guard}; undefined leaves it as it is. */
  readonly nonceGuard: number | undefined;
  readonly chainId: number;
  readonly payer: WorkerAddress;
  readonly atMs: number;
}

export interface FoundLine {
  readonly line: string;
  readonly hash: Hex;
  readonly block: number;
}

export interface FoundPayment {
  readonly worker: WorkerAddress;
  readonly payTo: WorkerAddress;
  /** What it was worth: of a token the least that gives `sendAmount` at `price`. */
  readonly amountWei: bigint;
  readonly asset: Asset;
  readonly sendAmount: bigint;
  /** Of a token. */
  readonly price: AssetPrice | undefined;
  readonly method: "batch" | "transfer";
  readonly hash: Hex;
  readonly block: number;
}

/**
 * The memory of the payouts. Every method is one transaction: it happens wholly or not at all, and when its answer is
 * lost it may be asked again. What the event log is to know of a change belongs to its transaction. Throws
 * `payout/not-leader` when another process pays by now.
 */
export interface PayoutStore {
  payable(): Promise<readonly Payable[]>;
  payees(): Promise<readonly PayeeRecord[]>;
  control(): Promise<Control>;
  /** What lines come to that were planned since a time, without those whose money is owed again. */
  plannedSince(atMs: number): Promise<bigint>;
  /**
   * Writes a run with its lines and moves owed → paying. False where the books have moved since: a worker is owed less
   * than its line, or another run is not done yet. Nothing is written then.
   */
  commitPlan(run: PayoutRun, lines: readonly PayoutLine[], nextAtMs: number | undefined): Promise<boolean>;
  approve(run: string, by: string): Promise<boolean>;
  /** Moves what is not signed of a run paying → owed. False where there is nothing of that, or a multisig has it. */
  cancel(run: string, atMs: number): Promise<boolean>;
  /** Runs that are not done or cancelled. */
  openRuns(): Promise<readonly RunDetail[]>;
  /** Every account of a chain that the books know: that was to pay something, or was looked at. */
  accounts(chainId: number): Promise<ReadonlyMap<WorkerAddress, AccountNonces>>;
  /** Hashes of what was signed with nonces from this one on and is not lost, and of other payments that are booked. */
  knownTransactions(chainId: number, payer: WorkerAddress, from: number): Promise<ReadonlySet<Hex>>;
  /** The multisigs that ever were to pay a run, and the batch contracts of these runs. */
  multisigs(
    chainId: number,
  ): Promise<readonly { readonly safe: WorkerAddress; readonly contract: WorkerAddress | undefined }[]>;
  /** When the last intent of this account was signed; undefined: none was. */
  lastSignedMs(chainId: number, payer: WorkerAddress): Promise<number | undefined>;
  /**
   * Writes intents with their first signed transactions; lines → signed, run → sending. False where lines have intents, and
   * while payouts are halted or paused: estimating and signing can take minutes in which somebody stops them.
   */
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
  /** Decides an exported run, or some of its assets, by what its multisig did. */
  settleExported(
    run: string,
    settled: Pick<Settlement, "paid" | "returned" | "halt" | "atMs"> & { readonly hash: Hex },
  ): Promise<void>;
  /** Takes an exported run back for good: paying → owed. False where it is not exported. */
  giveUp(run: string, reason: string, by: string, atMs: number): Promise<boolean>;
  /**
   * Takes back all of a run that is not decided, signed or not: paying → owed. Its account is watched from then on: below
   * `nonceFloor` the chain has decided. False where nothing signed is undecided, or something that is below.
   */
  giveUpSigned(
    run: string,
    how: { readonly nonceFloor: number; readonly reason: string; readonly by: string; readonly atMs: number },
  ): Promise<boolean>;
  /** Multisigs' runs that were given up and were not paid, as far as anybody has seen. */
  givenUp(chainId: number): Promise<readonly GivenUpRun[]>;
  /** Halts because a run that was given up was paid after all, once for each. */
  paidAfterAll(run: string, halt: Halt): Promise<void>;
  halt(halt: Halt): Promise<void>;
  pause(reason: string): Promise<void>;
  /**
   * Ends a pause and the payouts' own halts, and books what was found on the chain meanwhile; answers what of it the
   * workers were not owed. `handedOut`: runs that a multisig may have; only what it did can decide them from here on.
   */
  resume(
    found: readonly Findings[],
    handedOut?: readonly string[],
  ): Promise<readonly { readonly worker: WorkerAddress; readonly wei: bigint }[]>;
  /**
   * Waits until all credits that the log has by now are booked, and all that was held long enough is owed; what comes
   * meanwhile is not waited for. False: that takes longer than anybody should wait.
   */
  booksCatchUp(nowMs: number): Promise<boolean>;
  /** Every worker that the books know. */
  workers(): Promise<readonly WorkerAddress[]>;
  /** Keeps what ETH was worth on a day (`YYYY-MM-DD`, UTC), unless something was kept for it; answers whether it did. */
  keepFiat(day: string, price: FiatPrice): Promise<boolean>;
  setNextAt(nextAtMs: number | undefined, schedule: string | undefined): Promise<void>;
  /** Newest first; behind the one with this id. */
  runs(limit: number, before?: string): Promise<readonly PayoutRun[]>;
  run(id: string): Promise<RunDetail | undefined>;
  /** Newest first; behind the one with this id. */
  linesOf(worker: WorkerAddress, limit: number, before?: string): Promise<readonly PayoutLine[]>;
  line(id: string): Promise<PayoutLine | undefined>;
  retry(worker: WorkerAddress): Promise<void>;
  /** Holds a worker's payouts back, or releases them: what is held for a ban, too. */
  hold(worker: WorkerAddress, reason: string | undefined): Promise<void>;
  payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]>;
  /** The change as it stands, also where it was asked for before; undefined where the nonce is not higher than the worker's last. */
  addPayToChange(change: PayToChange, signature: Hex): Promise<PayToChange | undefined>;
  cancelPayToChanges(worker: WorkerAddress, atMs: number): Promise<void>;
  /** Puts changes in force whose time has come. */
  applyPayToChanges(nowMs: number): Promise<void>;
}
