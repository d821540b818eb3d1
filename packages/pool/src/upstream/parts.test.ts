import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_PARTS, type PartLoad, planParts } from "./parts.ts";

const part = (capacity: number, sessions: number, fits = true): PartLoad => ({ capacity, sessions, fits });
const settled = { openCapacity: 0, leave: [] };

test("what is right stays as it is", () => {
  expect(planParts([], 0)).toEqual(settled);
  expect(planParts([part(20, 0)], 20)).toEqual(settled);
  expect(planParts([part(20, 9), part(4, 0)], 24)).toEqual(settled);
});

test("the first registration has everything", () => {
  expect(planParts([], 20)).toEqual({ openCapacity: 20, leave: [] });
});

test("more places are one more registration, and nobody moves", () => {
  expect(planParts([part(20, 20)], 24)).toEqual({ openCapacity: 4, leave: [] });
  expect(planParts([part(20, 1), part(4, 0)], 30)).toEqual({ openCapacity: 6, leave: [] });
});

test("fewer places cost a registration that nobody uses", () => {
  const [main, extra, other] = [part(20, 10), part(4, 0), part(2, 1)];
  expect(planParts([main, extra, other], 22)).toEqual({ openCapacity: 0, leave: [extra] });
  // It was larger than the difference: the rest of it comes back.
  expect(planParts([main, extra, other], 25)).toEqual({ openCapacity: 3, leave: [extra] });
});

test("where all are used, those of the fewest sessions give way", () => {
  const [main, extra] = [part(20, 10), part(4, 3)];
  expect(planParts([main, extra], 21)).toEqual({ openCapacity: 1, leave: [extra] });
  expect(planParts([main, extra], 12)).toEqual({ openCapacity: 8, leave: [main] });
  expect(planParts([main, extra], 3)).toEqual({ openCapacity: 3, leave: [main, extra] });
});

test("other capabilities or another version are told anew, of everything", () => {
  const [main, extra] = [part(20, 10, false), part(4, 3, false)];
  expect(planParts([main, extra], 24)).toEqual({ openCapacity: 24, leave: [main, extra] });
  const fresh = part(24, 2);
  expect(planParts([main, fresh], 24)).toEqual({ openCapacity: 0, leave: [main] });
});

test("while nothing runs one registration is enough", () => {
  const [main, extra] = [part(20, 0), part(4, 0)];
  expect(planParts([main, extra], 24)).toEqual({ openCapacity: 24, leave: [main, extra] });
  expect(planParts([main], 24)).toEqual({ openCapacity: 24, leave: [main] });
});

test("nothing to offer leaves all", () => {
  const parts = [part(20, 3), part(4, 0)];
  expect(planParts(parts, 0)).toEqual({ openCapacity: 0, leave: parts });
});

test("whatever comes, what was wanted is offered, by few registrations, and the next plan has nothing to do", () => {
  const load = fc.record({ capacity: fc.integer({ min: 1, max: 20 }), sessions: fc.nat(20), fits: fc.boolean() });
  fc.assert(
    fc.property(fc.array(load, { maxLength: MAX_PARTS }), fc.integer({ min: 0, max: 200 }), (parts, capacity) => {
      const plan = planParts(parts, capacity);
      const kept = parts.filter((one) => !plan.leave.includes(one));
      expect(plan.openCapacity).toBeGreaterThanOrEqual(0);
      const next = [...kept, ...(plan.openCapacity > 0 ? [part(plan.openCapacity, 0)] : [])];
      expect(next.reduce((sum, one) => sum + one.capacity, 0)).toBe(capacity);
      expect(next.every(({ fits }) => fits)).toBe(true);
      expect(next.length).toBeLessThanOrEqual(MAX_PARTS);
      // Sessions that move come back to where there is room.
      const moved = plan.leave.reduce((sum, one) => sum + one.sessions, 0);
      const after = next.map((one, i) => (i === next.length - 1 ? { ...one, sessions: one.sessions + moved } : one));
      expect(planParts(after, capacity)).toEqual(settled);
    }),
  );
});
