import { expect, test } from "vitest";
import { type BooksSaid, endingOf, type HowItWent } from "./ending.ts";

const hash = `0x${"12".repeat(32)}`;

function ended(books: BooksSaid, change: Partial<HowItWent> = {}): ReturnType<typeof endingOf> {
  const paid = { paidWei: 7n, creditedWei: 7n, workers: 2, hash, books };
  return endingOf({ poolDied: false, unpaid: undefined, paid, wanted: 20, done: 20, bad: 0, credited: 20, ...change });
}

const lastLine = `paid 7 of 7 credited to 2 workers in ${hash}`;

test("a demo that paid everything and found its books right says so last, and is a success", () => {
  expect(ended("right")).toEqual({ code: 0, lines: [lastLine] });
  expect(ended("right", { wanted: undefined, done: 3 })).toEqual({ code: 0, lines: [lastLine] });
});

test("books that are wrong, or were not checked in time, are no success, and the last line says why", () => {
  expect(ended("wrong")).toEqual({ code: 1, lines: [expect.stringContaining("the books are not right")] });
  expect(ended("late")).toEqual({ code: 1, lines: [expect.stringContaining("the books were not checked")] });
});

test("who ends a demo while it looks at the books is told that they were not checked, and has not failed", () => {
  expect(ended("cut-short")).toEqual({
    code: 0,
    lines: [expect.stringContaining("the books were not checked"), lastLine],
  });
});

test("no success either: not everything paid, lost segments, credits that are missing, a pool that died", () => {
  expect(ended("right", { unpaid: "no time" })).toEqual({
    code: 1,
    lines: ["it ended before everything was paid: no time"],
  });
  const part = { paidWei: 6n, creditedWei: 7n, workers: 2, hash, books: "right" } as const;
  expect(ended("right", { paid: part }).code).toBe(1);
  expect(ended("right", { done: 19 }).code).toBe(1);
  expect(ended("right", { wanted: undefined, bad: 1 }).code).toBe(1);
  expect(ended("right", { credited: 19 })).toMatchObject({ code: 1, error: "19 segments were credited, 20 came back" });
  expect(ended("right", { poolDied: true }).code).toBe(1);
});
