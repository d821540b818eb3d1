import { misfit, needOf } from "@openpool/protocol";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Supply } from "../dispatch/types.ts";
import { capacityOf, limitOffers, MAX_ABILITIES, type Offer, offersOf, type Wanted } from "./offers.ts";

const offer = (capacity: number, capabilities: bigint, version = "0.9.1"): Offer => ({
  capacity,
  capabilities,
  version,
});
const supply = (capacity: number, capabilities: bigint, version = "0.9.1", staying = 0, trusted = 0): Supply => ({
  ...offer(capacity, capabilities, version),
  staying,
  trusted,
});
const wanted = (capacity: number, capabilities: bigint, sessions = 0): Wanted => ({
  ...supply(capacity, capabilities),
  sessions,
});

describe("what is announced of workers", () => {
  test("is each ability that some of them have, with the places of all that have just that", () => {
    expect(offersOf([supply(4, 0b011n), supply(1, 0b101n), supply(2, 0b011n)])).toEqual([
      supply(6, 0b011n),
      supply(1, 0b101n),
    ]);
  });

  test("is only what a transcoder does, and no version newer than ours", () => {
    expect(offersOf([supply(3, 1n | (1n << 35n), "7.0.0"), supply(1, 1n), supply(2, 1n << 35n)])).toEqual([
      supply(4, 1n),
    ]);
    expect(offersOf([supply(1, 1n, "0.8.8"), supply(1, 1n, "undefined")]).map(({ version }) => version)).toEqual([
      "",
      "0.8.8",
    ]);
  });

  test("of more abilities than there may be, those of the fewest are offered as what they have in common with others", () => {
    const many = Array.from({ length: MAX_ABILITIES }, (_, i) => supply(10 + i, 1n | (1n << BigInt(i + 1))));
    // It counts for the largest of those that ask less of it; nobody else loses anything.
    const able = offersOf([...many, supply(2, 0b1111n)]);
    expect(able).toHaveLength(MAX_ABILITIES);
    expect(able.find(({ capabilities }) => capabilities === 0b1001n)).toEqual(supply(14, 0b1001n));
    // Nobody asks less of it: the two smallest stand for what both can do.
    const other = offersOf([...many, supply(2, 0b1000_0000_0001n)]);
    expect(other.find(({ capabilities }) => capabilities === 1n)).toEqual(supply(12, 1n));
  });

  test("is never a registration that nothing fits: who has nothing in common with others is left out where there are too many", () => {
    const many = Array.from({ length: MAX_ABILITIES }, (_, i) => supply(10 + i, 1n << BigInt(i)));
    expect(offersOf([...many, supply(2, 1n << 20n)])).toEqual(many);
    // The next one that it has something in common with is not the next smallest.
    expect(offersOf([...many, supply(2, 0b11_1000n)]).map(({ capacity }) => capacity)).toEqual([
      10, 11, 12, 13, 14, 17,
    ]);
  });

  test("stays what was told while two abilities are about as frequent, and changes when one is twice so", () => {
    const many = Array.from({ length: MAX_ABILITIES - 1 }, (_, i) => supply(30 + i, 1n | (1n << BigInt(i))));
    const [one, other] = [1n | (1n << 10n), 1n | (1n << 11n)];
    const at = (a: number, b: number, told: readonly Offer[] = []) =>
      offersOf([...many, supply(a, one), supply(b, other)], told);
    const told = at(5, 4);
    const abilities = (of: readonly Offer[]) => of.map(({ capabilities }) => capabilities);
    expect(abilities(told)).not.toEqual(abilities(at(4, 5)));
    for (const [a, b] of [
      [4, 5],
      [5, 7],
      [3, 5],
    ] as const)
      expect(abilities(at(a, b, told))).toEqual(abilities(told));
    expect(abilities(at(3, 7, told))).not.toEqual(abilities(told));
  });

  test("is first what trusted workers can do, whatever others claim", () => {
    const claimed = Array.from({ length: MAX_ABILITIES }, (_, i) => supply(10_000, 1n | (1n << BigInt(i + 10))));
    const honest = supply(3, 0b111n, "0.9.1", 0, 3);
    expect(offersOf([...claimed, honest])).toContainEqual(honest);
  });

  test("is nothing that no worker can do, and not more of anything than its workers have places", () => {
    const capabilities = fc.integer({ min: 0, max: 63 }).map(BigInt);
    const version = fc.constantFrom("0.9.1", "0.9.0", "0.8.8", "", "undefined", "7.1.0");
    const group = fc.record({ capacity: fc.nat(20), capabilities, version, staying: fc.nat(9), trusted: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(group, { maxLength: 20 }), capabilities, version, (groups, needed, minVersion) => {
        const need = needOf(needed, minVersion);
        const offers = offersOf(groups);
        const fits = (able: readonly Supply[]): number =>
          capacityOf(able.filter((one) => misfit(one, need) === undefined));
        expect(fits(offers)).toBeLessThanOrEqual(fits(groups));
        expect(offers.length).toBeLessThanOrEqual(MAX_ABILITIES);
        expect(offersOf(groups.toReversed())).toEqual(offers);
        // Whoever can do anything at all counts, unless there are too many who have nothing in common.
        const able = groups.filter((one) => one.capabilities > 0n);
        if (able.every((one) => (one.capabilities & 1n) !== 0n)) expect(capacityOf(offers)).toBe(capacityOf(able));
        expect(offers.filter((one) => one.capabilities === 0n || one.capacity + one.staying === 0)).toEqual([]);
      }),
    );
  });
});

describe("fewer places than there are", () => {
  test("are taken from each ability in proportion, and the rarest keeps one", () => {
    expect(limitOffers([wanted(90, 1n), wanted(10, 3n)], 50)).toEqual([offer(45, 1n), offer(5, 3n)]);
    expect(limitOffers([wanted(99, 1n), wanted(1, 3n)], 50)).toEqual([offer(49, 1n), offer(1, 3n)]);
    expect(limitOffers([wanted(99, 1n), wanted(1, 3n)], 1)).toEqual([offer(1, 1n)]);
    expect(limitOffers([wanted(4, 1n), wanted(1, 3n)], 9)).toEqual([offer(4, 1n), offer(1, 3n)]);
  });

  test("are not taken where they are used, as long as others can give", () => {
    expect(limitOffers([wanted(6, 1n), wanted(6, 3n, 5)], 6)).toEqual([offer(1, 1n), offer(5, 3n)]);
    expect(limitOffers([wanted(6, 1n, 3), wanted(6, 3n, 5)], 6)).toMatchObject([{ capacity: 3 }, { capacity: 3 }]);
  });

  test("are all given, whatever is used", () => {
    const one = fc.record({ capacity: fc.integer({ min: 1, max: 50 }), sessions: fc.nat(60) });
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 1, maxLength: MAX_ABILITIES }),
        fc.integer({ min: 1, max: 400 }),
        (all, limit) => {
          const offers = all.map(({ capacity, sessions }, i) => wanted(capacity, BigInt(i + 1), sessions));
          const limited = limitOffers(offers, limit);
          expect(capacityOf(limited)).toBe(Math.min(limit, capacityOf(offers)));
          for (const { capacity, capabilities } of limited) {
            expect(capacity).toBeGreaterThan(0);
            expect(capacity).toBeLessThanOrEqual(all[Number(capabilities) - 1]!.capacity);
          }
        },
      ),
    );
  });
});
