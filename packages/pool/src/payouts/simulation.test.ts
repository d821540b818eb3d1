import { expect, test } from "vitest";
import { simulatePayouts } from "./testing/simulate.ts";

/** Seeds that once found something; they stay. */
const REMEMBERED: readonly number[] = [1113, 1469, 201_026, 207_037];

test("in a bad world with a crash at any await nobody is paid twice or forgotten, and it always comes to an end", async () => {
  let crashes = 0;
  let halts = 0;
  let restores = 0;
  let moves = 0;
  let executed = 0;
  let payToChanges = 0;
  let paidInToken = 0n;
  for (const seed of [...REMEMBERED, ...Array.from({ length: 300 }, (_, i) => i + 1)]) {
    const result = await simulatePayouts(seed);
    crashes += result.crashes;
    halts += result.halts;
    restores += result.restores;
    moves += result.moves;
    executed += result.executed;
    payToChanges += result.payToChanges;
    paidInToken += result.paidInToken;
  }
  // A world in which nothing goes wrong proves nothing.
  expect(crashes).toBeGreaterThan(100);
  expect(halts).toBeGreaterThan(10);
  expect(restores).toBeGreaterThan(50);
  expect(moves).toBeGreaterThan(50);
  expect(executed).toBeGreaterThan(100);
  expect(payToChanges).toBeGreaterThan(100);
  expect(paidInToken).toBeGreaterThan(0n);
}, 300_000);
