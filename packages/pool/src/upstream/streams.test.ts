import { type Clock, systemClock } from "@openpool/base";
import { needOf } from "@openpool/protocol";
import { expect, test } from "vitest";
import { OrchestratorLives } from "./life.ts";
import type { NotifiedBy } from "./part.ts";
import { Streams } from "./streams.ts";

test("a stream whose registration is gone has the time of three of its segments to come again, and ten seconds at least", async () => {
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
  const streams = new Streams("upstream:main", clock, () => {});
  const gone: NotifiedBy = {
    opening: await new OrchestratorLives().opening("", () => Promise.resolve(true)),
    secret: "",
    offer: { capabilities: 1n, version: "", capacity: 1 },
    gone: true,
  };
  const quote = { price: { pricePerUnitWei: 1n, pixelsPerUnit: 1n }, source: "configured" } as const;
  for (const durationMs of [2_000, 12_000]) {
    const task = {
      kind: "task" as const,
      taskId: 0n,
      url: "",
      manifestId: Buffer.from(`of ${durationMs}`),
      sessionId: `of ${durationMs}`,
      seq: 0n,
      durationMs,
      profiles: [],
      need: needOf(1n),
      clip: undefined,
      perceptualHash: false,
      forceSessionReinit: false,
    };
    const key = streams.of(task, gone, quote);
    streams.enter(key);
    streams.leave(key, true);
  }
  const countAt = (ms: number): number => {
    nowMs = ms;
    streams.expire(true);
    return streams.count;
  };
  expect([9_999, 10_000, 35_999, 36_000].map(countAt)).toEqual([2, 1, 1, 0]);
});
