/**
 * That payouts are made once, tried at length: `npx tsx --conditions=source bench/payout-proof.ts [PART…] [--from=N] [--seeds=N]`.
 *
 * - `seeds`: random bad worlds, `--seeds` of them from `--from` on
 * - `crashes`: every way to pay and what may come across it, crashed at every point, and at `--pairs` pairs of points
 * - `postgres`: the same at every point, on real books
 * - `kills`: processes of their own, on a real chain, each killed at every question (an hour)
 *
 * What fails is printed, and can be run again alone. `BENCH_OUT` names the file of the record.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { crashEverywhere, runScenario } from "../packages/pool/src/payouts/testing/crash-sweep.ts";
import { scenarios } from "../packages/pool/src/payouts/testing/scenarios.ts";
import { chanceOf } from "../packages/pool/src/payouts/testing/sim-chance.ts";
import { simulatePayouts } from "../packages/pool/src/payouts/testing/simulate.ts";
import { loadNow, report } from "./measure.ts";

type Counts = Readonly<Record<string, number>>;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    from: { type: "string", default: "1" },
    seeds: { type: "string", default: "5000" },
    pairs: { type: "string", default: "500" },
  },
});
const loadAtStart = loadNow();
let failed = 0;
/** Answers whether it went well; says what did not. */
async function tried<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    failed += 1;
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

async function trySeeds(): Promise<Counts> {
  const [from, count] = [Number(values.from), Number(values.seeds)];
  const sums = {
    crashes: 0,
    halts: 0,
    approvals: 0,
    restores: 0,
    runs: 0,
    lostIntents: 0,
    versions: 0,
    payToChanges: 0,
  };
  for (let seed = from; seed < from + count; seed++) {
    const result = await tried(() => simulatePayouts(seed));
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result?.[key] ?? 0;
  }
  return { from, seeds: count, ...sums };
}

async function tryCrashes(): Promise<Readonly<Record<string, Counts>>> {
  const results: Record<string, Counts> = {};
  for (const scenario of scenarios) {
    const swept = await tried(() => crashEverywhere((options) => runScenario(scenario, options)));
    if (!swept) continue;
    const chance = chanceOf(swept.points);
    const any = (): number => 1 + Math.floor(chance() * swept.points);
    let crashedTwice = 0;
    for (let i = 0; i < Number(values.pairs); i++) {
      const pair = [any(), any()];
      if ((await tried(() => runScenario(scenario, { crashAt: pair })))?.crashes === 2) crashedTwice += 1;
    }
    results[scenario.name] = { points: swept.points, crashedOnce: swept.crashes, crashedTwice };
  }
  return results;
}

/** Lets a test try everything instead of its sample, and reads what that was. */
async function tryTest(file: string): Promise<Readonly<Record<string, Counts>>> {
  const dir = await mkdtemp(join(tmpdir(), "openpool-proof-"));
  const proof = join(dir, "proof.jsonl");
  const { status } = spawnSync("npx", ["vitest", "run", "--reporter=verbose", `packages/pool/src/payouts/${file}`], {
    env: { ...process.env, TEST_PAYOUT_PROOF: proof },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) failed += 1;
  const lines = (await readFile(proof, "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
  await rm(dir, { recursive: true });
  return Object.fromEntries(
    lines.map((line) => {
      const { what, ...counts } = JSON.parse(line) as Counts & { readonly what: string };
      return [what, counts];
    }),
  );
}

const parts: Readonly<Record<string, () => Promise<object>>> = {
  seeds: trySeeds,
  crashes: tryCrashes,
  postgres: () => tryTest("simulation-postgres.test.ts"),
  kills: () => tryTest("killed-anvil.test.ts"),
};
const results: Record<string, object> = {};
for (const name of positionals.length > 0 ? positionals : Object.keys(parts)) {
  const part = parts[name];
  if (!part) throw new Error(`there is no part ${name}: ${Object.keys(parts).join(", ")}`);
  const startedMs = performance.now();
  const counts = await part();
  results[name] = { seconds: Math.round((performance.now() - startedMs) / 1000), ...counts };
}
await report("payouts are made once", values, { failed, ...results }, loadAtStart);
process.exitCode = failed === 0 ? 0 : 1;
