import fc from "fast-check";

/**
 * Property tests try the same cases in every run, so that a change is judged by what it changed. `TEST_SEED=<n>` tries
 * others, `npm run soak` many: what they find becomes a test of its own. `TEST_RUNS=<n>` tries so many times as many.
 */
const factor = Number(process.env["TEST_RUNS"] ?? 1);

/** So many cases, or milliseconds for them, as `TEST_RUNS` multiplies them. */
export function times(number: number): number {
  return Math.ceil(number * factor);
}

fc.configureGlobal({ seed: Number(process.env["TEST_SEED"] ?? 20_261_121), numRuns: times(100) });
