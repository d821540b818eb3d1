import type { Solvency, SolvencyWarning } from "../income/solvency.ts";
import type { FloatNow } from "../payouts/types.ts";
import type { WatchedProblem } from "./reader.ts";

/** What is asked of a running pool. */
export interface PoolNow {
  readonly halts: readonly { readonly name: string; readonly reason: string }[];
  /** What the last check of the books found. */
  readonly violations: readonly string[];
  /** What there is to say of what workers are owed; undefined: nobody could say. */
  readonly solvency: Pick<Solvency, "warnings"> | undefined;
  /** Connections of rigs. */
  readonly rigs: number;
  /** What the paying account holds of what it pays in. */
  readonly floats: readonly FloatNow[];
}

/** Of solvency, what cannot wait until somebody looks by himself. */
const TOLD: readonly SolvencyWarning[] = ["reserve-negative", "hook-holds"];

/** What is wrong with a running pool. */
export function watchedProblems({ halts, violations, solvency, rigs, floats }: PoolNow): readonly WatchedProblem[] {
  const low = floats.filter((one) => one.state === "low");
  return [
    ...halts.map(({ name, reason }) => ({
      kind: "halt" as const,
      subject: name,
      data: { code: name, message: reason },
    })),
    ...(violations.length > 0
      ? [
          {
            kind: "solvency" as const,
            data: { message: violations.slice(0, 3).join("; "), violations: violations.length },
          },
        ]
      : []),
    ...(solvency?.warnings ?? [])
      .filter(({ code }) => TOLD.includes(code))
      .map(({ code, text }) => ({ kind: "solvency" as const, subject: code, data: { code, message: text } })),
    ...(low.length > 0
      ? [{ kind: "low-float" as const, data: { message: low.flatMap((one) => one.text ?? []).join("; ") } }]
      : []),
    ...(rigs === 0 ? [{ kind: "no-workers" as const, data: {} }] : []),
  ];
}
