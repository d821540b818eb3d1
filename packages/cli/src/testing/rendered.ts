/** What a terminal of this size shows after such output: the few sequences that the demo's view is made of, and no others. */
export interface Rendered {
  readonly rows: readonly string[];
  /** In the alternate screen, from which a terminal comes back to what it showed before. */
  readonly alternate: boolean;
  readonly cursorShown: boolean;
  /** What would make a calm view scroll or wrap. */
  readonly mistakes: readonly string[];
}

export function rendered(output: string, size: { readonly columns: number; readonly rows: number }): Rendered {
  let rows = Array.from({ length: size.rows }, () => "");
  let alternate = false;
  let cursorShown = true;
  let row = 0;
  let column = 0;
  const mistakes: string[] = [];
  // oxlint-disable-next-line no-control-regex -- the escape character is what sequences begin with
  for (const [part, args = "", final = ""] of output.matchAll(/\u001b\[([?0-9;]*)([A-Za-z])|[^]/gu)) {
    if (part.startsWith("\u001b[")) {
      if (final === "H") [row = 1, column = 1] = args.split(";").map(Number);
      if (final === "H" && row > size.rows) mistakes.push(`row ${row}`);
      if (final === "H") [row, column] = [row - 1, column - 1];
      if (final === "K") rows[row] = (rows[row] ?? "").slice(0, column);
      if (final === "J") rows = rows.map(() => "");
      if (args === "?1049") alternate = final === "h";
      if (args === "?25") cursorShown = final === "h";
    } else if (alternate) {
      if (/\p{Cc}/u.test(part)) mistakes.push(`control character ${part.codePointAt(0)}`);
      rows[row] = (rows[row] ?? "").padEnd(column).slice(0, column) + part + (rows[row] ?? "").slice(column + 1);
      if (++column > size.columns) mistakes.push(`row ${row + 1} is too long`);
    }
  }
  return { rows, alternate, cursorShown, mistakes };
}
