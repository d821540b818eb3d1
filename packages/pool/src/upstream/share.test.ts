import fc from "fast-check";
import { expect, test } from "vitest";
import { limitFor, type Sharer, shareFor } from "./share.ts";

const present = (sessions: number): Sharer => ({ sessions, present: true });
const absent = (sessions: number): Sharer => ({ sessions, present: false });
const ten = [{ capacity: 10, capabilities: 1n, version: "0.9.0", staying: 0, trusted: 0, sessions: 0 }];
const gateways = present(2);

test("an orchestrator is offered what nobody else uses or is owed next", () => {
  expect(shareFor(ten, 0, [present(4), gateways])).toEqual([{ capacity: 3, capabilities: 1n, version: "0.9.0" }]);
  expect(shareFor(ten, 0, [absent(4), gateways])).toMatchObject([{ capacity: 4 }]);
  expect(shareFor(ten, 0, [absent(0)])).toMatchObject([{ capacity: 10 }]);
});

test("all sources together are given no more than there may be sessions", () => {
  const offered = (own: number, others: readonly Sharer[], maxSessions: number) =>
    shareFor(ten, own, others, own, maxSessions).map(({ capacity }) => capacity);
  expect(offered(0, [absent(0)], 4)).toEqual([4]);
  expect(offered(2, [present(2)], 4)).toEqual([2]);
  expect(offered(0, [absent(0)], 99)).toEqual([10]);
  // What runs goes on.
  expect(offered(6, [present(0)], 4)).toEqual([6]);
});

test("what it uses itself stays offered, and one session while anybody works", () => {
  expect(shareFor(ten, 6, [present(8), gateways])).toMatchObject([{ capacity: 6 }]);
  expect(shareFor(ten, 0, [present(20), gateways])).toMatchObject([{ capacity: 1 }]);
  expect(shareFor([], 4, [present(0), gateways])).toEqual([]);
});

test("what it uses on rigs that take nobody new stays offered until it ends, and nothing beyond it", () => {
  const [four] = ten.map((one) => ({ ...one, capacity: 4, staying: 3 }));
  const offered = (sessions: number, own = sessions) =>
    shareFor([{ ...four!, sessions }], own, [], Math.max(1, own)).map(({ capacity }) => capacity);
  expect([9, 7, 6, 5, 4, 0].map((sessions) => offered(sessions))).toEqual([[7], [7], [6], [5], [4], [4]]);
  const leaving = { ...four!, capacity: 0 };
  expect(shareFor([{ ...leaving, sessions: 2 }], 2, [], 7)).toMatchObject([{ capacity: 2 }]);
  expect(shareFor([leaving], 0, [], 7)).toEqual([]);
});

test("sessions beyond what it was told are no reason to offer more: an end is not always heard of", () => {
  expect(shareFor(ten, 19, [gateways], 6)).toMatchObject([{ capacity: 7 }]);
  expect(shareFor(ten, 19, [present(6)], 6)).toMatchObject([{ capacity: 6 }]);
});

test("with fewer places than streams each comes to an equal share as streams end, and never are more places given than there are", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 30 }),
      fc.integer({ min: 2, max: 5 }),
      fc.array(fc.nat(), { minLength: 100, maxLength: 100 }),
      (capacity, sources, picks) => {
        const used = Array.from({ length: sources }, () => 0);
        const total = (): number => used.reduce((sum, one) => sum + one, 0);
        const mayEnter = (source: number): boolean => {
          const others = used.filter((_, i) => i !== source).map(present);
          return used[source]! < limitFor(capacity, used[source]!, others);
        };
        // The first one is alone for a while and has more streams than there are places.
        while (mayEnter(0)) used[0]!++;
        for (const pick of picks) {
          const ending = used.indexOf(Math.max(...used));
          used[ending]!--;
          // Everybody tries to come in, in any order.
          for (let i = 0; i < sources; i++) {
            const source = (pick + i) % sources;
            if (mayEnter(source)) used[source]!++;
          }
          expect(total()).toBeLessThanOrEqual(capacity);
        }
        expect(Math.min(...used)).toBeGreaterThanOrEqual(Math.floor(capacity / sources));
      },
    ),
  );
});
