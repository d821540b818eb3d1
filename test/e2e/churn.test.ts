import { afterAll, beforeAll, expect, test } from "vitest";
import { seed, seeded } from "../chance.ts";
import { behaviours, type FakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startTestPool, type TestPool, UNHURRIED_MS, until } from "./pool.ts";

let pool: TestPool;
beforeAll(async () => {
  pool = await startTestPool();
});
afterAll(() => pool?.[Symbol.asyncDispose]());

const WORKERS = 50;
const STREAMS = 20;
const SEGMENTS = 6;

/** The largest rendition is a source as good as any, and a third of the bytes: this is about workers, not throughput. */
const source = readyRenditions[2]!.data;
const profiles = readyProfiles.slice(0, 2);
const EARNED_WEI = ((426n * 240n + 640n * 360n) * 50n * 1_000n * 3n) / 4n;

test("fifty workers that come and go at random cost twenty streams nothing, and credits equal answers", async () => {
  const random = seeded(seed);
  const address = (i: number): string => `0x${(i + 1).toString(16).padStart(40, "0")}`;
  const online = new Set<FakeTranscoder>();
  const join = async (i: number): Promise<void> => {
    const behaviour = behaviours.after(random() * 120);
    online.add(await pool.transcoder({ secret: `${address(i)}.rig`, capacity: 4, behaviour, reconnect: "never" }));
  };
  // Some stay, so that the pool is never empty; the others leave while they work, in every way there is.
  for (let i = 0; i < 8; i++) await join(i);
  const stayers = online.size;
  await pool.untilConnected(stayers);

  let running = true;
  const churn = (async () => {
    for (let i = stayers; i < WORKERS && running; i++) {
      await join(i);
      const leavers = [...online].slice(stayers);
      const leaver = leavers[Math.floor(random() * leavers.length)];
      if (leaver && leavers.length > 6) {
        online.delete(leaver);
        const how = random();
        if (how < 0.4) leaver.kill("close");
        else if (how < 0.8) leaver.kill("reset");
        else leaver.dropStream();
      }
      await new Promise((resolve) => setTimeout(resolve, random() * 40));
    }
  })();

  const streams = Array.from({ length: STREAMS }, async (_, stream) => {
    const gateway = pool.gateway();
    const outcomes = [];
    for (let seq = 0; seq < SEGMENTS; seq++) {
      const segment = {
        manifestId: `churn-${stream}`,
        seq,
        data: source,
        // Whoever leaves is noticed at once: nobody has to be late for it.
        durationMs: UNHURRIED_MS,
        profiles,
        container: "mpegts",
      } as const;
      outcomes.push(await gateway.pushSegment(segment));
    }
    return outcomes;
  });
  const outcomes = (await Promise.all(streams)).flat();
  running = false;
  await churn;

  const lost = outcomes.filter((outcome) => outcome.kind !== "done");
  expect(lost, `seed ${seed}`).toEqual([]);
  expect(await pool.credited(), `seed ${seed}`).toEqual({
    segments: STREAMS * SEGMENTS,
    creditedWei: BigInt(STREAMS * SEGMENTS) * EARNED_WEI,
  });
  const ledger = pool.running.node.admin.ledger!; // a pool has its books
  await until(() => ledger.progress().jobsBooked === STREAMS * SEGMENTS);
  expect(await ledger.check(true), `seed ${seed}`).toMatchObject({ violations: [], jobs: STREAMS * SEGMENTS });
}, 60_000);
