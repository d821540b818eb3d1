import { type ExitCode, exitCode } from "../io.ts";
import { count } from "../text/words.ts";
import type { PaidAll } from "./payouts.ts";

/** What came of looking at the books: `late` in the time there is for it, `cut-short` because somebody wanted the end. */
export type BooksSaid = "right" | "wrong" | "late" | "cut-short";

export interface HowItWent {
  readonly poolDied: boolean;
  /** Why not everything that was credited was paid, when somebody wanted it to end. */
  readonly unpaid: string | undefined;
  /** Undefined: nothing was, or could be, paid. */
  readonly paid: (PaidAll & { readonly books: BooksSaid }) | undefined;
  /** So many segments were to be pushed; undefined: until told to stop. */
  readonly wanted: number | undefined;
  readonly done: number;
  /** Segments that were lost or came back wrong. */
  readonly bad: number;
  /** Segments that workers were credited. */
  readonly credited: number;
}

/** The last lines of a demo, and whether it was a success: never by what nobody looked at. */
export function endingOf(how: HowItWent): {
  readonly code: ExitCode;
  readonly lines: readonly string[];
  readonly error?: string;
} {
  const { poolDied, unpaid, paid, wanted, done, bad, credited } = how;
  const failed = (...lines: readonly string[]) => ({ code: exitCode.failed, lines });
  if (unpaid !== undefined) return failed(`it ended before everything was paid: ${unpaid}`);
  if (poolDied) return failed();
  if (paid?.books === "wrong")
    return failed("the books are not right: `openpool ledger check` above says what differs");
  if (paid?.books === "late") return failed("the books were not checked: `openpool ledger check` did not end in time");
  const lines: string[] = [];
  if (paid) {
    if (paid.books === "cut-short") lines.push("the books were not checked: it was told to end meanwhile");
    lines.push(`paid ${paid.paidWei} of ${paid.creditedWei} credited to ${paid.workers} workers in ${paid.hash}`);
    if (paid.paidWei !== paid.creditedWei) return failed(...lines);
  }
  if (wanted === undefined) return { code: bad === 0 ? exitCode.ok : exitCode.failed, lines };
  if (done === wanted && credited === wanted) return { code: exitCode.ok, lines };
  if (done !== wanted) return failed(...lines);
  return { ...failed(...lines), error: `${count(credited, "segment")} were credited, ${wanted} came back` };
}
