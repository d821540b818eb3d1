import type { SolvencyFacts, SolvencyReport, SolvencyWarning } from "../income/solvency.ts";
import type { FloatNow } from "../payouts/types.ts";
import type { Watched } from "./reader.ts";

/** What is asked of a running pool. */
export interface PoolNow {
  readonly halts: readonly { readonly name: string; readonly reason: string }[];
  /** What the last check of the books found; undefined: there was none yet. */
  readonly violations: readonly string[] | undefined;
  /** What there is to say of what workers are owed; undefined: nobody could say. */
  readonly solvency:
    | (Pick<SolvencyReport, "warnings"> & { readonly facts: Pick<SolvencyFacts, "chain" | "payoutBalanceWei"> })
    | undefined;
  /** Connections of rigs. */
  readonly rigs: number;
  /** What the paying account holds of what it pays in; undefined: nobody could look yet. */
  readonly floats: readonly FloatNow[] | undefined;
}

/** Of solvency, what cannot wait until somebody looks by himself. */
const TOLD: readonly SolvencyWarning[] = ["reserve-negative", "hook-holds"];

/** What is wrong with a running pool, and of what nobody knows. */
export function watchedProblems({ halts, violations, solvency, rigs, floats }: PoolNow): Watched {
  const parts = solvency ? [solvency.facts.chain, solvency.facts.payoutBalanceWei] : [];
  const low = floats?.filter((one) => one.state === "low") ?? [];
  const problems: Watched["problems"] = [
    ...halts.map(({ name, reason }) => ({
      kind: "halt" as const,
      subject: name,
      data: { code: name, message: reason },
    })),
    ...(violations !== undefined && violations.length > 0
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
  const unknown: Watched["unknown"] = [
    ...(violations === undefined ? [{ kind: "solvency" as const, subject: "" }] : []),
    ...(solvency === undefined ? TOLD.map((subject) => ({ kind: "solvency" as const, subject })) : []),
    // Where the operator has nothing looked at any more, nobody says that it is missing either.
    ...(parts.includes("unknown") ? [{ kind: "solvency" as const, subject: "reserve-negative" }] : []),
    ...(floats === undefined ? [{ kind: "low-float" as const, subject: "" }] : []),
  ];
  return { problems, unknown };
}
