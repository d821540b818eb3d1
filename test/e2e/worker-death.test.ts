import type { GatewayClient } from "@openpool/push";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type FakeTranscoder, readyUpload, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyRenditions, sourceSegment } from "../peers/media.ts";
import { type Death, type MortalPath, type Passed, startMortalPath } from "../peers/mortal-path.ts";
import { ADA, BOB, EARNED_WEI, push, startTestPool, testClock, type TestPool } from "./pool.ts";

let pool: TestPool;
let gateway: GatewayClient;
let path: MortalPath;
let mortal: FakeTranscoder;
let heir: FakeTranscoder;
let deaths = 0;

beforeAll(async () => {
  // Time goes on, but chance stands still: no segment of a stream tries out another rig.
  pool = await startTestPool({}, { clock: testClock() });
  gateway = pool.gateway();
});
afterAll(() => pool?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const one of [mortal, path, heir]) await one[Symbol.asyncDispose]();
  await pool.untilConnected(0);
});

/** Where a worker's connections stand in the order in which it opened them. */
const DOWNLOAD = 1;
const UPLOAD = 2;
const RESULT_BYTES = readyRenditions.reduce((sum, { data }) => sum + data.length, 0);
/** More than a TLS handshake is, and less than any source or result. */
const SOME_BYTES = 50_000;

const stages: readonly (readonly [string, (passed: Passed) => boolean])[] = [
  ["when it asks for the source of its task", ({ connection, toPool }) => connection === DOWNLOAD && toPool > 0],
  ["in the middle of its source", ({ connection, toWorker }) => connection === DOWNLOAD && toWorker > SOME_BYTES],
  ["in the middle of its result", ({ connection, toPool }) => connection === UPLOAD && toPool > SOME_BYTES],
  [
    "behind the last byte of its result, before the answer",
    ({ connection, toPool }) => connection === UPLOAD && toPool > RESULT_BYTES,
  ],
];

/** A stream whose first segment a worker has done that will die, and another worker that came too late for it. */
async function openStream(): Promise<string> {
  const manifestId = `orphan-${deaths++}`;
  path = await startMortalPath(pool.addr);
  mortal = await startFakeTranscoder({ addr: path.addr, secret: `${ADA}.mortal${deaths}`, reconnect: "never" });
  await pool.untilConnected(1);
  expect((await push(gateway, manifestId, 0)).kind).toBe("done");
  heir = await pool.transcoder({ secret: `${BOB}.heir${deaths}` });
  await pool.untilConnected(2);
  return manifestId;
}

/** The next segment meets the death; its gateway notices nothing, and it is credited once. */
async function outlive(manifestId: string, mayHaveDelivered: boolean): Promise<void> {
  const before = await pool.credited();
  const outcome = await push(gateway, manifestId, 1);
  expect(outcome.kind === "done" ? "done" : outcome).toBe("done");
  if (outcome.kind !== "done") return;
  expect(outcome.renditions.every(({ data }, i) => readyRenditions[i]?.data.equals(data))).toBe(true);
  expect(path.dead).toBe(true);
  expect(heir.tasks.length).toBeGreaterThanOrEqual(mayHaveDelivered ? 0 : 1);
  expect(heir.tasks.every(({ source }) => source.equals(sourceSegment))).toBe(true);
  expect((await push(gateway, manifestId, 2)).kind).toBe("done");
  expect(await pool.credited()).toEqual({
    segments: before.segments + 2,
    creditedWei: before.creditedWei + 2n * EARNED_WEI,
  });
}

describe.each<[string, Death]>([
  ["whose connections are reset", "reset"],
  ["that says nothing any more", "hang"],
])("a gateway does not notice a worker %s", (_, how) => {
  test.each(stages)("%s", async (name, condition) => {
    const manifestId = await openStream();
    path.dieWhen(how, condition);
    await outlive(manifestId, name.includes("last byte"));
  });

  test("between its source and its result", async () => {
    const manifestId = await openStream();
    mortal.behaviour = (task) => {
      path.die(how);
      return readyUpload(task);
    };
    await outlive(manifestId, false);
  });
});
