import { expect, test } from "vitest";
import { stoppedClock } from "./clock.ts";
import { createEventBudget } from "./event-budget.ts";

test("a peer may cause a burst of events and then one every so often, each peer for itself", () => {
  const clock = stoppedClock();
  const allowed = createEventBudget({ burst: 3, perMinute: 6 }, clock);
  expect([1, 2, 3, 4].map(() => allowed("mallory"))).toEqual([true, true, true, false]);
  expect(allowed("ada")).toBe(true);
  clock.advance(9_999);
  expect(allowed("mallory")).toBe(false);
  clock.advance(10_000);
  expect(allowed("mallory")).toBe(true);
  expect(allowed("mallory")).toBe(false);
  clock.advance(3_600_000);
  expect([1, 2, 3, 4].map(() => allowed("mallory"))).toEqual([true, true, true, false]);
});
