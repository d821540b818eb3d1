import { expect, test } from "vitest";
import { earnedPerDayWei, pixelsPerDay } from "./calculator.ts";

const day = { ladder: "usual", fps: 30, streams: 2, hours: 24 } as const;

test("a day's pixels are those of every rendition, frame and stream", () => {
  expect(pixelsPerDay(day)).toBe((426n * 240n + 640n * 360n + 1280n * 720n) * 30n * 2n * 86_400n);
  expect(pixelsPerDay({ ...day, hours: 0.5 })).toBe(pixelsPerDay({ ...day, hours: 24 }) / 48n);
});

test("what it earns is the fee less the commission, in whole wei", () => {
  const price = { pricePerUnitWei: 7n, pixelsPerUnit: 3n };
  const feeWei = (pixelsPerDay(day) * 7n) / 3n;
  expect(earnedPerDayWei(day, price, 250_000)).toBe(feeWei - feeWei / 4n);
  expect(earnedPerDayWei({ ...day, streams: 0 }, price, 250_000)).toBe(0n);
});
