import { setTimeout as sleep } from "node:timers/promises";
import { SESSION_IDLE_MS } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADA, BOB, startTestPool, testClock, type TestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, SOFTWARE_CAPABILITIES } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startStockOrchestrator, type StockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

/** The smallest rendition is a source as good as any: this is about places, not throughput. */
const source = readyRenditions[0]!.data;
const profiles = readyProfiles.slice(0, 1);
/** Between the segments of a stream. */
const PACE_MS = 100;
const FIRST_PLACES = 4;
const MORE_PLACES = 3;
const ALL_PLACES = FIRST_PLACES + MORE_PLACES;
/** Tasks in hand, more than are ever taken from an orchestrator that has four places. */
const HELD = 70;
const FULL = { kind: "error", text: "no transcoders available" };
/** In which a place is kept for who ends one stream and begins the next. */
const PEAKS_MS = 11_000;

const clock = testClock();
const opened: AsyncDisposable[] = [];
let orchestrator: StockOrchestrator;
let pool: TestPool;
let names = 0;

beforeAll(async () => {
  opened.push((orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false })));
  const secret = await writeSecret();
  opened.push(secret);
  const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
  opened.push((pool = await startTestPool({ attached }, { clock })));
});
afterAll(async () => {
  for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
});

const status = () => pool.running.node.admin.status().upstreams[0];
/** The capacities of all registrations, oldest first. */
const untilOffered = async (...capacities: readonly number[]): Promise<void> => {
  const offered = () => String(orchestrator.live.map(({ capacity }) => capacity));
  await until(() => offered() === String(capacities), 60_000);
  // The pool knows a little later that it was taken.
  await until(() => (status()?.capacity ?? 0) === capacities.reduce((sum, one) => sum + one, 0), 60_000);
};
const inAll = (what: "capacity" | "load"): number => orchestrator.live.reduce((sum, one) => sum + one[what], 0);
const transcode = (session: string, seq = 0): Promise<Transcoded> =>
  orchestrator.transcode({ session, seq, source, profiles, durationMs: UNHURRIED_MS });

/** How often the pool came and left, to whoever reads its events: they are written a little later. */
const comings = async () => {
  const joined = (await pool.events("upstream.joined")).length;
  const left = (await pool.events("upstream.left")).length;
  return { joined, left, hereNow: joined === left + 1 };
};

/** One that sends segment after segment. */
interface Stream {
  readonly session: string;
  readonly outcomes: Transcoded[];
  /** It rests while this is set, as between two segments. */
  resting: boolean;
  /** A segment of it is under way. */
  busy: boolean;
}

/** Nothing of a test is there for the next one, not even the memory of what came and went. */
async function leaveNothing(sessions: readonly string[], rigs: readonly FakeTranscoder[]): Promise<void> {
  for (const one of sessions) orchestrator.endSession(one);
  for (const one of rigs) await one[Symbol.asyncDispose]();
  await until(() => {
    clock.skip(1_000);
    return orchestrator.live.length === 0;
  }, 60_000);
  clock.skip(SESSION_IDLE_MS + 1_000);
  await until(() => status()?.sessions === 0, 60_000);
}

/** All places that the pool offers are taken by streams that run. */
async function startFull() {
  const streams: Stream[] = [];
  const runs: Promise<void>[] = [];
  const rigs: FakeTranscoder[] = [];
  const sessions: string[] = [];
  let running = true;
  const session = (): string => {
    const id = `session${names++}`;
    sessions.push(id);
    return id;
  };
  const join = async (owner: string, capacity: number, capabilities = SOFTWARE_CAPABILITIES) => {
    const secret = `${owner}.rig${names++}`;
    const rig = await pool.transcoder({ secret, capacity, capabilities, behaviour: behaviours.after(20) });
    rigs.push(rig);
    return rig;
  };
  const open = (): Stream => {
    const stream: Stream = { session: session(), outcomes: [], resting: false, busy: false };
    const run = async (): Promise<void> => {
      for (let seq = 0; running; await sleep(PACE_MS)) {
        if (stream.resting) continue;
        stream.busy = true;
        stream.outcomes.push(await transcode(stream.session, seq++));
        stream.busy = false;
      }
    };
    streams.push(stream);
    runs.push(run());
    return stream;
  };
  /** Every stream that runs has some more segments behind it. */
  const goOn = async (): Promise<void> => {
    const before = streams.map(({ outcomes }) => outcomes.length);
    await until(
      () => streams.every(({ outcomes, resting }, i) => resting || outcomes.length >= before[i]! + 3),
      60_000,
    );
  };
  await join(ADA, FIRST_PLACES);
  await untilOffered(FIRST_PLACES);
  await until(async () => (await comings()).hereNow, 60_000);
  const before = await comings();
  for (let i = 0; i < FIRST_PLACES; i++) open();
  await goOn();
  expect(await transcode(session())).toMatchObject(FULL);
  return {
    streams,
    session,
    join,
    goOn,
    /** A rig comes, and so many streams with it. */
    async grow(taken: number) {
      const name = `${BOB}.rig${names}`;
      const rig = await join(BOB, MORE_PLACES);
      await untilOffered(FIRST_PLACES, MORE_PLACES);
      const more = Array.from({ length: taken }, open);
      await goOn();
      return { rig, name, streams: more };
    },
    /** All is well with every stream and with the orchestrator; to whoever reads the events nothing happened. */
    async expectNothingLost(): Promise<void> {
      await goOn();
      expect(streams.flatMap(({ outcomes }) => outcomes.filter(({ kind }) => kind !== "done"))).toEqual([]);
      expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
      expect(await comings()).toEqual(before);
    },
    async [Symbol.asyncDispose]() {
      running = false;
      await Promise.all(runs);
      await leaveNothing(sessions, rigs);
    },
  };
}

test("a full orchestrator whose pool grows has the new places for new streams, and no stream that runs loses its own", async () => {
  await using full = await startFull();
  const [first] = orchestrator.live;
  await full.grow(0);
  const fresh = await Promise.all(Array.from({ length: MORE_PLACES + 2 }, () => transcode(full.session())));
  expect(fresh.filter(({ kind }) => kind === "done")).toHaveLength(MORE_PLACES);
  for (const one of fresh) if (one.kind !== "done") expect(one).toMatchObject(FULL);
  expect(first).toMatchObject({ live: true, load: FIRST_PLACES });
  expect(status()).toMatchObject({ state: "registered", capacity: ALL_PLACES });
  await full.expectNothingLost();
}, 240_000);

test("what was added goes again with its worker when nobody is on it any more, and no stream that runs is moved", async () => {
  await using full = await startFull();
  const [first] = orchestrator.live;
  const { rig } = await full.grow(0);
  const short = full.session();
  expect(await transcode(short)).toMatchObject({ kind: "done" });
  expect(orchestrator.live[1]?.load).toBe(1);
  orchestrator.endSession(short);
  await rig[Symbol.asyncDispose]();
  await full.goOn();
  clock.skip(PEAKS_MS);
  await untilOffered(FIRST_PLACES);
  expect(first).toMatchObject({ live: true, load: FIRST_PLACES });
  await full.expectNothingLost();
}, 240_000);

test("while a rig drains, a full orchestrator keeps what runs there; as streams end it comes down to the places that are left", async () => {
  await using full = await startFull();
  const { name } = await full.grow(MORE_PLACES);
  expect(await transcode(full.session())).toMatchObject(FULL);
  const { admin } = pool.running.node;
  await admin.drainRig(name);
  await full.goOn();
  await full.expectNothingLost();
  expect(inAll("capacity")).toBe(ALL_PLACES);
  // Nobody comes in the place of those that end, whichever registration they were on.
  for (const stream of [full.streams[0]!, full.streams[1]!, full.streams.at(-1)!]) {
    stream.resting = true;
    await until(() => !stream.busy, 60_000);
    orchestrator.endSession(stream.session);
    await full.goOn();
  }
  // What is there and only shared otherwise is told late.
  clock.skip(PEAKS_MS);
  await until(() => inAll("capacity") === FIRST_PLACES && inAll("load") === FIRST_PLACES, 120_000);
  await full.expectNothingLost();
  expect(await transcode(full.session())).toMatchObject(FULL);
  await admin.undrainRig(name);
}, 240_000);

test("an orchestrator that is offered much less may still give what it has places for, beside all that it gave before", async () => {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const join = (owner: string, capacity: number) =>
    pool.transcoder({ secret: `${owner}.rig${names++}`, capacity, behaviour: behaviours.when(() => gate) });
  const few = await join(ADA, FIRST_PLACES);
  const many = await join(BOB, HELD);
  await untilOffered(FIRST_PLACES + HELD);
  const sessions = Array.from({ length: HELD }, () => `session${names++}`);
  const held = sessions.map((session) => transcode(session));
  await until(() => status()?.tasksInFlight === HELD, 60_000);
  await many[Symbol.asyncDispose]();
  await untilOffered(FIRST_PLACES);
  sessions.push(`session${names++}`);
  const fresh = transcode(sessions.at(-1)!);
  await Promise.race([until(() => status()?.tasksInFlight === HELD + 1, 60_000), fresh]);
  release();
  expect((await Promise.all([...held, fresh])).filter(({ kind }) => kind !== "done")).toEqual([]);
  await leaveNothing(sessions, [few]);
}, 240_000);

test("a worker with more capabilities is one more registration, and no stream that runs is moved", async () => {
  await using full = await startFull();
  await full.grow(1);
  const before = [...orchestrator.live];
  await full.join(BOB, 1, SOFTWARE_CAPABILITIES | (1n << 15n));
  await untilOffered(FIRST_PLACES, MORE_PLACES, 1);
  const added = orchestrator.live.at(-1);
  expect(((added?.capabilities ?? 0n) >> 15n) & 1n).toBe(1n);
  await full.expectNothingLost();
  expect(before.map(({ live, load }) => [live, load])).toEqual([
    [true, FIRST_PLACES],
    [true, 1],
  ]);
}, 240_000);

test("one of several connections that is lost is made again, and streams on the others do not notice", async () => {
  await using full = await startFull();
  const [first] = orchestrator.live;
  const { streams: more } = await full.grow(2);
  // No segment of theirs comes in the short time in which the orchestrator has no place for it.
  for (const one of more) one.resting = true;
  await full.goOn();
  const lost = orchestrator.live[1];
  lost?.drop();
  await until(() => lost?.live === false, 60_000);
  await untilOffered(FIRST_PLACES, MORE_PLACES);
  for (const one of more) one.resting = false;
  await full.expectNothingLost();
  expect(first?.live).toBe(true);
  expect(orchestrator.live.map(({ load }) => load)).toEqual([FIRST_PLACES, more.length]);
}, 240_000);

test("when all are lost, or left by the operator, everything comes back, and streams go on over it", async () => {
  await using full = await startFull();
  const { streams: more } = await full.grow(2);
  const { admin } = pool.running.node;
  for (const interruption of [
    () => orchestrator.restart(),
    async () => {
      await admin.setUpstreamDrained("main", true);
      await until(() => orchestrator.live.length === 0, 60_000);
      await admin.setUpstreamDrained("main", false);
    },
  ]) {
    await interruption();
    await until(() => inAll("capacity") === ALL_PLACES && inAll("load") === FIRST_PLACES + more.length, 60_000);
    await full.goOn();
    const { ejected, unknownResults, duplicateResults } = orchestrator.complaints;
    expect({ ejected, unknownResults, duplicateResults }).toEqual({
      ejected: 0,
      unknownResults: 0,
      duplicateResults: 0,
    });
  }
}, 240_000);
