import type { WatchedProblem } from "./reader.ts";

/** What is asked of a running pool. */
export interface PoolNow {
  readonly halts: readonly { readonly name: string; readonly reason: string }[];
  /** What the last check of the books found. */
  readonly violations: readonly string[];
  /** Connections of rigs. */
  readonly rigs: number;
  readonly totals: { readonly owedWei: bigint; readonly payingWei: bigint };
  /** Undefined: this pool pays nobody, or not in ETH. */
  readonly payouts: { readonly balanceWei: bigint | undefined } | undefined;
}

/** What is wrong with a running pool. */
export function watchedProblems({ halts, violations, rigs, totals, payouts }: PoolNow): readonly WatchedProblem[] {
  const dueWei = totals.owedWei + totals.payingWei;
  const balanceWei = payouts?.balanceWei;
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
    ...(balanceWei !== undefined && balanceWei < dueWei
      ? [
          {
            kind: "low-float" as const,
            data: {
              message: `It holds ${balanceWei} wei, and ${dueWei} wei are owed: the next payout may not go through.`,
              balanceWei: balanceWei.toString(),
              dueWei: dueWei.toString(),
            },
          },
        ]
      : []),
    ...(rigs === 0 ? [{ kind: "no-workers" as const, data: {} }] : []),
  ];
}
