import { formatEth, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { Calls } from "./ports.ts";
import { batchIdOf, groupByAsset } from "./settlement.ts";
import type { ExportFormat, Hex, PayoutLine, RunDetail } from "./types.ts";

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

/** A run as a text: for people and books (`csv`, `json`), or for the transaction builder of a Safe (`safe`). */
export function exportRun(detail: RunDetail, format: ExportFormat, tools: ExportTools): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(detail, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value), 2)}\n`;
    case "csv":
      return [CSV_COLUMNS.join(","), ...detail.lines.map(csvRow)].map((row) => `${row}\n`).join("");
    case "safe":
      return `${JSON.stringify(safeBatch(detail, tools), undefined, 2)}\n`;
  }
}

function csvRow(line: PayoutLine): string {
  const cells = [
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
    line.txHash ?? "",
    line.reason ?? "",
  ];
  return cells.map((cell) => csvCell(String(cell))).join(",");
}

/** Quoted where it has to be; text that a spreadsheet would run as a formula gets an apostrophe. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

interface SafeTransaction {
  readonly to: string;
  readonly value: string;
  readonly data: Hex;
}

/** The file of the Safe's transaction builder: a call of the batch contract for each asset, so that the chain says who was paid. */
function safeBatch({ run, lines }: RunDetail, { calls, batchContract }: ExportTools): object {
  const payments = lines.filter((line) => line.method === "safe");
  if (payments.length === 0 || batchContract === undefined) {
    throw new PoolError(
      { code: "payout/wrong-state" },
      `Run ${run.id} is not paid by a multisig: plan it with --payout-method safe.`,
    );
  }
  const transactions = [...groupByAsset(payments)].flatMap(([asset, of]): SafeTransaction[] => {
    const batch = batchIdOf(run.id, asset);
    const entries = of.map((line) => ({ to: line.payTo, amount: line.sendAmount }));
    const sum = of.reduce((total, line) => total + line.sendAmount, 0n);
    return asset === "eth"
      ? [{ to: batchContract, value: String(sum), data: calls.payEth(batch, entries) }]
      : [
          { to: asset, value: "0", data: calls.tokenApprove(batchContract, sum) },
          { to: batchContract, value: "0", data: calls.payToken(batch, asset, entries) },
        ];
  });
  return {
    version: "1.0",
    chainId: String(run.chainId),
    createdAt: run.createdAtMs,
    meta: {
      name: `Open Pool payout ${run.id}`,
      description: `${payments.length} payments, worth ${formatEth(run.totalWei)} ETH in all`,
      createdFromSafeAddress: run.payer,
    },
    transactions,
  };
}
