import type { Posting } from "../types.ts";

/** One posting an account, in the order of first mention, without those that move nothing. */
export function mergePostings(postings: readonly Posting[]): readonly Posting[] {
  const merged = new Map<string, bigint>();
  for (const { account, amountWei } of postings) merged.set(account, (merged.get(account) ?? 0n) + amountWei);
  return [...merged]
    .filter(([, amountWei]) => amountWei !== 0n)
    .map(([account, amountWei]) => ({ account, amountWei }));
}
