import { expect, onTestFailed, test } from "vitest";
import { requestRestart } from "@openpool/pool";
import { ADA, BOB, EARNED_WEI, until } from "../e2e/pool.ts";
import { startProgram } from "../e2e/program.ts";
import { behaviours, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { startStockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { SECRET, writeSecret } from "./pool.ts";

interface Balance {
  readonly segments: number;
  readonly creditedWei: string;
}

test("a restart under load loses no task of an orchestrator, is not ejected, and pays each once", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET });
  await using secret = await writeSecret();
  await using program = await startProgram({
    flags: ["--upstream", `main=${orchestrator.addr}`, "--upstream-secret-file", secret.file],
  });
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  const rigs = await Promise.all(
    [`${ADA}.rig1`, `${ADA}.rig2`, `${BOB}.rig1`].map((one) =>
      startFakeTranscoder({ addr: program.addr, secret: one, behaviour: behaviours.after(100) }),
    ),
  );
  await until(() => orchestrator.live.length === 1 && orchestrator.live[0]?.capacity === 30, 60_000);

  const outcomes: Transcoded[] = [];
  let running = true;
  const streams = Promise.all(
    Array.from({ length: 4 }, async (_, stream) => {
      for (let seq = 0; running; seq++) outcomes.push(await orchestrator.transcode({ session: `s${stream}`, seq }));
    }),
  );
  await until(() => outcomes.length >= 8, 60_000);
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  const atRestart = outcomes.length;
  await until(() => outcomes.length >= atRestart + 16, 60_000);
  running = false;
  await streams;
  expect(outcomes.filter((outcome) => outcome.kind !== "done")).toEqual([]);
  expect(orchestrator.complaints).toEqual({
    ejected: 0,
    unknownResults: 0,
    duplicateResults: 0,
    unauthorized: 0,
    broken: 0,
  });
  const balances = (await program.admin("/balances")) as readonly Balance[];
  expect(balances.reduce((sum, one) => sum + one.segments, 0)).toBe(outcomes.length);
  expect(balances.reduce((sum, one) => sum + BigInt(one.creditedWei), 0n)).toBe(BigInt(outcomes.length) * EARNED_WEI);
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
}, 240_000);
