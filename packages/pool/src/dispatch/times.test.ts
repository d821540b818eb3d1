import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Times, TimesByKind } from "./times.ts";

const cost = fc.double({ min: 0.001, max: 100, noNaN: true });

describe("times", () => {
  test("quantiles are exact over the last 32 samples", () => {
    fc.assert(
      fc.property(
        fc.array(cost, { minLength: 1, maxLength: 100 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (all, share) => {
          const times = new Times();
          for (const one of all) times.add(one);
          const kept = all.slice(-32);
          expect(times.samples()).toEqual(kept);
          expect(times.count).toBe(all.length);
          const sorted = [...kept].sort((a, b) => a - b);
          expect(times.quantile(share)).toBe(sorted[Math.max(0, Math.ceil(share * kept.length) - 1)]);
        },
      ),
    );
  });

  test("the mean follows a rig that became slower", () => {
    const times = new Times();
    for (let i = 0; i < 50; i++) times.add(0.2);
    expect(times.mean).toBeCloseTo(0.2);
    for (let i = 0; i < 20; i++) times.add(1);
    expect(times.mean).toBeGreaterThan(0.9);
  });

  test("without samples it answers 0", () => {
    expect(new Times().quantile(0.95)).toBe(0);
  });
});

test("only the most recently used kinds of work are kept", () => {
  const times = new TimesByKind(3);
  for (const kind of ["a", "b", "c", "a", "d"]) times.add(kind, 1);
  expect(Array.from(times.entries(), ([kind]) => kind)).toEqual(["c", "a", "d"]);
  expect(times.get("a")?.count).toBe(2);
  expect(times.get("b")).toBeUndefined();
});
