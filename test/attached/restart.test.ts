import { writeFile } from "node:fs/promises";
import { requestRestart } from "@openpool/pool";
import { expect, test } from "vitest";
import { EARNED_WEI, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startBusyProgram } from "./busy-program.ts";

test("a restart under load loses no task of an orchestrator, is not ejected, and pays each once", async () => {
  await using busy = await startBusyProgram({ streams: 4, durationMs: UNHURRIED_MS });
  expect(await requestRestart(busy.program.dataDir)).toMatchObject({ kind: "restarted" });
  await busy.endWell();
}, 240_000);

test("a process that is killed is replaced and registered again; no answered credit is lost, none is doubled", async () => {
  await using busy = await startBusyProgram({ streams: 4 });
  const { orchestrator, secretFile, program, streams } = busy;
  const { done } = streams;
  const before = await program.pid();
  process.kill(before, "SIGKILL");
  await until(async () => (await program.pid().catch(() => before)) !== before, 60_000);
  const atCrash = done();
  await until(() => done() >= atCrash + 12, 90_000);

  // As if that were not enough: the orchestrator comes back with another certificate and another secret.
  orchestrator.secret = "changed";
  await orchestrator.restart();
  await orchestrator.until(() => orchestrator.refusals.includes("invalid secret"), 60_000);
  await writeFile(secretFile, "changed\n");
  await until(() => orchestrator.live.length > 0, 60_000);
  const atChange = done();
  await until(() => done() >= atChange + 8, 60_000);
  await streams.stop();

  // What the killed process had in hand is lost for the orchestrator, and late: nothing else is wrong with any answer.
  const { unknownResults, duplicateResults, unauthorized } = orchestrator.complaints;
  expect({ unknownResults, duplicateResults, unauthorized }).toEqual({
    unknownResults: 0,
    duplicateResults: 0,
    unauthorized: 0,
  });
  // Done just before the end of a process, or of the orchestrator, it may be credited without having been taken.
  const { segments, creditedWei } = await program.credited();
  expect(segments).toBeGreaterThanOrEqual(done());
  expect(segments).toBeLessThanOrEqual(streams.outcomes.length);
  expect(creditedWei).toBe(BigInt(segments) * EARNED_WEI);
}, 300_000);
