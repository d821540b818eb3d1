import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { ADA, BOB, startTestPool, testClock, type TestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { startStockOrchestrator, type StockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

/** Segments after which the pool knows how long its rigs take. */
const KNOWN_AFTER = 12;
/** It waits longer for a task than a stock one, which says so as well: this machine may stand still for seconds. */
const PATIENCE = 4;
/** A stock orchestrator waits eight seconds for it. */
const SHORT_MS = 2_000;

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

// Time goes on, but chance stands still: no segment of a stream tries out another rig.
const clock = testClock();
const opened: AsyncDisposable[] = [];
let orchestrator: StockOrchestrator;
let pool: TestPool;
let rigs: FakeTranscoder[] = [];
let names = 0;

beforeAll(async () => {
  opened.push(
    (orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false, timeoutScale: PATIENCE })),
  );
  const secret = await writeSecret();
  opened.push(secret);
  const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
  opened.push((pool = await startTestPool({ attached }, { clock })));
});
afterAll(async () => {
  for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
});
afterEach(async () => {
  expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  for (const rig of rigs.splice(0)) await rig[Symbol.asyncDispose]();
  await pool.untilConnected(0);
  // An orchestrator is told of it after a few seconds, in case they come back.
  await until(() => {
    clock.skip(1_000);
    return orchestrator.live.length === 0;
  });
});

async function join(...owners: readonly string[]): Promise<void> {
  for (const owner of owners) {
    rigs.push(await pool.transcoder({ secret: `${owner}.rig${names++}`, reconnect: "never" }));
  }
  await pool.untilConnected(owners.length);
  await until(() => orchestrator.live.reduce((sum, { capacity }) => sum + capacity, 0) === 10 * owners.length);
}
const transcode = (session: string, seq: number, durationMs = UNHURRIED_MS): Promise<Transcoded> =>
  orchestrator.transcode({ session, seq, durationMs });
const credits = () => pool.events("job.credited");

test("a worker that has become slow is overtaken in time: another's result goes up, once, and only that one is paid", async () => {
  await join(ADA, BOB);
  await clock.whileStopped(async () => {
    for (let seq = 0; seq < KNOWN_AFTER; seq++) expect(await transcode("slow", seq)).toMatchObject({ kind: "done" });
  });
  const slow = rigs.find(({ tasks }) => tasks.length > 0)!;
  const quick = rigs.find((rig) => rig !== slow)!;
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  slow.behaviour = behaviours.when(() => gate);
  const before = await credits();
  const answers = orchestrator.results.length;
  expect(await transcode("slow", KNOWN_AFTER)).toMatchObject({ kind: "done" });
  expect(slow.inHand.size).toBe(1);
  expect(quick.tasks.at(-1)?.seq).toBe(BigInt(KNOWN_AFTER));
  const uploads = slow.uploads.length;
  release();
  await slow.until(() => slow.uploads.length > uploads);
  const paid = (await credits()).slice(before.length);
  expect(paid.map(({ rig, data }) => [rig, data["hedged"], data["source"]])).toEqual([
    [quick === rigs[0] ? `rig${names - 2}` : `rig${names - 1}`, true, "upstream:main"],
  ]);
  expect(orchestrator.results.length).toBe(answers + 1);
});

test("workers die one after the other with the task in hand: the last one that lives brings it, in time", async () => {
  await join(ADA, BOB, ADA);
  let deaths = 0;
  for (const rig of rigs) {
    rig.behaviour = (task, self) => (deaths++ < 2 ? behaviours.die("reset")(task, self) : readyUpload(task));
  }
  expect(await transcode("mortal", 0)).toMatchObject({ kind: "done" });
  expect(deaths).toBe(3);
});

test("when all have died the task is answered with an error, in time, though nobody is registered any more", async () => {
  await join(ADA, BOB);
  for (const rig of rigs) rig.behaviour = behaviours.die("reset");
  expect(await transcode("dead", 0, SHORT_MS)).toMatchObject({ kind: "error", text: "TranscoderInvalidVideo" });
});

test("a long segment has four times its duration: what takes longer than eight seconds is done, what takes for ever fails in time", async () => {
  await join(ADA, BOB);
  for (const rig of rigs) {
    rig.behaviour = (task, self) =>
      task.seq === 0n ? behaviours.after(8_200)(task, self) : behaviours.hang()(task, self);
  }
  const [done, lost] = await Promise.all([transcode("long", 0, 5_000), transcode("endless", 1, 2_500)]);
  expect(done).toMatchObject({ kind: "done" });
  expect(lost).toMatchObject({ kind: "error", text: "TranscoderInvalidVideo" });
});
