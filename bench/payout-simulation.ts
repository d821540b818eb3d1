/**
 * Runs the payout simulation for many seeds: `npx tsx --conditions=source bench/payout-simulation.ts [FROM] [COUNT]`.
 * A seed that fails is printed with what went wrong; run it again alone to look into it.
 */
import { simulatePayouts } from "../packages/pool/src/payouts/testing/simulate.ts";

const [from = 1, count = 5_000] = process.argv.slice(2).map(Number);
const sums = { crashes: 0, halts: 0, restores: 0, runs: 0, lostIntents: 0, versions: 0, payToChanges: 0 };
let failed = 0;
const startedMs = performance.now();
for (let seed = from; seed < from + count; seed++) {
  try {
    const result = await simulatePayouts(seed);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key];
  } catch (error) {
    failed += 1;
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}
const seconds = Math.round((performance.now() - startedMs) / 1000);
process.stdout.write(`${JSON.stringify({ seeds: count, failed, seconds, ...sums })}\n`);
process.exitCode = failed === 0 ? 0 : 1;
