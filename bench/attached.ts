/**
 * The same traffic through both doors of one pool, in turns: gateways that come to the pool, and an orchestrator that has
 * it for a transcoder. Writes `bench/results/attached-<time>.json`.
 *
 *   npx tsx --conditions=source bench/attached.ts --streams 1,16 --segments 200 --rounds 4
 *   npx tsx --conditions=source bench/attached.ts --distance-ms 25 --registrations 2
 *
 * With a distance only the orchestrator is asked, which is then that far away, and the pool registers with it that often.
 * Figures move with the machine: compare within one run, where the doors take turns. Ends with 1 when a task was lost, or when
 * half of the segments take longer through the orchestrator than 1.3 times what they take from gateways.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Distance, startDistance } from "../test/peers/distance.ts";
import { startStockOrchestrator } from "../test/peers/stock-orchestrator.ts";
import { runGateways } from "./load/gateways.ts";
import { quantile, round, spread } from "./load/numbers.ts";
import { runOrchestrator } from "./load/orchestrator.ts";
import { startPoolProcess } from "./load/pool-process.ts";
import { usageOf } from "./load/processes.ts";
import { startLoadWorker } from "./load/workers.ts";
import { loadNow, report } from "./measure.ts";

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "1,16" },
    segments: { type: "string", default: "200" },
    rounds: { type: "string", default: "4" },
    "warm-up": { type: "string", default: "1000" },
    "distance-ms": { type: "string", default: "0" },
    registrations: { type: "string", default: "1" },
  },
});
const [segments, rounds, warmUp, distanceMs, registrations] = (
  ["segments", "rounds", "warm-up", "distance-ms", "registrations"] as const
).map((name) => Number(values[name])) as [number, number, number, number, number]; // as many as were named
const SECRET = "bench";
/** What the median through an orchestrator may be of that from gateways. */
const MOST_RATIO = 1.3;

const loadAtStart = loadNow();
const dir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
const secretFile = join(dir, "orch.secret");
await writeFile(secretFile, `${SECRET}\n`, { mode: 0o600 });
await using orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false });
await using distance: Distance | undefined =
  distanceMs > 0 ? await startDistance(orchestrator.addr, distanceMs) : undefined;
const upstreams = Array.from({ length: registrations }, (_, i) => [
  "--upstream",
  `main${i}=${distance?.addr ?? orchestrator.addr}`,
]);
await using pool = await startPoolProcess([...upstreams.flat(), "--upstream-secret-file", secretFile, "--gateways"]);
const workers = await Promise.all(
  [0, 1].map((i) =>
    startLoadWorker({
      address: pool.address,
      secret: `0x00000000000000000000000000000000000000AA.rig${i}`,
      capacity: 256,
      delayMs: 0,
    }),
  ),
);
// Offers are told anew as workers come: the last one counts both.
await orchestrator.until(
  () => orchestrator.live.length === registrations && orchestrator.live.every(({ capacity }) => capacity >= 500),
  60_000,
);

const doors = {
  gateways: (streams: number, count: number) =>
    runGateways({ address: pool.address, streams, segments: count, warmUp: 0, paceMs: 0 }),
  attached: (streams: number, count: number) => runOrchestrator(orchestrator, { streams, segments: count }),
};
type DoorName = keyof typeof doors;
const asked: readonly DoorName[] = distanceMs > 0 ? ["attached"] : ["gateways", "attached"];

async function measure(streams: number): Promise<Record<string, unknown>> {
  const sums = Object.fromEntries(
    asked.map((door) => [
      door,
      { latenciesMs: [] as number[], cpuMs: 0, postgresMs: 0, tookMs: 0, lost: new Map<string, number>() },
    ]),
  );
  for (let turn = 0; turn < rounds; turn++) {
    for (const door of turn % 2 === 0 ? asked : [...asked].reverse()) {
      const before = usageOf(pool.pid);
      const run = await doors[door](streams, segments);
      const after = usageOf(pool.pid);
      const sum = sums[door]!;
      sum.latenciesMs.push(...run.latenciesMs);
      sum.cpuMs += after.cpuMs - before.cpuMs;
      sum.postgresMs += after.postgresCpuMs - before.postgresCpuMs;
      sum.tookMs += run.tookMs;
      for (const [why, count] of run.lost) sum.lost.set(why, (sum.lost.get(why) ?? 0) + count);
    }
  }
  const ratio = quantile(sums["attached"]!.latenciesMs, 0.5) / quantile(sums["gateways"]?.latenciesMs ?? [], 0.5);
  const measured = Object.fromEntries(
    Object.entries(sums).map(([door, { latenciesMs, cpuMs, postgresMs, tookMs, lost }]) => [
      door,
      {
        latencyMs: spread(latenciesMs),
        cpuMsPerSegment: round(cpuMs / latenciesMs.length),
        postgresCpuMsPerSegment: round(postgresMs / latenciesMs.length),
        segmentsPerSecond: round((1_000 * latenciesMs.length) / tookMs),
        lost: Object.fromEntries(lost),
      },
    ]),
  );
  const lost = Object.values(sums).some((sum) => sum.lost.size > 0);
  if (lost || ratio > MOST_RATIO) process.exitCode = 1;
  return Number.isNaN(ratio)
    ? measured
    : { ...measured, p50OfAttachedToGateways: round(ratio), must: MOST_RATIO, met: ratio <= MOST_RATIO };
}

for (const door of asked) await doors[door](8, warmUp);
const results: Record<string, unknown> = {};
for (const streams of values.streams.split(",").map(Number)) results[`${streams} streams`] = await measure(streams);
const { ejected, unknownResults, duplicateResults } = orchestrator.complaints;
const given = { segments: segments * rounds, rounds, warmUp, distanceMs, registrations };
process.env["BENCH_OUT"] ??= `bench/results/attached-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.json`;
const seen = { ejected, unknownResults, duplicateResults, connections: distance?.connections };
await report("the attached door beside that of gateways", given, { ...results, orchestrator: seen }, loadAtStart);
for (const worker of workers) await worker[Symbol.asyncDispose]();
await rm(dir, { recursive: true, force: true });
