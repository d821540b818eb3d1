import { quietHoursSchema } from "@openpool/protocol";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { afterQuietHours } from "./quiet-hours.ts";

const berlin = { from: "22:00", to: "07:00", timeZone: "Europe/Berlin" };
const at = (text: string): number => Date.parse(text);

describe("quiet hours", () => {
  test.each([
    ["before them it is said at once", "2026-01-10T20:59:30Z", "2026-01-10T20:59:30Z"],
    ["in the evening it waits for the morning", "2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"],
    ["after midnight it waits for the same morning", "2026-01-11T05:59:00Z", "2026-01-11T06:00:00Z"],
    ["at their end it is said", "2026-01-11T06:00:00Z", "2026-01-11T06:00:00Z"],
    ["in summer they follow the wall clock", "2026-07-10T20:30:00Z", "2026-07-11T05:00:00Z"],
    ["a night in which clocks go forward is an hour shorter", "2026-03-28T22:00:00Z", "2026-03-29T06:00:00Z"],
  ])("%s", (_name, ready, said) => {
    expect(new Date(afterQuietHours(berlin, at(ready))).toISOString()).toBe(new Date(said).toISOString());
  });

  test("without any, or of no length, everything is said at once", () => {
    expect(afterQuietHours(undefined, 5)).toBe(5);
    expect(afterQuietHours({ from: "08:00", to: "08:00", timeZone: "UTC" }, 5)).toBe(5);
  });

  test("what they put off is never said earlier, and at most a day and an hour later", () => {
    const time = fc
      .tuple(fc.nat(23), fc.nat(59))
      .map(([h, m]) => `${String(h).padStart(2, "0")}:${String(m).padStart(2, "0")}`);
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe");
    fc.assert(
      fc.property(time, time, zone, fc.integer({ min: 1.7e12, max: 1.9e12 }), (from, to, timeZone, ms) => {
        const said = afterQuietHours({ from, to, timeZone }, ms);
        expect(said).toBeGreaterThanOrEqual(ms);
        expect(said).toBeLessThanOrEqual(ms + 25 * 3_600_000);
      }),
    );
  });

  test("knows wall times and time zones from other text", () => {
    const known = (from: string, timeZone: string): boolean =>
      quietHoursSchema.safeParse({ from, to: "07:00", timeZone }).success;
    expect(["00:00", "23:59", "24:00", "7:00", "07:60", "noon"].filter((text) => known(text, "UTC"))).toEqual([
      "00:00",
      "23:59",
    ]);
    expect(["UTC", "Europe/Berlin", "Mars/Olympus"].filter((zone) => known("22:00", zone))).toEqual([
      "UTC",
      "Europe/Berlin",
    ]);
  });
});
