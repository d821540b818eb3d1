import { setTimeout as sleep } from "node:timers/promises";
import { openScope } from "@openpool/base";
import { expect, test } from "vitest";
import { ADA, BOB, startTestPool, testClock, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours, SOFTWARE_CAPABILITIES } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startStockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { attachedTo, SECRET, writeSecret } from "./pool.ts";

/** The smallest rendition is a source as good as any: this is about places, not throughput. */
const source = readyRenditions[0]!.data;
const profiles = readyProfiles.slice(0, 1);
const FIRST_PLACES = 4;
const MORE_PLACES = 3;
const FULL = { kind: "error", text: "no transcoders available" };
/** In which a place is kept for who ends one stream and begins the next. */
const PEAKS_MS = 11_000;

interface Stream {
  readonly session: string;
  readonly outcomes: Transcoded[];
  /** It rests while this is set, as between two segments. */
  resting: boolean;
}

/** A pool whose orchestrator has filled all of its places with streams that run. */
async function startFull() {
  const scope = openScope();
  try {
    const clock = testClock();
    const orchestrator = scope.use(await startStockOrchestrator({ secret: SECRET, keepBodies: false, price: "1" }));
    const secret = scope.use(await writeSecret());
    const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
    const pool = scope.use(await startTestPool({ attached }, { clock }));
    const join = (rig: string, capacity: number, capabilities = SOFTWARE_CAPABILITIES) =>
      pool.transcoder({ secret: rig, capacity, capabilities, behaviour: behaviours.after(20) });
    const offered = (): readonly number[] => orchestrator.live.map(({ capacity }) => capacity);
    const order = (session: string, seq: number) =>
      orchestrator.transcode({ session, seq, source, profiles, durationMs: UNHURRIED_MS });

    const streams: Stream[] = [];
    const runs: Promise<void>[] = [];
    let running = true;
    const open = (session: string): Stream => {
      const stream: Stream = { session, outcomes: [], resting: false };
      const run = async (): Promise<void> => {
        for (let seq = 0; running; seq++) {
          await until(() => !stream.resting || !running, 60_000);
          const outcome = await order(session, seq);
          stream.outcomes.push(outcome);
          // Without a place the answer is there at once: a gateway comes back with its next segment only.
          if (outcome.kind === "error") await sleep(100);
        }
      };
      streams.push(stream);
      runs.push(run());
      return stream;
    };
    /** Every stream that runs has a few more segments behind it. */
    const goOn = async (): Promise<void> => {
      const before = streams.map(({ outcomes }) => outcomes.length);
      await until(
        () => streams.every(({ outcomes, resting }, i) => resting || outcomes.length >= before[i]! + 3),
        30_000,
      );
    };
    await join(`${ADA}.first`, FIRST_PLACES);
    await until(() => String(offered()) === String(FIRST_PLACES), 60_000);
    for (let i = 0; i < FIRST_PLACES; i++) open(`full${i}`);
    await goOn();
    expect(await order("late", 0)).toMatchObject(FULL);
    return {
      orchestrator,
      pool,
      clock,
      join,
      open,
      order,
      goOn,
      offered,
      /** A rig came, and the first of its places is taken by as many streams. */
      async grow(taken: number) {
        const rig = await join(`${BOB}.more`, MORE_PLACES);
        await until(() => String(offered()) === String([FIRST_PLACES, MORE_PLACES]), 60_000);
        const more = Array.from({ length: taken }, (_, i) => open(`more${i}`));
        await goOn();
        return { rig, streams: more };
      },
      /** All is well with every stream, and with the orchestrator. */
      async expectNothingLost(): Promise<void> {
        await goOn();
        expect(streams.flatMap(({ outcomes }) => outcomes.filter(({ kind }) => kind !== "done"))).toEqual([]);
        expect(orchestrator.complaints).toEqual({
          ejected: 0,
          unknownResults: 0,
          duplicateResults: 0,
          unauthorized: 0,
          broken: 0,
        });
        expect(await pool.events("upstream.joined")).toHaveLength(1);
        expect(await pool.events("upstream.left")).toEqual([]);
      },
      status: () => pool.running.node.admin.status().upstreams[0],
      async [Symbol.asyncDispose]() {
        running = false;
        await Promise.all(runs);
        await scope[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await scope[Symbol.asyncDispose]();
    throw error;
  }
}

test("a full orchestrator whose pool grows has the new places for new streams, and no stream that runs loses its own", async () => {
  await using full = await startFull();
  const { orchestrator, order } = full;
  const [first] = orchestrator.live;
  await full.grow(0);
  const fresh = await Promise.all(Array.from({ length: MORE_PLACES + 2 }, (_, i) => order(`new${i}`, 0)));
  expect(fresh.filter(({ kind }) => kind === "done")).toHaveLength(MORE_PLACES);
  for (const one of fresh) if (one.kind !== "done") expect(one).toMatchObject(FULL);
  expect(first).toMatchObject({ live: true, load: FIRST_PLACES });
  await until(() => full.status()?.capacity === FIRST_PLACES + MORE_PLACES);
  await full.expectNothingLost();
}, 240_000);

test("what was added goes again with its worker when nobody is on it any more, and no stream that runs is moved", async () => {
  await using full = await startFull();
  const { orchestrator } = full;
  const [first] = orchestrator.live;
  const { rig } = await full.grow(0);
  expect(await full.order("short", 0)).toMatchObject({ kind: "done" });
  expect(orchestrator.live[1]?.load).toBe(1);
  orchestrator.endSession("short");
  await rig[Symbol.asyncDispose]();
  await full.goOn();
  full.clock.skip(PEAKS_MS);
  await until(() => String(full.offered()) === String(FIRST_PLACES), 60_000);
  expect(first).toMatchObject({ live: true, load: FIRST_PLACES });
  await full.expectNothingLost();
}, 240_000);

test("a worker with more capabilities is told by one registration for all, and every stream moves over to it", async () => {
  await using full = await startFull();
  const { orchestrator } = full;
  await full.grow(1);
  await full.join(`${BOB}.hevc`, 1, SOFTWARE_CAPABILITIES | (1n << 15n));
  await until(() => String(full.offered()) === String(FIRST_PLACES + MORE_PLACES + 1), 60_000);
  expect(((orchestrator.live[0]?.capabilities ?? 0n) >> 15n) & 1n).toBe(1n);
  await until(() => orchestrator.live[0]?.load === FIRST_PLACES + 1, 60_000);
  await full.expectNothingLost();
}, 240_000);

test("one of several connections that is lost is made again, and streams on the others do not notice", async () => {
  await using full = await startFull();
  const { orchestrator } = full;
  const [first] = orchestrator.live;
  const { streams: more } = await full.grow(2);
  // No segment of theirs comes in the short time in which the orchestrator has no place for it.
  for (const one of more) one.resting = true;
  await full.goOn();
  const lost = orchestrator.live[1];
  lost?.drop();
  await until(() => lost?.live === false && orchestrator.live.length === 2, 60_000);
  expect(full.offered()).toEqual([FIRST_PLACES, MORE_PLACES]);
  for (const one of more) one.resting = false;
  await full.expectNothingLost();
  expect(orchestrator.live.map(({ load }) => load)).toEqual([FIRST_PLACES, 2]);
  expect(first?.live).toBe(true);
}, 240_000);

test("when all are lost one is enough for everything, and streams go on over it", async () => {
  await using full = await startFull();
  const { orchestrator, pool } = full;
  await full.grow(2);
  await orchestrator.restart();
  await until(() => String(full.offered()) === String(FIRST_PLACES + MORE_PLACES), 60_000);
  await until(() => orchestrator.live[0]?.load === FIRST_PLACES + 2, 60_000);
  await full.goOn();
  await pool.running.node.admin.setUpstreamDrained("main", true);
  await until(() => orchestrator.live.length === 0, 60_000);
  await pool.running.node.admin.setUpstreamDrained("main", false);
  await until(() => String(full.offered()) === String(FIRST_PLACES + MORE_PLACES), 60_000);
  const { ejected, unknownResults, duplicateResults } = orchestrator.complaints;
  expect({ ejected, unknownResults, duplicateResults }).toEqual({ ejected: 0, unknownResults: 0, duplicateResults: 0 });
}, 240_000);
