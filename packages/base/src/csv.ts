/**
 * A line of a CSV file (RFC 4180), without its end. A cell is quoted where it must be, and text that a spreadsheet would run
 * as a formula begins with an apostrophe: people type reasons. Numbers stay as they are, undefined is an empty cell.
 */
export function csvLine(cells: readonly (string | number | bigint | undefined)[]): string {
  return cells.map(cell).join(",");
}

function cell(value: string | number | bigint | undefined): string {
  if (value === undefined) return "";
  const text = typeof value === "string" && /^[=+@\t\r-]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
