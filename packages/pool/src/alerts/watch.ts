import type { FloatNow } from "../payouts/types.ts";
import type { WatchedProblem } from "./reader.ts";

/** What is asked of a running pool. */
export interface PoolNow {
  readonly halts: readonly { readonly name: string; readonly reason: string }[];
  /** What the last check of the books found. */
  readonly violations: readonly string[];
  /** Connections of rigs. */
  readonly rigs: number;
  /** What the paying account holds of what it pays in. */
  readonly floats: readonly FloatNow[];
}

/** What is wrong with a running pool. */
export function watchedProblems({ halts, violations, rigs, floats }: PoolNow): readonly WatchedProblem[] {
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
    ...(low.length > 0
      ? [{ kind: "low-float" as const, data: { message: low.flatMap((one) => one.text ?? []).join("; ") } }]
      : []),
    ...(rigs === 0 ? [{ kind: "no-workers" as const, data: {} }] : []),
  ];
}
