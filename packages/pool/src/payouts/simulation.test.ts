import { describe, expect, test } from "vitest";
import { crashEverywhere, runScenario } from "./testing/crash-sweep.ts";
import { scenarios } from "./testing/scenarios.ts";
import { chanceOf } from "./testing/sim-chance.ts";
import { simulatePayouts } from "./testing/simulate.ts";

/** Seeds that once found something; they stay. */
const REMEMBERED: readonly number[] = [1113, 1469, 201_026, 207_037];
/** Of all pairs of points at which a scenario can be crashed twice, so many; `bench/payout-proof.ts` tries many more. */
const PAIRS = 20;
/** And a crash at every so-manieth point: a prime, so that those before and those after a question have their turn. */
const STEP = 5;

describe.each(scenarios)("$name", (scenario) => {
  test("a crash before or after a question to store, chain or key, once or twice, pays everybody once", async () => {
    const { points, crashes } = await crashEverywhere((options) => runScenario(scenario, options), STEP);
    expect(points).toBeGreaterThan(500);
    expect(crashes).toBe(Math.ceil(points / STEP));
    const chance = chanceOf(1);
    for (let i = 0; i < PAIRS; i++) {
      const crashAt = [1 + Math.floor(chance() * points), 1 + Math.floor(chance() * points)];
      await runScenario(scenario, { crashAt });
    }
  }, 120_000);
});

test("in a bad world with a crash at any await nobody is paid twice or forgotten, and it always comes to an end", async () => {
  const sums = { crashes: 0, halts: 0, approvals: 0, restores: 0, moves: 0, executed: 0, payToChanges: 0 };
  let paidInToken = 0n;
  for (const seed of [...REMEMBERED, ...Array.from({ length: 300 }, (_, i) => i + 1)]) {
    const result = await simulatePayouts(seed);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key];
    paidInToken += result.paidInToken;
  }
  // A world in which nothing goes wrong proves nothing.
  expect(sums.crashes).toBeGreaterThan(100);
  expect(sums.halts).toBeGreaterThan(10);
  expect(sums.approvals).toBeGreaterThan(50);
  expect(sums.restores).toBeGreaterThan(50);
  expect(sums.moves).toBeGreaterThan(50);
  expect(sums.executed).toBeGreaterThan(100);
  expect(sums.payToChanges).toBeGreaterThan(100);
  expect(paidInToken).toBeGreaterThan(0n);
}, 300_000);
