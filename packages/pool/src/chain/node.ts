import type { WorkerAddress } from "@openpool/protocol";
import type { BatchDone, MadeTransaction, Receipt } from "../payouts/ports.ts";
import type { Hex } from "../payouts/types.ts";

/** What one RPC node says. It may be wrong, late or silent; only several of them together decide anything. */
export interface ChainNode {
  /** For logs: its host, never a key in its URL. */
  readonly name: string;
  chainId(): Promise<number>;
  latestBlock(): Promise<number>;
  /** The newest block that its chain calls final. */
  finalizedBlock(): Promise<number>;
  /** Undefined: it does not know the block. */
  blockHash(number: number): Promise<Hex | undefined>;
  /** When a block was made, unix ms. */
  blockTime(number: number): Promise<number>;
  /** What an account, or undefined: everybody, did in a block. */
  transactionsIn(number: number, account: WorkerAddress | undefined): Promise<readonly MadeTransaction[]>;
  /** `pending`: with those that wait to be mined, as far as it knows of them. */
  transactionCount(account: WorkerAddress, at: "latest" | "pending" | number): Promise<number>;
  /** Batches that a batch contract did, in blocks from the first to the last. */
  batchesIn(contract: WorkerAddress, first: number, last: number): Promise<readonly BatchDone[]>;
  receipt(hash: Hex): Promise<Receipt | undefined>;
  /** Of the newest block, in wei. */
  baseFee(): Promise<bigint>;
  /** What it would add for the block's maker, in wei. */
  tip(): Promise<bigint>;
  balance(account: WorkerAddress): Promise<bigint>;
  code(account: WorkerAddress): Promise<Hex>;
  /** What a contract answers now, or answered after a block; `0x` where there is none, or it refuses. */
  call(to: WorkerAddress, data: Hex, atBlock?: number): Promise<Hex>;
  /** Whether the contract at an address, or the one that its signature says how to make (ERC-6492), takes a signature (ERC-1271). */
  takesSignature(account: WorkerAddress, hash: Hex, signature: Hex): Promise<boolean>;
  estimateGas(call: {
    readonly from: WorkerAddress;
    readonly to: WorkerAddress;
    readonly valueWei: bigint;
    readonly data: Hex;
  }): Promise<{ readonly gas: bigint } | { readonly refused: string }>;
  send(raw: Hex): Promise<void>;
}
