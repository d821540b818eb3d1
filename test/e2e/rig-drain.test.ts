import { expect, test } from "vitest";
import { behaviours, type FakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { ADA, BOB, creditsOf, startStreams, startTestPool, UNHURRIED_MS } from "./pool.ts";
import { operate } from "./program.ts";

const STREAMS = 12;
/** Of each of the two rigs that are there from the beginning: one alone has no room for all streams. */
const CAPACITY = 8;
/** Streams go on all the time, and leave the machine time for the commands. */
const PACE_MS = 50;
/** The smallest rendition is a source as good as any: this is about streams, not throughput. */
const source = readyRenditions[0]!.data;
const profiles = readyProfiles.slice(0, 1);
const EARNED_WEI = (426n * 240n * 50n * 1_000n * 3n) / 4n;

test("a rig is drained by command while a dozen streams run: none loses a segment, it gets no more, and it comes back", async () => {
  await using pool = await startTestPool();
  const rigs = (...words: readonly string[]) => operate(pool.dataDir, "rigs", ...words);
  const join = async (secret: string, capacity: number): Promise<FakeTranscoder> => {
    const before = pool.running.node.admin.status().rigs.filter(({ connections }) => connections > 0).length;
    const one = await pool.transcoder({ secret, capacity, behaviour: behaviours.after(20), reconnect: "never" });
    await pool.untilConnected(before + 1);
    return one;
  };
  const leaver = await join(`${ADA}.leaver`, CAPACITY);
  await join(`${BOB}.stayer`, CAPACITY);

  const gateway = pool.gateway();
  const streams = startStreams(
    STREAMS,
    (stream, seq) =>
      gateway.pushSegment({
        manifestId: `stream-${stream}`,
        seq,
        data: source,
        durationMs: UNHURRIED_MS,
        profiles,
        container: "mpegts",
      }),
    PACE_MS,
  );
  try {
    await streams.moreOfAll(4);
    expect(leaver.tasks.length).toBeGreaterThan(0);
    const heir = await join(`${BOB}.heir`, STREAMS);
    expect(await rigs("drain", "--wait", `${ADA}.leaver`)).toBe(`${ADA}.leaver holds nothing any more\n`);
    const before = leaver.tasks.length;
    await streams.moreOfAll(4);
    expect(leaver.tasks.length).toBe(before);
    expect(await rigs("list")).toMatch(/\.leaver +draining +0\/8 +0 /);

    expect(await rigs("undrain", `${ADA}.leaver`)).toBe(`${ADA}.leaver gets work again\n`);
    // With the heir gone there is not room enough without it.
    heir.kill("reset");
    await leaver.until(({ tasks }) => tasks.length > before + STREAMS, 60_000);
  } finally {
    await streams.stop();
  }
  const { outcomes } = streams;
  expect(outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
  expect(await pool.credited()).toEqual(creditsOf(outcomes.length, EARNED_WEI));
}, 180_000);
