import type { ReactNode } from "react";

export interface Column<Row> {
  readonly head: ReactNode;
  /** The heading is for those who cannot see what stands below it. */
  readonly quiet?: boolean | undefined;
  /** Of heading and cells: `num`, and `hide-s` or `hide-m` on narrow screens. */
  readonly className?: string | undefined;
  readonly sorted?: "ascending" | "descending" | undefined;
  readonly cell: (row: Row) => ReactNode;
}

/** Rows with a heading each column. `mark` names a row for programs, as `data-…`. */
export function Table<Row>(props: {
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  readonly rowKey: (row: Row) => string;
  readonly mark?: (row: Row) => Readonly<Record<`data-${string}`, string>>;
  readonly className?: string;
  /** What the rows are, for those who cannot see it. */
  readonly caption?: string;
}): ReactNode {
  return (
    <table className={`table ${props.className ?? ""}`}>
      {props.caption !== undefined && <caption className="sr-only">{props.caption}</caption>}
      <thead>
        <tr>
          {props.columns.map(({ head, quiet, className, sorted }, i) => (
            <th key={i} className={className} aria-sort={sorted}>
              {quiet === true ? <span className="sr-only">{head}</span> : head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {props.rows.map((row) => (
          <tr key={props.rowKey(row)} {...props.mark?.(row)}>
            {props.columns.map(({ className, cell }, i) => (
              <td key={i} className={className}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
