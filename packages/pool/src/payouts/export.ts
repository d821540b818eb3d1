import { csvLine, formatEth, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { Calls } from "./ports.ts";
import { type SafeFile, type SafeTransaction, withChecksum } from "./safe-file.ts";
import { batchIdOf, groupByAsset } from "./settlement.ts";
import type { Asset, ExportFormat, Hex, PayoutLine, RunDetail } from "./types.ts";

export interface ExportTools {
  readonly calls: Calls;
  readonly batchContract: WorkerAddress | undefined;
}

/** The columns of the CSV; never renamed, new ones go to the end. */
const CSV_COLUMNS = [
  "run",
  "line",
  "worker",
  "pay_to",
  "amount_wei",
  "gas_share_wei",
  "asset",
  "send_amount",
  "method",
  "state",
  "tx_hash",
  "reason",
] as const;

/**
 * A run as a text: for people and books (`csv`, `json`), or for the transaction builder of a Safe: what pays it (`safe`),
 * and what makes sure that it can never be paid any more (`safe-cancel`).
 */
export function exportRun(detail: RunDetail, format: ExportFormat, tools: ExportTools): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(withoutRaw(detail), (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value), 2)}\n`;
    case "csv":
      return [csvLine(CSV_COLUMNS), ...detail.lines.map(csvRow)].map((row) => `${row}\n`).join("");
    case "safe":
    case "safe-cancel":
      return `${JSON.stringify(safeFile(detail, tools, format), undefined, 2)}\n`;
  }
}

/** Without the signed bytes: whoever has them can send them. */
export function withoutRaw({ run, lines, intents }: RunDetail): object {
  return {
    run,
    lines,
    intents: intents.map((intent) => ({
      ...intent,
      transactions: intent.transactions.map(({ raw: _raw, ...shown }) => shown),
    })),
  };
}

function csvRow(line: PayoutLine): string {
  return csvLine([
    line.run,
    line.id,
    line.worker,
    line.payTo,
    line.amountWei,
    line.gasShareWei,
    line.asset,
    line.sendAmount,
    line.method,
    line.state,
    line.txHash,
    line.reason,
  ]);
}

/** What only the multisig can pay, and nobody knows yet what it did with: an asset is decided in one. */
export function leftOf(lines: readonly PayoutLine[]): readonly PayoutLine[] {
  return lines.filter((line) => line.method === "safe" && line.state === "planned");
}

/** The file of the Safe's transaction builder. The batch contract takes each batch once, so that one of the two files is of use. */
function safeFile({ run, lines }: RunDetail, tools: ExportTools, format: "safe" | "safe-cancel"): SafeFile {
  const payments = run.state === "exported" ? leftOf(lines) : lines.filter((line) => line.method === "safe");
  const { calls, batchContract } = tools;
  if (payments.length === 0 || batchContract === undefined) {
    throw new PoolError(
      { code: "payout/wrong-state" },
      `Run ${run.id} is not paid by a multisig: plan it with --payout-method safe.`,
    );
  }
  const write = format === "safe" ? paymentOf : cancellationOf;
  const file: SafeFile = {
    version: "1.0",
    chainId: String(run.chainId),
    createdAt: run.createdAtMs,
    meta: {
      name: format === "safe" ? `Open Pool payout ${run.id}` : `Cancels Open Pool payout ${run.id}`,
      description:
        format === "safe"
          ? `${payments.length} payments, worth ${formatEth(payments.reduce((sum, line) => sum + line.amountWei, 0n))} ETH in all`
          : "Pays nobody, and makes the payout impossible",
      createdFromSafeAddress: run.payer,
      createdFromOwnerAddress: "",
    },
    transactions: [...groupByAsset(payments)].flatMap(([asset, of]) =>
      write(calls, batchContract, batchIdOf(run.id, asset), asset, of),
    ),
  };
  return withChecksum(file, (text) => calls.keccak(text));
}

/** A call of the batch contract for each asset, so that the chain says who was paid. */
function paymentOf(
  calls: Calls,
  batchContract: WorkerAddress,
  batch: Hex,
  asset: Asset,
  lines: readonly PayoutLine[],
): readonly SafeTransaction[] {
  const entries = lines.map((line) => ({ to: line.payTo, amount: line.sendAmount }));
  const sum = lines.reduce((total, line) => total + line.sendAmount, 0n);
  return asset === "eth"
    ? [{ to: batchContract, value: String(sum), data: calls.payEth(batch, entries) }]
    : [
        { to: asset, value: "0", data: calls.tokenApprove(batchContract, sum) },
        { to: batchContract, value: "0", data: calls.payToken(batch, asset, entries) },
      ];
}

/**
 * Spends the id of a batch on payments of nothing to the batch contract itself, which takes none: one more than the batch
 * has. So the chain says that none of its places was paid, and that this was no payment that all payees refused.
 */
function cancellationOf(
  calls: Calls,
  batchContract: WorkerAddress,
  batch: Hex,
  _asset: Asset,
  lines: readonly PayoutLine[],
): readonly SafeTransaction[] {
  const nothing = Array.from({ length: lines.length + 1 }, () => ({ to: batchContract, amount: 0n }));
  return [{ to: batchContract, value: "0", data: calls.payEth(batch, nothing) }];
}
