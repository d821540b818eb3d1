import { expect, test } from "vitest";
import { HourCount } from "./hour-count.ts";

const MINUTE_MS = 60_000;

test("what happened in the last hour is counted, and what is older is not", () => {
  const count = new HourCount();
  const startMs = 1_000 * MINUTE_MS;
  for (let minute = 0; minute < 300; minute++) count.add(startMs + minute * MINUTE_MS, 2);
  const sum = count.sum(startMs + 299 * MINUTE_MS);
  expect(sum).toBeGreaterThanOrEqual(2 * 55);
  expect(sum).toBeLessThanOrEqual(2 * 60);
  expect(count.sum(startMs + 330 * MINUTE_MS)).toBeLessThanOrEqual(2 * 30);
  expect(count.sum(startMs + 400 * MINUTE_MS)).toBe(0);
  count.add(startMs + 10_000 * MINUTE_MS);
  expect(count.sum(startMs + 10_000 * MINUTE_MS)).toBe(1);
});
