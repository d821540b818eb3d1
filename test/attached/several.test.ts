import { once } from "node:events";
import { requestRestart } from "@openpool/pool";
import { expect, test } from "vitest";
import { ADA, BOB, creditsOf, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startProgram } from "../e2e/program.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { type BusyProgram, startBusyProgram } from "./busy-program.ts";
import { NO_COMPLAINTS } from "./pool.ts";

const STREAMS = 4;

/** Streams run on one registration when another rig comes, which is offered over one more. */
async function startGrown(): Promise<BusyProgram> {
  const busy = await startBusyProgram({ streams: STREAMS, rigs: [`${ADA}.one`], durationMs: UNHURRIED_MS });
  await busy.join(`${BOB}.two`);
  await until(() => busy.orchestrator.live.length > 1, 60_000);
  return busy;
}

test("a restart while streams run over several registrations loses no task, is not ejected, and pays each once", async () => {
  await using busy = await startGrown();
  const { orchestrator, program } = busy;
  const before = orchestrator.live;
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  await until(() => orchestrator.live.length > 0 && before.every(({ live }) => !live), 60_000);
  await busy.endWell();
}, 240_000);

test("SIGTERM with tasks in hand that came over several registrations: each is answered, the orchestrator is left in peace", async () => {
  await using busy = await startGrown();
  const { orchestrator, program, streams, rigs, flags } = busy;
  // Some come over the new registration too.
  const late = Array.from({ length: STREAMS }, (_, i) =>
    orchestrator.transcode({ session: `late${i}`, seq: 0, durationMs: UNHURRIED_MS }),
  );
  const outcomes = (await Promise.all(late)).map(({ kind }) => kind);
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  for (const rig of rigs) rig.behaviour = behaviours.when(() => gate);
  const held = Array.from({ length: STREAMS }, (_, i) =>
    orchestrator.transcode({ session: `late${i}`, seq: 1, durationMs: UNHURRIED_MS }),
  );
  const inHand = (): number =>
    new Set(rigs.flatMap((rig) => [...rig.inHand].map(({ sessionId, seq }) => `${sessionId} ${seq}`))).size;
  await until(() => inHand() === 2 * STREAMS, 60_000);
  expect(orchestrator.live.every(({ load }) => load > 0)).toBe(true);

  const ended = once(program.process, "exit");
  program.process.kill("SIGTERM");
  await until(() => orchestrator.live.length === 0, 60_000);
  release();
  outcomes.push(...(await Promise.all(held)).map(({ kind }) => kind));
  expect(await ended).toEqual([0, null]);
  await streams.stop();
  expect(outcomes.filter((kind) => kind !== "done")).toEqual([]);
  // Whoever came later was told at once that nobody is there.
  const refused = streams.outcomes.filter((outcome) => outcome !== "done");
  expect(refused.filter((outcome) => !outcome.includes("no transcoders available"))).toEqual([]);
  expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  await using again = await startProgram({ dataDir: program.dataDir, flags });
  expect(await again.credited()).toEqual(creditsOf(streams.done() + outcomes.length));
}, 240_000);
