import type { StatementRow } from "../../store/ledger-store.ts";
import type { Columns } from "./csv-file.ts";

const timeOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();

/** Of the facts of a row only what has the form of a transaction's hash. */
function hashOf({ data = {} }: StatementRow): string | undefined {
  const hash = data["transaction"] ?? data["hash"] ?? data["txHash"];
  return typeof hash === "string" && /^0x[0-9a-f]{64}$/i.test(hash) ? hash : undefined;
}

function reasonOf({ data = {} }: StatementRow): string | undefined {
  const reason = data["reason"];
  return typeof reason === "string" ? reason.slice(0, 300) : undefined;
}

/** A worker's statement: `docs/money.md` says what the columns mean. */
export const STATEMENT: Columns<StatementRow> = [
  ["id", (row) => row.id],
  ["time", (row) => timeOf(row.atMs)],
  ["kind", (row) => row.kind],
  ["amount_wei", (row) => row.amountWei],
  ["state", (row) => row.state],
  ["release_at", (row) => timeOf(row.releaseAtMs)],
  ["terms_version", (row) => row.termsVersion],
  ["rig", (row) => row.rig],
  ["job", (row) => row.job],
  ["segments", (row) => row.segments],
  ["pixels", (row) => row.pixels],
  ["shape", (row) => row.shape],
  ["price_per_unit_wei", (row) => row.pricePerUnitWei],
  ["pixels_per_unit", (row) => row.pixelsPerUnit],
  ["fee_wei", (row) => row.feeWei],
  ["commission_wei", (row) => row.commissionWei],
  ["scheme", (row) => row.scheme],
  ["transaction", hashOf],
  ["reason", reasonOf],
  ["eth_price", (row) => row.ethPrice?.perEth],
  ["eth_price_currency", (row) => row.ethPrice?.currency],
];
