import { csvLine } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { StatementRow } from "../../store/ledger-store.ts";
import type { BooksView } from "./ports.ts";

/** The columns of a statement as CSV, for ever in this order; new ones come at the end. */
export const STATEMENT_COLUMNS = [
  "id",
  "time",
  "kind",
  "amount_wei",
  "state",
  "release_at",
  "terms_version",
  "rig",
  "job",
  "segments",
  "pixels",
  "shape",
  "price_per_unit_wei",
  "pixels_per_unit",
  "fee_wei",
  "commission_wei",
  "scheme",
  "transaction",
  "reason",
  "eth_price",
  "eth_price_currency",
] as const;

const PAGE = 1_000;

function line(row: StatementRow): string {
  const data = row.data ?? {};
  const hash = data["transaction"] ?? data["hash"] ?? data["txHash"];
  return `${csvLine([
    row.id,
    new Date(row.atMs).toISOString(),
    row.kind,
    row.amountWei,
    row.state,
    row.releaseAtMs === undefined ? undefined : new Date(row.releaseAtMs).toISOString(),
    row.termsVersion,
    row.rig,
    row.job,
    row.segments,
    row.pixels,
    row.shape,
    row.pricePerUnitWei,
    row.pixelsPerUnit,
    row.feeWei,
    row.commissionWei,
    row.scheme,
    typeof hash === "string" && /^0x[0-9a-f]{64}$/i.test(hash) ? hash : undefined,
    typeof data["reason"] === "string" ? data["reason"].slice(0, 300) : undefined,
    row.ethPrice?.perEth,
    row.ethPrice?.currency,
  ])}\r\n`;
}

/** A worker's statement as CSV, page by page, so that a long one never lies in memory. */
export async function* statementCsv(
  books: BooksView,
  worker: WorkerAddress,
  range: { readonly fromMs?: number | undefined; readonly toMs?: number | undefined },
): AsyncGenerator<string> {
  yield `${STATEMENT_COLUMNS.join(",")}\r\n`;
  let cursor: string | undefined;
  do {
    const page = await books.statement(worker, range, cursor, PAGE);
    if (page.rows.length > 0) yield page.rows.map(line).join("");
    cursor = page.next;
  } while (cursor !== undefined);
}
