import { type Clock, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { MostLately } from "./most-lately.ts";

test("the most counts for a window at least and for two at most, also where nobody asked meanwhile", () => {
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
  const places = new MostLately(clock, 10_000);
  const mostAt = (ms: number): number => {
    nowMs = ms;
    return places.most;
  };
  expect(mostAt(0)).toBe(0);
  nowMs = 9_000;
  places.current = 8;
  places.current = 3;
  expect([mostAt(9_000), mostAt(18_999), mostAt(20_000)]).toEqual([8, 8, 3]);
  places.current = 5;
  places.current = 1;
  expect([mostAt(39_000), mostAt(70_000)]).toEqual([5, 1]);
  places.current = 9;
  places.current = 2;
  expect(mostAt(95_000)).toBe(2);
});
