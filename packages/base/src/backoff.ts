export interface BackoffOptions {
  /** First delay, in milliseconds. */
  readonly initialMs: number;
  readonly factor: number;
  /** Longest delay before jitter, in milliseconds. */
  readonly maxMs: number;
  /** Share of the delay by which it may differ either way, 0 to 1. */
  readonly jitter: number;
}

export interface Backoff {
  /** The next delay, in milliseconds. */
  next(): number;
  /** Back to the first delay; call it when things went well for a while. */
  reset(): void;
}

/** Exponential backoff with jitter, so that many clients of a restarted server do not return in step. */
export function createBackoff(options: BackoffOptions, random: () => number = Math.random): Backoff {
  let delayMs = options.initialMs;
  return {
    next() {
      const jittered = delayMs * (1 + options.jitter * (2 * random() - 1));
      delayMs = Math.min(delayMs * options.factor, options.maxMs);
      return jittered;
    },
    reset() {
      delayMs = options.initialMs;
    },
  };
}
