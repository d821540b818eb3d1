import fc from "fast-check";

/**
 * Whatever goes by chance goes the same way in every run, so that a change is judged by what it changed. `TEST_SEED=<n>` tries
 * other cases, `npm run soak` many: what they find becomes a test of its own. `TEST_RUNS=<n>` tries so many times as many.
 */
export const seed = Number(process.env["TEST_SEED"] ?? 20_261_121);
const factor = Number(process.env["TEST_RUNS"] ?? 1);

/** So many cases, or milliseconds for them, as `TEST_RUNS` multiplies them. */
export function times(number: number): number {
  return Math.ceil(number * factor);
}

fc.configureGlobal({ seed, numRuns: times(100) });

/** A small fast generator with a seed: the same seed is the same world. */
export function seeded(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
