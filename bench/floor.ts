/**
 * What the pool adds to the least that Node needs for a segment (`load/bare-relay.ts`), both in one run, taking turns.
 *
 *   BENCH_OUT=bench/results/floor-DATE.json npx tsx --conditions=source bench/floor.ts [rounds]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseHostPort } from "../test/peers/wire.ts";
import { getInfo } from "./load/gateways.ts";
import { measure } from "./load/measure.ts";
import { throughput } from "./load/scenarios.ts";
import { startLoadWorker } from "./load/workers.ts";
import { loadNow, report } from "./measure.ts";

const loadAtStart = loadNow();
const rounds = Number(process.argv[2] ?? 2);
/** As many as `throughput` warms the pool up with. */
const WARM_UP_SEGMENTS = 1_000;
const plans = [
  { streams: 1, segments: 300, paceMs: 0 },
  { streams: 16, segments: 800, paceMs: 0 },
  { streams: 64, segments: 1_000, paceMs: 0 },
  // About half of what either can do at most.
  { streams: 16, segments: 400, paceMs: 240 },
];

async function bare(plan: (typeof plans)[number]) {
  const file = fileURLToPath(new URL("load/bare-relay.ts", import.meta.url));
  const flags = ["--heap-growing-percent=400", "--max-semi-space-size=4"];
  const child = spawn(process.execPath, [...flags, ...process.execArgv, file], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const address = parseHostPort(line.toString().trim());
  const secrets = ["one", "two"];
  const workers = await Promise.all(
    secrets.map((secret) => startLoadWorker({ address, secret, capacity: 256, delayMs: 0 })),
  );
  await getInfo(address);
  const measured = await measure({
    ...plan,
    address,
    pid: child.pid,
    probeInfo: true,
    warmUp: WARM_UP_SEGMENTS,
    workers,
  });
  for (const worker of workers) await worker[Symbol.asyncDispose]();
  child.stdin.end();
  await once(child, "close");
  return measured;
}

const results = [];
for (let round = 1; round <= rounds; round++) {
  for (const plan of plans) {
    for (const [name, run] of [
      ["bare", bare],
      ["pool", throughput],
    ] as const) {
      const measured = await run(plan);
      const { latencyMs, cpuMsPerSegment, generatorCpuMsPerSegment, segmentsPerSecond, peakResidentMb, lost } =
        measured;
      const infoMs = measured.getOrchestrator?.answerMs;
      results.push({ name, round, ...measured });
      process.stdout.write(
        `${name} ${plan.streams}${plan.paceMs > 0 ? " at half load" : ""}: p50 ${latencyMs.p50} p99 ${latencyMs.p99} ms, CPU ${cpuMsPerSegment} ms a segment ` +
          `(generator ${generatorCpuMsPerSegment}), ${segmentsPerSecond}/s, ${peakResidentMb} MB, lost ${lost}, GetOrchestrator p50 ${infoMs?.p50} p99 ${infoMs?.p99} ms\n`,
      );
    }
  }
}
await report("the pool beside the least that Node needs", { rounds }, results, loadAtStart);
