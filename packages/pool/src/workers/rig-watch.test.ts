import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { RigWatch } from "./rig-watch.ts";

test("that no rig is there is told when it lasts, since when, and once; that one is there again at once", () => {
  const clock = stoppedClock("2026-11-22T08:00:00.000Z");
  const watch = new RigWatch(clock);
  const look = (connections: number, laterMs = 0): string | undefined => {
    clock.advance(laterMs);
    return watch.look(connections)?.type;
  };
  expect([look(0), look(0, 60_000), look(2, 59_000), look(1)]).toEqual([
    undefined,
    undefined,
    "pool.has-rigs",
    undefined,
  ]);
  // A moment without any is none.
  expect([look(0), look(1, 119_000), look(0)]).toEqual([undefined, undefined, undefined]);
  clock.advance(120_000);
  expect(watch.look(0)).toEqual({ type: "pool.no-rigs", data: { since: "2026-11-22T08:03:58.000Z" } });
  expect([look(0, 1e6), look(1), look(1)]).toEqual([undefined, "pool.has-rigs", undefined]);
});
