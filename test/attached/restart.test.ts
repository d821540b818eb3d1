import { writeFile } from "node:fs/promises";
import { openScope } from "@openpool/base";
import { expect, onTestFailed, test } from "vitest";
import { requestRestart } from "@openpool/pool";
import { ADA, BOB, EARNED_WEI, until } from "../e2e/pool.ts";
import { type Program, startProgram } from "../e2e/program.ts";
import { behaviours, type FakeTranscoder, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { type StockOrchestrator, startStockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { SECRET, writeSecret } from "./pool.ts";

interface Balance {
  readonly segments: number;
  readonly creditedWei: string;
}

async function credited(program: Program): Promise<{ readonly segments: number; readonly creditedWei: bigint }> {
  const balances = (await program.admin("/balances")) as readonly Balance[];
  return {
    segments: balances.reduce((sum, one) => sum + one.segments, 0),
    creditedWei: balances.reduce((sum, one) => sum + BigInt(one.creditedWei), 0n),
  };
}

const RIGS = [`${ADA}.rig1`, `${ADA}.rig2`, `${BOB}.rig1`];

async function joinAll(program: Program, orchestrator: StockOrchestrator): Promise<readonly FakeTranscoder[]> {
  const rigs = await Promise.all(
    RIGS.map((secret) => startFakeTranscoder({ addr: program.addr, secret, behaviour: behaviours.after(100) })),
  );
  await until(() => orchestrator.live.length === 1 && orchestrator.live[0]?.capacity === 30, 60_000);
  return rigs;
}

/** Tasks of some sessions, one after the other in each, until told to stop. */
function startTraffic(orchestrator: StockOrchestrator): { readonly outcomes: Transcoded[]; stop(): Promise<void> } {
  const outcomes: Transcoded[] = [];
  let running = true;
  const done = Promise.all(
    Array.from({ length: 4 }, async (_, stream) => {
      for (let seq = 0; running; seq++) {
        const outcome = await orchestrator.transcode({ session: `s${stream}`, seq });
        outcomes.push(outcome);
        // Without any transcoder the answer is there at once: a gateway comes back with its next segment only.
        if (outcome.kind === "error") await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }),
  );
  return {
    outcomes,
    async stop() {
      running = false;
      await done;
    },
  };
}

/** The program behind an orchestrator, with rigs, and with tasks that come and go. */
async function startBusyProgram() {
  const scope = openScope();
  try {
    const orchestrator = scope.use(await startStockOrchestrator({ secret: SECRET }));
    const secret = scope.use(await writeSecret());
    const program = scope.use(
      await startProgram({ flags: ["--upstream", `main=${orchestrator.addr}`, "--upstream-secret-file", secret.file] }),
    );
    onTestFailed(() => {
      process.stderr.write(program.log());
    });
    for (const rig of await joinAll(program, orchestrator)) scope.use(rig);
    const traffic = startTraffic(orchestrator);
    await until(() => traffic.outcomes.length >= 8, 60_000);
    return { orchestrator, secret, program, traffic, [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose]() };
  } catch (error) {
    await scope[Symbol.asyncDispose]();
    throw error;
  }
}

const NO_COMPLAINTS = { ejected: 0, unknownResults: 0, duplicateResults: 0, unauthorized: 0, broken: 0 };

test("a restart under load loses no task of an orchestrator, is not ejected, and pays each once", async () => {
  await using busy = await startBusyProgram();
  const { orchestrator, program, traffic } = busy;
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  const atRestart = traffic.outcomes.length;
  await until(() => traffic.outcomes.length >= atRestart + 16, 60_000);
  await traffic.stop();
  expect(traffic.outcomes.filter((outcome) => outcome.kind !== "done")).toEqual([]);
  expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  const segments = traffic.outcomes.length;
  expect(await credited(program)).toEqual({ segments, creditedWei: BigInt(segments) * EARNED_WEI });
}, 240_000);

test("a process that is killed is replaced and registered again; no answered credit is lost, none is doubled", async () => {
  await using busy = await startBusyProgram();
  const { orchestrator, secret, program, traffic } = busy;
  const before = await program.pid();
  process.kill(before, "SIGKILL");
  await until(async () => (await program.pid().catch(() => before)) !== before, 60_000);
  const done = () => traffic.outcomes.filter(({ kind }) => kind === "done").length;
  const atCrash = done();
  await until(() => done() >= atCrash + 12, 90_000);

  // As if that were not enough: the orchestrator comes back with another certificate and another secret.
  orchestrator.secret = "changed";
  await orchestrator.restart();
  await orchestrator.until(() => orchestrator.refusals.includes("invalid secret"), 60_000);
  await writeFile(secret.file, "changed\n");
  await until(() => orchestrator.live.length > 0, 60_000);
  const atChange = done();
  await until(() => done() >= atChange + 8, 60_000);
  await traffic.stop();

  // What the killed process had in hand is lost for the orchestrator, and late: nothing else is wrong with any answer.
  const { unknownResults, duplicateResults, unauthorized } = orchestrator.complaints;
  expect({ unknownResults, duplicateResults, unauthorized }).toEqual({
    unknownResults: 0,
    duplicateResults: 0,
    unauthorized: 0,
  });
  // Done just before the end of a process, or of the orchestrator, it may be credited without having been taken.
  const { segments, creditedWei } = await credited(program);
  expect(segments).toBeGreaterThanOrEqual(done());
  expect(segments).toBeLessThanOrEqual(traffic.outcomes.length);
  expect(creditedWei).toBe(BigInt(segments) * EARNED_WEI);
}, 300_000);
