import { stoppedClock } from "@openpool/base";
import type { RigName } from "@openpool/protocol";
import { expect, test } from "vitest";
import type { Job, JobOutcome, JobRendition } from "./job.ts";
import { Demand } from "./demand.ts";

const price = { pricePerUnitWei: 3n, pixelsPerUnit: 2n };
const done = (pixels: bigint): JobOutcome => ({
  kind: "done",
  // Nothing else of them is counted.
  renditions: [{ pixels } as JobRendition],
  earner: {} as RigName,
  sourcePixels: 0n,
  creditMs: 0,
  release() {},
});
// A job has more to it; this is all that is looked at.
const job = (sender: string, session: string): Job => ({ sender, session, durationMs: 2_000, price }) as Job;

test("each sender's segments, streams and fees are counted, whoever was heard of last first", () => {
  const clock = stoppedClock("2026-11-21T12:00:00Z");
  const demand = new Demand(clock);
  demand.jobEnded({ job: job("10.0.0.1", "a"), outcome: done(101n) });
  demand.jobEnded({ job: job("10.0.0.1", "b"), outcome: { kind: "failed", text: "", reason: "" } });
  clock.advance(60_000);
  demand.jobEnded({ job: job("10.0.0.1", "b"), outcome: { kind: "abandoned" } });
  demand.jobEnded({ job: job("upstream:main", "c"), outcome: done(2n) });
  clock.advance(20_000);
  expect(demand.list()).toMatchObject([
    { sender: "upstream:main", streams: 1, answered: 1, feeWei: 3n },
    { sender: "10.0.0.1", streams: 1, answered: 1, lost: 1, abandoned: 1, sourceMs: 2_000, pixels: 101n, feeWei: 151n },
  ]);
});

test("hosts without end cost no memory without end", () => {
  const demand = new Demand(stoppedClock());
  for (let i = 0; i < 1_500; i++) demand.jobEnded({ job: job(`host ${i}`, "a"), outcome: done(1n) });
  for (let i = 0; i < 1_500; i++) demand.jobEnded({ job: job("host 0", `stream ${i}`), outcome: done(1n) });
  const all = demand.list();
  expect(all).toHaveLength(1_000);
  expect(all[0]).toMatchObject({ sender: "host 0", streams: 1_000, answered: 1_500 });
});
