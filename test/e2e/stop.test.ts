import { once } from "node:events";
import { silentLogger } from "@openpool/base";
import { type GatewayClient, openGatewayClient } from "@openpool/push";
import { expect, onTestFailed, test } from "vitest";
import { behaviours, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { SOURCE_DURATION_MS, sourceSegment } from "../peers/media.ts";
import { patientClock } from "../peers/patient-clock.ts";
import { ADA, BOB, push, pushUnhurried, until } from "./pool.ts";
import { startProgram } from "./program.ts";

const STREAMS = 4;

test("a stop under load loses nothing: workers fail over, answers are fetched, all on new connections, then the process ends", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  let goOn = (): void => {};
  const told = new Promise<void>((resolve) => (goOn = resolve));
  const capacity = async (): Promise<number> => ((await program.admin("/status")) as { capacity: number }).capacity;
  // Everything is first in the hands of one that will die; who takes it over has opened no connection for sources yet.
  await using dying = await startFakeTranscoder({
    addr: program.addr,
    secret: `${ADA}.dying`,
    behaviour: behaviours.hang(),
    reconnect: "never",
  });
  await until(async () => (await capacity()) === 10, 60_000);
  const gateways: GatewayClient[] = [];
  const gateway = (): GatewayClient => {
    const opened = openGatewayClient(
      { orchestrator: `https://${program.addr}` },
      { logger: silentLogger, clock: patientClock() },
    );
    gateways.push(opened);
    return opened;
  };
  const pushed = Array.from({ length: STREAMS }, (_, stream) => pushUnhurried(gateway(), `stopped-${stream}`, 0));
  await dying.until((one) => one.tasks.length === STREAMS, 60_000);
  await using heir = await startFakeTranscoder({
    addr: program.addr,
    secret: `${BOB}.heir`,
    behaviour: behaviours.when(() => told),
  });
  await until(async () => (await capacity()) === 20, 60_000);

  const ended = once(program.process, "exit");
  program.process.kill("SIGTERM");
  const refusedWith = (): Promise<string> =>
    push(gateway(), "late", 0, SOURCE_DURATION_MS).then((outcome) => ("text" in outcome ? outcome.text : outcome.kind));
  // Who has no session yet is sent elsewhere, over a connection that is taken all the same.
  await until(async () => (await refusedWith()).includes("OrchestratorCapped"), 60_000);
  dying.kill("reset");
  await heir.until((one) => one.tasks.length === STREAMS, 60_000);
  goOn();
  const outcomes = await Promise.all(pushed);
  expect(outcomes.map(({ kind }) => kind)).toEqual(Array.from({ length: STREAMS }, () => "done"));
  expect(heir.tasks.every(({ source }) => source.equals(sourceSegment))).toBe(true);
  expect(await ended).toEqual([0, null]);
  for (const one of gateways) await one[Symbol.asyncDispose]();
}, 240_000);
