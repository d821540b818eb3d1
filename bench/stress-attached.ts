/**
 * Many workers that die at random behind an orchestrator that gives a late one no other chance: no task without an answer, none
 * answered twice, never ejected, credits equal answers. Each stream sends a segment every two seconds, as live ones do.
 * Writes `bench/results/stress-attached-<time>.json`, with the seed that repeats its chances; ends with 1 if anything is wrong.
 *
 *   npx tsx --conditions=source bench/stress-attached.ts --seconds 600 --workers 300 --streams 64 --seed 7
 */
import { parseArgs } from "node:util";
import { faultsOf, runStress } from "../test/attached/stress.ts";
import { SOURCE_DURATION_MS } from "../test/peers/media.ts";
import { loadNow, report } from "./measure.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    workers: { type: "string", default: "300" },
    streams: { type: "string", default: "64" },
    "pace-ms": { type: "string", default: "2000" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});
const plan = {
  seed: Number(values.seed),
  seconds: Number(values.seconds),
  workers: Number(values.workers),
  streams: Number(values.streams),
  paceMs: Number(values["pace-ms"]),
  durationMs: SOURCE_DURATION_MS,
};
const loadAtStart = loadNow();
const stressed = await runStress(plan);
const faults = faultsOf(stressed);
process.env["BENCH_OUT"] ??= `bench/results/stress-attached-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.json`;
await report("workers that die at random behind an orchestrator", plan, { ...stressed, faults }, loadAtStart);
process.exitCode = faults.length === 0 ? 0 : 1;
