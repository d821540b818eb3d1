import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@openpool/base";
import { requestRestart } from "@openpool/pool";
import { type GatewayClient, openGatewayClient } from "@openpool/push";
import { expect, onTestFailed, test } from "vitest";
import { seed, seeded } from "../chance.ts";
import { behaviours, type FakeTranscoder, readyUpload, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions, sourceSegment } from "../peers/media.ts";
import { patientClock } from "../peers/patient-clock.ts";
import { startStockGateway } from "../peers/stock-gateway.ts";
import {
  ADA,
  BOB,
  creditsOf,
  EARNED_WEI,
  pushUnhurried,
  startStreams,
  type Streams,
  UNHURRIED_MS,
  until,
} from "./pool.ts";
import { type Program, startProgram } from "./program.ts";

/** What the books hold for workers, once they are up with the log. */
async function bookedWei(program: Program): Promise<bigint> {
  const balances = (await program.admin("/ledger/balances")) as readonly { heldWei: string; owedWei: string }[];
  return balances.reduce((sum, one) => sum + BigInt(one.heldWei) + BigInt(one.owedWei), 0n);
}

function gatewayOf(program: Program): GatewayClient {
  return openGatewayClient(
    { orchestrator: `https://${program.addr}` },
    { logger: silentLogger, clock: patientClock() },
  );
}

/** Streams that push until told to stop, each from a gateway of its own. */
function startTraffic(program: Program, count: number): Streams {
  const gateways = Array.from({ length: count }, () => gatewayOf(program));
  const streams = startStreams(count, (stream, seq) => pushUnhurried(gateways[stream]!, `restart-${stream}`, seq));
  return {
    ...streams,
    async stop() {
      await streams.stop();
      for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
    },
  };
}

async function workers(program: Program, delayMs: number): Promise<FakeTranscoder[]> {
  const started = await Promise.all(
    [`${ADA}.rig1`, `${ADA}.rig2`, `${BOB}.rig1`].map((secret) =>
      startFakeTranscoder({ addr: program.addr, secret, behaviour: behaviours.after(delayMs) }),
    ),
  );
  await until(async () => ((await program.admin("/status")) as { capacity: number }).capacity === 30, 60_000);
  return started;
}

test("a restart under load refuses no connection, loses no segment and pays each once", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  const rigs = await workers(program, 100);
  const traffic = startTraffic(program, 4);
  await traffic.moreOfAll(2);
  const before = await program.pid();
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  expect(await program.pid()).not.toBe(before);
  await traffic.moreOfAll(3);
  await traffic.stop();
  expect(traffic.outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
  expect(await program.credited()).toEqual(creditsOf(traffic.outcomes.length));
  // Nobody was sent away for good.
  expect(rigs.map((rig) => rig.state.kind)).toEqual(["registered", "registered", "registered"]);
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
}, 240_000);

test("an idle worker is disconnected once by each planned restart, and no more: its way back gets longer each time", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  await using rig = await startFakeTranscoder({ addr: program.addr, secret: `${ADA}.idle` });
  const isBack = async (): Promise<boolean> =>
    rig.state.kind === "registered" && ((await program.admin("/status")) as { capacity: number }).capacity === 10;
  await until(isBack, 60_000);
  for (let restart = 1; restart <= 3; restart++) {
    expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
    await until(async () => rig.registrations > restart && (await isBack()), 60_000);
    expect(rig.registrations).toBe(1 + restart);
    // It had no task: it goes over to the next process without noticing, but only once for each time that it registers.
    expect(rig.disconnects).toBe(Math.floor(restart / 2));
  }
  // Whoever was to cut it once more had the time to.
  await using gateway = gatewayOf(program);
  expect(await pushUnhurried(gateway, "after", 0)).toMatchObject({ kind: "done" });
  expect(rig.registrations).toBe(4);
}, 240_000);

test("a worker that dies while the pool restarts costs no segment: another one is still there for it", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  const holders = new Set<FakeTranscoder>();
  let restarted = false;
  const rigs = await Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      startFakeTranscoder({
        addr: program.addr,
        secret: `${ADA}.rig${i}`,
        behaviour(task, self) {
          if (restarted) return readyUpload(task);
          holders.add(self);
          return undefined;
        },
      }),
    ),
  );
  await until(async () => ((await program.admin("/status")) as { capacity: number }).capacity === 60, 60_000);
  await using gateway = gatewayOf(program);
  const pushed = pushUnhurried(gateway, "held", 0);
  await until(() => holders.size > 0, 60_000);
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  restarted = true;
  // The process that goes has let go of whom it does not need.
  await until(() => rigs.some((rig) => rig.registrations > 1), 60_000);
  for (const holder of holders) holder.kill();
  expect(await pushed).toMatchObject({ kind: "done" });
  expect(await program.credited()).toEqual(creditsOf(1));
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
}, 240_000);

test("a process that is killed is replaced while connections wait, and no answered credit is lost or doubled", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  const rigs = await workers(program, 50);
  const traffic = startTraffic(program, 3);
  await traffic.moreOfAll(2);
  const before = await program.pid();
  process.kill(before, "SIGKILL");
  await until(async () => (await program.pid().catch(() => before)) !== before, 60_000);
  const atCrash = traffic.done();
  await until(() => traffic.done() >= atCrash + 9, 60_000);
  await traffic.stop();
  const answered = traffic.done();
  // What was in flight inside the killed process may be credited without having been answered; never the other way round.
  const { segments, creditedWei } = await program.credited();
  expect(segments).toBeGreaterThanOrEqual(answered);
  expect(segments).toBeLessThanOrEqual(traffic.outcomes.length);
  expect(creditedWei).toBe(BigInt(segments) * EARNED_WEI);
  await until(async () => (await bookedWei(program)) >= creditedWei, 60_000);
  expect(await bookedWei(program)).toBe(creditedWei);
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
}, 240_000);

test("what a gateway was answered and has not fetched yet outlives a crash: the next process has it", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  await using stock = startStockGateway({
    orchestrators: [`https://${program.addr}`],
    profiles: readyProfiles,
    patience: 10,
  });
  const rigs = await workers(program, 0);
  // Its downloads are held back until the process that answered is dead.
  const before = await program.pid();
  let fetched: readonly string[] = [];
  const outcome = await stock.openStream("spooled").then((stream) =>
    stream.push(0, sourceSegment, UNHURRIED_MS, async (urls) => {
      fetched = urls;
      process.kill(before, "SIGKILL");
      await until(async () => (await program.pid().catch(() => before)) !== before, 60_000);
    }),
  );
  expect(fetched).toHaveLength(readyProfiles.length);
  expect(
    outcome.kind === "renditions" && outcome.renditions.map((one, i) => one.equals(readyRenditions[i]!.data)),
  ).toEqual(readyProfiles.map(() => true));
  for (const rig of rigs) await rig[Symbol.asyncDispose]();
}, 240_000);

test("everything but the database is killed: the next start takes the books over as they were", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "openpool-killed-"));
  try {
    const first = await startProgram({ dataDir });
    const rigs = await workers(first, 0);
    const traffic = startTraffic(first, 3);
    // At any moment of a segment, with others before and behind it.
    const random = seeded(seed);
    const killAt = 5 + Math.floor(random() * 20);
    await until(() => traffic.outcomes.length >= killAt, 60_000);
    await new Promise((resolve) => setTimeout(resolve, random() * 50));
    const served = await first.pid();
    const gone = once(first.process, "exit");
    first.process.kill("SIGKILL");
    process.kill(served, "SIGKILL");
    await gone;
    await traffic.stop();
    const answered = traffic.done();
    for (const rig of rigs) rig.kill();

    await using second = await startProgram({ dataDir });
    onTestFailed(() => {
      process.stderr.write(second.log());
    });
    // What was in flight may be credited without having been answered; never the other way round, and nothing twice.
    const { segments, creditedWei } = await second.credited();
    expect(segments).toBeGreaterThanOrEqual(answered);
    expect(segments).toBeLessThanOrEqual(traffic.outcomes.length);
    expect(creditedWei).toBe(BigInt(segments) * EARNED_WEI);
    await until(async () => (await bookedWei(second)) >= creditedWei, 60_000);
    expect(await bookedWei(second)).toBe(creditedWei);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}, 240_000);
