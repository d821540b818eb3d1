import { ApiError } from "./problem.ts";

/** A cursor that readers cannot take apart for meaning: they only give it back. */
export function encodeCursor(parts: readonly (string | number | null)[]): string {
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

export function decodeCursor(
  text: string | undefined,
  length: number,
): readonly (string | number | null)[] | undefined {
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
    const fits = (one: unknown): boolean => one === null || typeof one === "string" || Number.isFinite(one);
    if (Array.isArray(parsed) && parsed.length === length && parsed.every(fits)) {
      return parsed as (string | number | null)[];
    }
  } catch {
    // Said below.
  }
  throw new ApiError({ code: "api/bad-cursor" }, "Give back `next` of the page before, unchanged, or leave it out.");
}

/** A row of a list that is sorted by a value and then by name. */
export interface Keyed<T> {
  readonly item: T;
  /** It is not here now: such rows come behind all others, in either order. */
  readonly away: boolean;
  /** Null: no value; always last. */
  readonly value: number | string | null;
  readonly name: string;
}

type Place = Omit<Keyed<unknown>, "item">;

/** Which of two rows comes first. */
function placeOrder(order: "asc" | "desc"): (a: Place, b: Place) => number {
  const sign = order === "asc" ? 1 : -1;
  return (a, b) => {
    if (a.away !== b.away) return a.away ? 1 : -1;
    if (a.value !== b.value) {
      if (a.value === null) return 1;
      if (b.value === null) return -1;
      return a.value < b.value ? -sign : sign;
    }
    return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  };
}

export function sortedBy<T>(rows: readonly Keyed<T>[], order: "asc" | "desc"): readonly Keyed<T>[] {
  return rows.toSorted(placeOrder(order));
}

/**
 * One page of rows sorted by value. The cursor is the place of the last row, so that rows which move between two questions
 * shift nothing.
 */
export function pageOf<T>(
  rows: readonly Keyed<T>[],
  {
    order,
    limit,
    cursor,
  }: { readonly order: "asc" | "desc"; readonly limit: number; readonly cursor?: string | undefined },
): { readonly items: readonly T[]; readonly next: string | null; readonly start: number } {
  const compare = placeOrder(order);
  const sorted = rows.toSorted(compare);
  const after = decodeCursor(cursor, 3);
  let start = 0;
  if (after !== undefined) {
    const [away, value, name] = after;
    const from = { away: away === 1, value: value ?? null, name: String(name) };
    const found = sorted.findIndex((row) => compare(row, from) > 0);
    start = found === -1 ? sorted.length : found;
  }
  const page = sorted.slice(start, start + limit);
  const last = page.at(-1);
  return {
    items: page.map((row) => row.item),
    next: last && start + limit < sorted.length ? encodeCursor([last.away ? 1 : 0, last.value, last.name]) : null,
    start,
  };
}
