import { describe, expect, test } from "vitest";
import { nextTime } from "./schedule.ts";

/** The times of a schedule behind a moment, in UTC. */
function timesOf(schedule: string, timeZone: string, after: string, count: number): readonly string[] {
  const times: string[] = [];
  let afterMs = Date.parse(after);
  for (let i = 0; i < count; i++) {
    const next = nextTime(schedule, timeZone, afterMs);
    if (next === undefined) break;
    times.push(new Date(next).toISOString().replace(":00.000Z", "Z"));
    afterMs = next;
  }
  return times;
}

test("Mondays at six are Mondays at six of the time zone, in summer and in winter", () => {
  expect(timesOf("0 6 * * 1", "Europe/Berlin", "2026-10-18T00:00:00Z", 3)).toEqual([
    "2026-10-19T04:00Z",
    "2026-10-26T05:00Z",
    "2026-11-02T05:00Z",
  ]);
  expect(timesOf("0 6 * * 1", "America/New_York", "2026-03-01T00:00:00Z", 3)).toEqual([
    "2026-03-02T11:00Z",
    "2026-03-09T10:00Z",
    "2026-03-16T10:00Z",
  ]);
  expect(timesOf("30 6 * * *", "Asia/Kolkata", "2026-06-01T00:00:00Z", 2)).toEqual([
    "2026-06-01T01:00Z",
    "2026-06-02T01:00Z",
  ]);
});

describe("when the clocks go forward", () => {
  test("a time that the night skips is kept once, as soon as there is one", () => {
    // 2026-03-29 has no 02:30 in Berlin: from 02:00 (01:00 UTC) it is 03:00.
    const times = timesOf("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
    expect(times).toEqual(["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
  });

  test("every day around it has one payout, also where clocks go half an hour", () => {
    const zone = "Australia/Lord_Howe";
    const day = new Intl.DateTimeFormat("sv", { timeZone: zone });
    for (const from of ["2026-04-01T00:00:00Z", "2026-10-01T00:00:00Z"]) {
      const days = timesOf("15 2 * * *", zone, from, 7).map((time) => day.format(new Date(time)));
      expect([from, new Set(days).size]).toEqual([from, 7]);
      expect(Date.parse(days.at(-1) ?? "") - Date.parse(days[0] ?? "")).toBe(6 * 24 * 60 * 60 * 1000);
    }
  });
});

describe("when the clocks go back", () => {
  test("a time that the night has twice is kept once", () => {
    // 2026-10-25 has 02:30 at 00:30 UTC and at 01:30 UTC in Berlin.
    const times = timesOf("30 2 * * *", "Europe/Berlin", "2026-10-24T01:00:00Z", 2);
    expect(times).toEqual(["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
  });

  test("asked between the two, the next one is that of the next day", () => {
    expect(timesOf("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", 1)).toEqual(["2026-10-26T01:30Z"]);
  });
});

describe("ends of months", () => {
  test("a month without a 31st is left out", () => {
    expect(timesOf("0 6 31 * *", "UTC", "2026-01-15T00:00:00Z", 4)).toEqual([
      "2026-01-31T06:00Z",
      "2026-03-31T06:00Z",
      "2026-05-31T06:00Z",
      "2026-07-31T06:00Z",
    ]);
  });

  test("the last day of a month is written L, and follows leap years", () => {
    expect(timesOf("0 6 L * *", "UTC", "2028-01-15T00:00:00Z", 3)).toEqual([
      "2028-01-31T06:00Z",
      "2028-02-29T06:00Z",
      "2028-03-31T06:00Z",
    ]);
  });

  test("a 29th of February comes every four years", () => {
    expect(timesOf("0 6 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2)).toEqual(["2028-02-29T06:00Z", "2032-02-29T06:00Z"]);
  });

  test("the first of a month is that of the time zone", () => {
    expect(timesOf("0 0 1 * *", "Pacific/Auckland", "2026-11-15T00:00:00Z", 2)).toEqual([
      "2026-11-30T11:00Z",
      "2026-12-31T11:00Z",
    ]);
  });
});

test("a day that no month has never comes", () => {
  expect(nextTime("0 6 31 2 *", "UTC", Date.parse("2026-01-01T00:00:00Z"))).toBeUndefined();
});

test.each([
  ["no cron expression", "every monday", "UTC"],
  ["seconds", "0 0 6 * * 1", "UTC"],
  ["too few fields", "0 6 * *", "UTC"],
  ["an hour that no day has", "0 24 * * *", "UTC"],
  ["nothing", "", "UTC"],
  ["a place that is no time zone", "0 6 * * 1", "Europe/Nowhere"],
])("%s is refused, and said how to write it", (_what, schedule, timeZone) => {
  expect(() => nextTime(schedule, timeZone, 0)).toThrow(/payout\/bad-schedule.*write five fields/);
});
