import { setImmediate as turn } from "node:timers/promises";
import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { startHeartbeat } from "./heartbeat.ts";

test("what is read by a process that runs came at its last beat", async () => {
  const clock = stoppedClock();
  await using heartbeat = startHeartbeat(clock);
  clock.advance(100);
  await turn();
  clock.advance(60);
  expect(heartbeat.arrivedMs()).toBe(100);
  clock.advance(40);
  await turn();
  expect(heartbeat.arrivedMs()).toBe(200);
});

/** A process whose clock goes on while it does nothing: its timer runs late, and then it reads what came meanwhile. */
async function standStill(forMs: number) {
  let nowMs = 0;
  let beat = (): void => {};
  const clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    after: (_delayMs: number, callback: () => void) => {
      beat = callback;
      return () => {};
    },
  };
  const heartbeat = startHeartbeat(clock);
  nowMs = 100;
  beat();
  await turn();
  nowMs += forMs;
  beat();
  return { heartbeat, nowMs };
}

test("what is read first by a process that stood still came when it began to stand still, what is read next came now", async () => {
  const { heartbeat, nowMs } = await standStill(2_500);
  expect(heartbeat.arrivedMs()).toBe(100);
  await turn();
  expect(heartbeat.arrivedMs()).toBe(nowMs);
  await heartbeat[Symbol.asyncDispose]();
});

test("who stood still for so long that all would be too late does not give up what came at the end of it", async () => {
  const { heartbeat, nowMs } = await standStill(60_000);
  expect(heartbeat.arrivedMs()).toBe(nowMs - 3_000);
  await heartbeat[Symbol.asyncDispose]();
});
