import type { WorkerAddress } from "@openpool/protocol";

/** A block of the chain. */
export interface BlockMark {
  readonly number: number;
  readonly hash: string;
}

/** What a chain says of an orchestrator's money, in the order in which it happened. */
export type IncomeLog =
  /** A winning ticket was paid. What was paid counts: the face value on the ticket may have been more. */
  | {
      readonly kind: "redeemed";
      readonly block: BlockMark;
      readonly logIndex: number;
      readonly tx: string;
      /** The gateway. */
      readonly sender: WorkerAddress;
      readonly paidWei: bigint;
      /** What the ticket promised; undefined when the contract did not say it beside. */
      readonly faceWei: bigint | undefined;
    }
  /** A winning ticket was redeemed and brought nothing: its sender had no funds left. */
  | {
      readonly kind: "unpaid";
      readonly block: BlockMark;
      readonly logIndex: number;
      readonly tx: string;
      readonly sender: WorkerAddress;
      readonly faceWei: bigint;
    }
  /** Fees left the protocol for a wallet. */
  | {
      readonly kind: "withdrawn";
      readonly block: BlockMark;
      readonly logIndex: number;
      readonly tx: string;
      readonly to: WorkerAddress;
      readonly amountWei: bigint;
    };

/** How redeemed fees are divided at a moment. */
export interface FeeCut {
  /** Given to delegators, in parts per million. */
  readonly feeSharePpm: bigint;
  /** The orchestrator's own part of the stake behind it, as it counts for the fees of this round. */
  readonly ownStake: bigint;
  readonly totalStake: bigint;
  /** `latest`: the node keeps no state of that block, so today's cut stands in for it. */
  readonly from: "block" | "latest";
}

/** What an orchestrator has on chain now. */
export interface OrchestratorStanding extends FeeCut {
  /** In the protocol, for the operator to withdraw. */
  readonly withdrawableWei: bigint;
  /** In the orchestrator's own wallet. */
  readonly walletWei: bigint;
}

/** A chain as the reader of income needs it; `chain/` implements it. Every call may reject, and is tried again later. */
export interface IncomeChain {
  chainId(): Promise<number>;
  /** The newest block that will not be taken back, as far as the reader is told to believe that. */
  finalBlock(): Promise<number>;
  /** Undefined: the node does not have it. */
  block(number: number): Promise<(BlockMark & { readonly timeMs: number }) | undefined>;
  /** Everything of this orchestrator in these blocks, both included, in order. */
  logs(fromBlock: number, toBlock: number): Promise<readonly IncomeLog[]>;
  /** How a fee of that block was divided. */
  feeCut(block: number): Promise<FeeCut>;
  standing(): Promise<OrchestratorStanding>;
}

/** What the operator keeps of a redeemed ticket: all but the delegators' part, and its own part of that by its stake. */
export function keptWei(paidWei: bigint, { feeSharePpm, ownStake, totalStake }: FeeCut): bigint {
  const delegatorsWei = (paidWei * feeSharePpm) / 1_000_000n;
  const own = ownStake > totalStake ? totalStake : ownStake;
  return paidWei - delegatorsWei + (totalStake > 0n ? (delegatorsWei * own) / totalStake : 0n);
}
