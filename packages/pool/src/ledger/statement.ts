import { csvLine } from "@openpool/base";
/** A row of a statement, as the store gives it; `docs/money.md` explains every column. */
export interface StatementEntry {
  readonly id: string;
  readonly atMs: number;
  readonly kind: string;
  readonly amountWei: bigint;
  readonly state: string;
  readonly termsVersion: number;
  readonly releaseAtMs: number | undefined;
  readonly rig: string | undefined;
  readonly job: string | undefined;
  readonly segments: number | undefined;
  readonly pixels: bigint | undefined;
  readonly pricePerUnitWei: bigint | undefined;
  readonly pixelsPerUnit: bigint | undefined;
  readonly feeWei: bigint | undefined;
  readonly commissionWei: bigint | undefined;
  readonly shape: string | undefined;
  readonly scheme: string | undefined;
  readonly data: Readonly<Record<string, unknown>> | undefined;
  readonly ethPrice: { readonly currency: string; readonly perEth: string } | undefined;
}

type Cell = string | number | bigint | undefined;

/** Columns, in the order of the CSV. New ones come at the end; none is ever renamed or taken away. */
const columns = {
  time: (row) => new Date(row.atMs).toISOString(),
  kind: (row) => row.kind,
  id: (row) => row.id,
  rig: (row) => row.rig,
  job: (row) => row.job,
  segments: (row) => row.segments,
  pixels: (row) => row.pixels,
  shape: (row) => row.shape,
  price_per_unit_wei: (row) => row.pricePerUnitWei,
  pixels_per_unit: (row) => row.pixelsPerUnit,
  fee_wei: (row) => row.feeWei,
  commission_wei: (row) => row.commissionWei,
  amount_wei: (row) => row.amountWei,
  state: (row) => row.state,
  scheme: (row) => row.scheme,
  terms_version: (row) => row.termsVersion,
  release_at: (row) => (row.releaseAtMs === undefined ? undefined : new Date(row.releaseAtMs).toISOString()),
  reference: referenceOf,
  details: (row) =>
    row.data === undefined || Object.keys(row.data).length === 0 ? undefined : JSON.stringify(row.data),
  eth_price: (row) => row.ethPrice?.perEth,
  eth_price_currency: (row) => row.ethPrice?.currency,
} satisfies Record<string, (row: StatementEntry) => Cell>;

export const statementColumns = Object.keys(columns);

/** What a person would look for: of a payout its transaction, of an adjustment its reason. */
function referenceOf({ data }: StatementEntry): string | undefined {
  for (const key of ["hash", "transaction", "reason", "ref", "note"]) {
    const value = data?.[key];
    if (typeof value === "string") return value;
  }
  return undefined;
}

/** The first line of a CSV. */
export function statementCsvHead(): string {
  return `${csvLine(statementColumns)}\r\n`;
}

/** One line of a CSV (RFC 4180). */
export function statementCsvLine(row: StatementEntry): string {
  return `${csvLine(Object.values(columns).map((cell) => cell(row)))}\r\n`;
}

/** The same columns as JSON: wei and pixels as decimal strings, what does not apply left out. */
export function statementJson(row: StatementEntry): Record<string, unknown> {
  const all = Object.entries(columns).map(([name, cell]): [string, unknown] => {
    const value: Cell = cell(row);
    return [name, typeof value === "bigint" ? value.toString() : value];
  });
  return { ...Object.fromEntries(all.filter(([, value]) => value !== undefined)), details: row.data };
}
