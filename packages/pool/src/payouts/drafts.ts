import type { WorkerAddress } from "@openpool/protocol";
import type { Calls, Chain, Settlement } from "./ports.ts";
import { batchIdOf } from "./settlement.ts";
import type { Hex, PayoutIntent, PayoutLine, PayoutRun } from "./types.ts";

/** What a payee's code may use beyond what an estimate saw, and what the contract wants to have left at its end. */
const PAYEE_ROOM = 31_000n;
const BATCH_ROOM = 120_000n;

/** A transaction to be, without its nonce and price. */
export interface Draft {
  /** Of the intent that it becomes. */
  readonly id: string;
  readonly kind: PayoutIntent["kind"];
  readonly to: WorkerAddress;
  readonly valueWei: bigint;
  readonly data: Hex;
  readonly gasLimit: bigint;
  readonly lines: readonly string[];
}

export type Drafted =
  | {
      readonly drafts: readonly Draft[];
      /** Lines whose payment would fail: to be given back. */
      readonly refused: Settlement["returned"];
    }
  /** Not now, and why. */
  | { readonly wait: string };

export interface DraftRules {
  /** Payees of one batch at most. */
  readonly batchSize: number;
  readonly batchContract: WorkerAddress | undefined;
}

export interface DraftDeps {
  readonly chain: Chain;
  readonly calls: Calls;
  readonly newId: () => string;
}

/** What has to be sent so that these lines are paid; each is estimated, so that none is sent that would fail. */
export async function draftTransactions(
  { payer, asset }: PayoutRun,
  lines: readonly PayoutLine[],
  { batchSize, batchContract }: DraftRules,
  { chain, calls, newId }: DraftDeps,
): Promise<Drafted> {
  const drafts: Draft[] = [];
  const inBatch = lines.filter((line) => line.method === "batch");
  if (inBatch.length > 0) {
    if (batchContract === undefined || !(await chain.hasBatchContract(batchContract))) {
      return {
        wait: `there is no batch contract of ours at ${batchContract ?? "--payout-contract"}: deploy it with \`openpool payouts deploy\``,
      };
    }
    if (asset !== "eth") {
      const sum = inBatch.reduce((total, line) => total + line.sendAmount, 0n);
      if ((await chain.tokenAllowance(asset, payer, batchContract)) < sum) {
        const data = calls.tokenApprove(batchContract, sum);
        const estimate = await chain.estimateGas({ from: payer, to: asset, valueWei: 0n, data });
        if ("refused" in estimate) {
          return { wait: `the token refuses to be paid out by the batch contract: ${estimate.refused}` };
        }
        const gasLimit = (estimate.gas * 13n) / 10n;
        // Alone: what it allows can be estimated only once it is there.
        return {
          drafts: [{ id: newId(), kind: "approve", to: asset, valueWei: 0n, data, gasLimit, lines: [] }],
          refused: [],
        };
      }
    }
  }
  for (let i = 0; i < inBatch.length; i += batchSize) {
    const part = inBatch.slice(i, i + batchSize);
    const id = newId();
    const payments = part.map((line) => ({ to: line.payTo, amount: line.sendAmount }));
    const batch = batchIdOf(id);
    const data = asset === "eth" ? calls.payEth(batch, payments) : calls.payToken(batch, asset, payments);
    const valueWei = asset === "eth" ? part.reduce((sum, line) => sum + line.sendAmount, 0n) : 0n;
    const to = batchContract ?? payer;
    const estimate = await chain.estimateGas({ from: payer, to, valueWei, data });
    if ("refused" in estimate) return { wait: `the batch cannot be paid now: ${estimate.refused}` };
    const room = asset === "eth" ? PAYEE_ROOM : 10n * PAYEE_ROOM;
    const gasLimit = (estimate.gas * 13n) / 10n + BigInt(part.length) * PAYEE_ROOM + BATCH_ROOM + room;
    drafts.push({ id, kind: "batch", to, valueWei, data, gasLimit, lines: part.map((line) => line.id) });
  }
  const refused: Settlement["returned"][number][] = [];
  for (const line of lines.filter((one) => one.method === "transfer")) {
    const [to, valueWei, data]: [WorkerAddress, bigint, Hex] =
      asset === "eth"
        ? [line.payTo, line.sendAmount, "0x"]
        : [asset, 0n, calls.tokenTransfer(line.payTo, line.sendAmount)];
    const estimate = await chain.estimateGas({ from: payer, to, valueWei, data });
    if ("refused" in estimate) {
      if ((await chain.balance(payer)) < valueWei) {
        return { wait: `${payer} does not hold enough: ${estimate.refused}` };
      }
      refused.push({ line: line.id, reason: `its address refuses the payment: ${estimate.refused}`, hold: true });
      continue;
    }
    const gasLimit = (estimate.gas * 13n) / 10n;
    drafts.push({ id: newId(), kind: "transfer", to, valueWei, data, gasLimit, lines: [line.id] });
  }
  return { drafts, refused };
}
