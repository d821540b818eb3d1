import type { PoolAnswer, Windows } from "@openpool/protocol";
import { expect, test } from "vitest";
import { earnedPerDayWei, pixelsPerDay, workPrice } from "./calculator.ts";

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

test("work is reckoned at what was really charged, where others than the pool may set the price", () => {
  type Given = Parameters<typeof workPrice>[0];
  const none = { feeWei: "0", pixels: "0" };
  const pool = (priceSource: PoolAnswer["terms"]["priceSource"], windows: object): Given => ({
    price: { pricePerUnitWei: "1200", pixelsPerUnit: "1" },
    // Of both only what is read here.
    terms: { priceSource } as PoolAnswer["terms"],
    windows: { "24h": none, "7d": none, "30d": none, ...windows } as Windows,
  });
  const own = { pricePerUnitWei: 1200n, pixelsPerUnit: 1n, window: undefined };
  const week = { "7d": { feeWei: "700", pixels: "2" } };
  expect(workPrice(pool("configured", week))).toEqual(own);
  expect(workPrice(pool("upstream", {}))).toEqual(own);
  expect(workPrice(pool("upstream", week))).toEqual({ pricePerUnitWei: 700n, pixelsPerUnit: 2n, window: "7d" });
  const day = { ...week, "24h": { feeWei: "3", pixels: "1" } };
  expect(workPrice(pool("upstream", day)).window).toBe("24h");
});
