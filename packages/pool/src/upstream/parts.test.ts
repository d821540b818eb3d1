import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_PARTS, type PartLoad, planOffers, planParts } from "./parts.ts";

const part = (capacity: number, sessions: number): PartLoad => ({ capacity, sessions });
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
  const load = fc.record({ capacity: fc.integer({ min: 1, max: 20 }), sessions: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(load, { maxLength: MAX_PARTS }), fc.integer({ min: 0, max: 200 }), (parts, capacity) => {
      const plan = planParts(parts, capacity);
      const kept = parts.filter((one) => !plan.leave.includes(one));
      expect(plan.openCapacity).toBeGreaterThanOrEqual(0);
      const next = [...kept, ...(plan.openCapacity > 0 ? [part(plan.openCapacity, 0)] : [])];
      expect(next.reduce((sum, one) => sum + one.capacity, 0)).toBe(capacity);
      expect(next.length).toBeLessThanOrEqual(MAX_PARTS);
      // Sessions that move come back to where there is room.
      const moved = plan.leave.reduce((sum, one) => sum + one.sessions, 0);
      const after = next.map((one, i) => (i === next.length - 1 ? { ...one, sessions: one.sessions + moved } : one));
      expect(planParts(after, capacity)).toEqual(settled);
    }),
  );
});

describe("several abilities", () => {
  const plain = { capabilities: 1n, version: "0.9.1" };
  const more = { capabilities: 3n, version: "0.9.1" };
  const of = (ability: typeof plain, capacity: number, sessions: number) => ({
    ...part(capacity, sessions),
    offer: { ...ability, capacity },
  });

  test("are a registration each, and one that is new moves nobody", () => {
    const running = of(plain, 20, 20);
    expect(
      planOffers(
        [running],
        [
          { ...plain, capacity: 20 },
          { ...more, capacity: 4 },
        ],
      ),
    ).toEqual({
      abilities: [
        { open: undefined, leave: [] },
        { open: { ...more, capacity: 4 }, leave: [] },
      ],
      over: [],
    });
  });

  test("are left when nobody has them any more, whatever runs there", () => {
    const [running, over] = [of(plain, 20, 20), of(more, 4, 4)];
    expect(planOffers([running, over], [{ ...plain, capacity: 20 }])).toEqual({
      abilities: [{ open: undefined, leave: [] }],
      over: [over],
    });
  });

  test("are left for one that includes them, when that is there", () => {
    const running = of(plain, 4, 4);
    const offered = { ...more, capacity: 4 };
    expect(planOffers([running], [offered])).toEqual({ abilities: [{ open: offered, leave: [running] }], over: [] });
  });

  test("share the registrations that there may be", () => {
    const parts = Array.from({ length: MAX_PARTS / 2 }, (_, i) => of(plain, i + 1, 1));
    const offers = [
      { ...plain, capacity: 40 },
      { ...more, capacity: 4 },
    ];
    const [grown] = planOffers(parts, offers).abilities;
    expect(parts.length - (grown?.leave.length ?? 0) + 1).toBeLessThanOrEqual(MAX_PARTS / 2);
  });

  test("give way to new ones where they are too many, though nothing else of them changes", () => {
    const parts = Array.from({ length: MAX_PARTS }, (_, i) => of(plain, 2, i % 3));
    const [own, added] = planOffers(parts, [
      { ...plain, capacity: 2 * MAX_PARTS },
      { ...more, capacity: 4 },
    ]).abilities;
    expect(own?.leave).toHaveLength(MAX_PARTS / 2 + 1);
    expect(own?.open).toEqual({ ...plain, capacity: MAX_PARTS + 2 });
    expect(added?.open).toEqual({ ...more, capacity: 4 });
  });
});
