/**
 * What an orchestrator does to a transcoder that is late: it ends the registration, as a whole. Its time is short here, but for
 * segments that say that they are long.
 */
import { type Logger, openScope, silentLogger } from "@openpool/base";
import { expect, test } from "vitest";
import { ADA, startStreams, startTestPool, until } from "../e2e/pool.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startStockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

const CAPACITY = 4;
/** Of eight seconds this leaves 160 ms, of four times five minutes 24 s. */
const TIMEOUT_SCALE = 0.02;
const PATIENT_MS = 300_000;
const HURRIED_MS = 2_000;
/** The segment that is not brought in time. */
const LATE = 1_000_000;
const TOO_LATE = "Remote transcoder took too long";
const FULL = "no transcoders available";
const WHY = "not answered in time";
/** The smallest rendition is a source as good as any: this is about time, not throughput. */
const source = readyRenditions[0]!.data;
const profiles = readyProfiles.slice(0, 1);

/** A pool behind an orchestrator that waits for nobody, with one rig that holds some segments until it is told to go on. */
async function startHurried(holds: (seq: bigint) => boolean) {
  const scope = openScope();
  try {
    const said: string[] = [];
    const say = (message: string, fields?: unknown): void => void said.push(`${message} ${JSON.stringify(fields)}`);
    const logger: Logger = { ...silentLogger, info: say, warn: say, child: () => logger };
    const orchestrator = scope.use(
      await startStockOrchestrator({ secret: SECRET, timeoutScale: TIMEOUT_SCALE, keepBodies: false }),
    );
    const secret = scope.use(await writeSecret());
    const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
    const pool = scope.use(await startTestPool({ attached }, { logger }));
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const rig = await pool.transcoder({
      secret: `${ADA}.rig`,
      capacity: CAPACITY,
      behaviour: behaviours.when(({ seq }) => (holds(seq) ? gate : Promise.resolve())),
    });
    await until(() => orchestrator.live[0]?.capacity === CAPACITY, 60_000);
    return {
      said,
      orchestrator,
      pool,
      rig,
      release,
      transcode: (session: string, seq: number, durationMs = PATIENT_MS): Promise<Transcoded> =>
        orchestrator.transcode({ session, seq, source, profiles, durationMs }),
      status: () => pool.running.node.admin.status().upstreams[0],
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (error) {
    await scope[Symbol.asyncDispose]();
    throw error;
  }
}

test("a pool that is late once is ejected, says why, is back at once, and answers what it still has", async () => {
  await using hurried = await startHurried(() => true);
  const { orchestrator, pool, rig, transcode, status } = hurried;
  const [first] = orchestrator.live;
  const other = transcode("other", 0);
  await rig.until(({ inHand }) => inHand.size === 1);
  expect(await transcode("late", LATE, HURRIED_MS)).toMatchObject({ kind: "error", text: TOO_LATE });
  await until(() => first?.live === false && orchestrator.live.length === 1, 60_000);
  await until(() => status()?.state === "registered", 60_000);
  await until(async () => (await pool.events("upstream.joined")).length > 1);
  expect((await pool.events("upstream.left")).map(({ data }) => data)).toEqual([
    { upstream: "main", generation: expect.any(Number), why: expect.stringContaining(WHY) },
  ]);
  expect(await pool.events("upstream.joined")).toHaveLength(2);
  expect(hurried.said).toContainEqual(expect.stringMatching(new RegExp(`no longer registered .*${WHY}`)));

  // The registration that they came on is gone; an orchestrator knows its tasks by their numbers.
  hurried.release();
  expect(await other).toMatchObject({ kind: "done" });
  await until(() => status()?.tasksInFlight === 0, 60_000);
  expect(await transcode("other", 1)).toMatchObject({ kind: "done" });
  expect(await transcode("new", 0)).toMatchObject({ kind: "done" });
  // It answers that it took the late one, and drops it.
  expect(orchestrator.complaints).toEqual({ ...NO_COMPLAINTS, ejected: 1, duplicateResults: 1 });
  expect((await pool.credited()).segments).toBe(4);
}, 120_000);

test("an orchestrator that is full ejects the pool while new streams want its places: all are taken again, and each task is answered", async () => {
  await using hurried = await startHurried((seq) => seq === BigInt(LATE));
  const { orchestrator, pool, transcode, status } = hurried;
  const running = startStreams(CAPACITY - 1, (stream, seq) => transcode(`running${stream}`, seq), 30);
  await running.moreOfAll(2);
  // Each wants a place, has it for a few segments where there is one, and goes.
  const coming = startStreams(
    CAPACITY,
    async (stream, seq) => {
      const session = `coming${stream}-${seq}`;
      let outcome = await transcode(session, 0);
      for (let i = 1; i < 3 && outcome.kind === "done"; i++) outcome = await transcode(session, i);
      if (outcome.kind === "done") orchestrator.endSession(session);
      return outcome;
    },
    30,
  );
  const late: string[] = [];
  try {
    await coming.moreOfAll(2);
    for (let ejections = 1; ejections <= 2; ejections++) {
      const before = orchestrator.transcoders.length;
      // It needs a place itself.
      await until(async () => {
        const outcome = await transcode(`late${ejections}`, LATE, HURRIED_MS);
        if (outcome.kind === "error") late.push(outcome.text);
        return orchestrator.complaints.ejected === ejections;
      }, 60_000);
      await until(() => orchestrator.transcoders.length > before && orchestrator.live.length === 1, 60_000);
      await running.moreOfAll(3);
      await coming.moreOfAll(1);
    }
    await until(() => orchestrator.live[0]?.load === CAPACITY, 60_000);
  } finally {
    hurried.release();
    await running.stop();
    await coming.stop();
  }
  expect(late.filter((text) => text === TOO_LATE)).toHaveLength(2);
  const others = [...running.outcomes, ...coming.outcomes, ...late].filter(
    (outcome) => outcome !== "done" && outcome !== TOO_LATE && !outcome.includes(FULL),
  );
  expect(others).toEqual([]);
  await until(() => status()?.tasksInFlight === 0, 60_000);
  expect(status()).toMatchObject({ state: "registered", capacity: CAPACITY });
  expect(orchestrator.complaints).toEqual({ ...NO_COMPLAINTS, ejected: 2, duplicateResults: 2 });
  // Every answer that went out was paid for, whether somebody still waited for it or not.
  expect((await pool.credited()).segments).toBe(orchestrator.results.length);
}, 180_000);
