import type { Clock } from "./clock.ts";

/** Peers remembered at once; a flood of made-up names costs no more memory than this. */
const MAX_KEYS = 10_000;

/**
 * How many events one peer may cause: a bucket per key, so that hostile or broken peers cannot fill the log. Answers
 * whether one more is allowed now.
 */
export function createEventBudget(
  limits: { readonly burst: number; readonly perMinute: number },
  clock: Clock,
): (key: string) => boolean {
  const buckets = new Map<string, { left: number; atMs: number }>();
  return (key) => {
    const now = clock.monotonicMs();
    const bucket = buckets.get(key) ?? { left: limits.burst, atMs: now };
    bucket.left = Math.min(limits.burst, bucket.left + ((now - bucket.atMs) / 60_000) * limits.perMinute);
    bucket.atMs = now;
    // The least recently seen goes first.
    buckets.delete(key);
    buckets.set(key, bucket);
    if (buckets.size > MAX_KEYS) buckets.delete(buckets.keys().next().value!);
    if (bucket.left < 1) return false;
    bucket.left--;
    return true;
  };
}
