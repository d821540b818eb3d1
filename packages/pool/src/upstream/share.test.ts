import { expect, test } from "vitest";
import { shareFor, worthTelling } from "./share.ts";

const room = { capacity: 10, capabilities: 0x4005fffn | (1n << 35n), gatewaySessions: 2 };

test("an orchestrator is offered what nobody else uses, and only what a transcoder does", () => {
  expect(shareFor(room, 0, 3)).toEqual({ capacity: 5, capabilities: 0x4005fffn });
});

test("what it uses itself stays offered, and one session while anybody works", () => {
  expect(shareFor(room, 6, 8)).toMatchObject({ capacity: 6 });
  expect(shareFor(room, 0, 20)).toMatchObject({ capacity: 1 });
  expect(shareFor({ ...room, capacity: 0 }, 4, 0)).toBeUndefined();
});

test.each([
  ["the first offer at once", undefined, 10, 0, true],
  ["the same never", 10, 10, 60_000, false],
  ["a notable change after a second", 10, 20, 1_000, true],
  ["but not sooner", 10, 20, 900, false],
  ["a small change after a while", 100, 105, 1_000, false],
  ["but then", 100, 105, 10_000, true],
  ["the loss of everything when it lasts", 10, undefined, 1_000, false],
  ["for some seconds", 10, undefined, 5_000, true],
] as const)("an orchestrator is told %s", (_name, told, wanted, sinceMs, expected) => {
  const offer = (capacity: number | undefined) => (capacity === undefined ? undefined : { capacity, capabilities: 1n });
  expect(worthTelling(offer(told), offer(wanted), sinceMs)).toBe(expected);
});
