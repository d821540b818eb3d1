import { expect, test } from "vitest";
import type { Offer } from "./offers.ts";
import { Telling } from "./telling.ts";

const offer = (capacity: number, changed: Partial<Offer> = {}): readonly Offer[] => [
  { capacity, capabilities: 1n, version: "0.9.1", ...changed },
];
/** One that was told this at the time 0. */
const told = (capacity: number): Telling => {
  const telling = new Telling();
  expect(telling.tell(offer(capacity), offer(capacity), 0)).toBe(true);
  return telling;
};
/** The times in seconds at which it is told something, asked every second; unless said, all there is is wanted. */
const tellings = (
  telling: Telling,
  seconds: number,
  wantedAt: (second: number) => readonly Offer[],
  knownAt = wantedAt,
): number[] =>
  Array.from({ length: seconds }, (_, i) => i + 1).filter((second) =>
    telling.tell(wantedAt(second), knownAt(second), second * 1_000),
  );

test("what is there first is told at once, and the same never again", () => {
  expect(tellings(told(10), 60, () => offer(10))).toEqual([]);
});

test("a notable change is told after a second, a small one after a while", () => {
  expect(told(10).tell(offer(20), offer(20), 900)).toBe(false);
  expect(tellings(told(10), 20, () => offer(20))).toEqual([1]);
  expect(tellings(told(10), 20, () => offer(8))).toEqual([1]);
  expect(tellings(told(100), 20, () => offer(105))).toEqual([10]);
  expect(tellings(told(100), 20, () => offer(95))).toEqual([10]);
});

test("other capabilities and another version are notable changes", () => {
  for (const change of [{ version: "0.8.8" }, { capabilities: 3n }, { capabilities: 0n }]) {
    expect(tellings(told(10), 20, () => offer(10, change))).toEqual([1]);
  }
});

test("a share that is smaller while the places are there is told when it is much, or after half a minute", () => {
  const all = () => offer(20);
  expect(tellings(told(10), 60, () => offer(7), all)).toEqual([1]);
  expect(tellings(told(10), 60, () => offer(8), all)).toEqual([30]);
  expect(tellings(told(2), 60, () => offer(1), all)).toEqual([30]);
  // Each stream of somebody else moves it by one; what is larger moves nobody.
  expect(tellings(told(10), 60, (second) => offer(9 + (second % 2)), all)).toEqual([30]);
  expect(tellings(told(10), 60, () => offer(12), all)).toEqual([1]);
  // An ability that others may have now.
  const [more] = offer(1, { capabilities: 3n });
  const both = new Telling();
  expect(both.tell([...offer(10), more!], [...offer(20), more!], 0)).toBe(true);
  expect(
    tellings(
      both,
      60,
      () => offer(10),
      () => [...offer(20), more!],
    ),
  ).toEqual([30]);
  // Places that are not there are told of as ever.
  expect(
    tellings(
      told(10),
      60,
      () => offer(8),
      () => offer(9),
    ),
  ).toEqual([1]);
});

test("an ability that comes or goes is a notable change, however few have it", () => {
  const [more] = offer(1, { capabilities: 3n });
  expect(tellings(told(100), 20, () => [...offer(100), more!])).toEqual([1]);
  expect(tellings(told(100), 20, (second) => (second < 5 ? [...offer(100), more!] : offer(100)))).toEqual([1, 5]);
});

test("the loss of everything is told when it lasts, and what comes then at once", () => {
  const telling = told(10);
  expect(tellings(telling, 60, (second) => (second % 5 === 0 ? offer(10) : []))).toEqual([]);
  expect(telling.tell([], [], 61_000)).toBe(false);
  expect(telling.tell([], [], 66_000)).toBe(true);
  expect(telling.tell(offer(1), offer(1), 66_001)).toBe(true);
});

test("what comes and goes is told later each time, and in the end not any more", () => {
  const telling = told(20);
  // Four seconds there, four seconds not: the first time a second is enough, then two, then it would take four.
  expect(tellings(telling, 58, (second) => offer(second % 8 < 4 ? 25 : 20))).toEqual([1, 4, 10, 12]);
  // When it stays it is told, and when it goes that is told soon.
  expect(telling.tell(offer(25), offer(25), 59_000)).toBe(false);
  expect(telling.tell(offer(25), offer(25), 63_000)).toBe(true);
  expect(telling.tell(offer(20), offer(20), 64_000)).toBe(true);
});
