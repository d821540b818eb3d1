import { expect, test } from "vitest";
import { createUuidV7 } from "./uuid.ts";

test("ids are UUIDv7 of their time, and only grow, also when the clock steps back or thousands share a millisecond", () => {
  let now = Date.parse("2026-01-01T00:00:00Z");
  const next = createUuidV7(() => now);
  const ids = [next()];
  expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Number.parseInt((ids[0] ?? "").replace("-", "").slice(0, 12), 16)).toBe(now);
  for (let i = 0; i < 10_000; i++) ids.push(next());
  now -= 60_000;
  ids.push(next());
  now += 120_000;
  ids.push(next());
  expect(ids).toEqual(ids.toSorted());
  expect(new Set(ids).size).toBe(ids.length);
});
