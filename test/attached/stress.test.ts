import { expect, test } from "vitest";
import { seed } from "../chance.ts";
import { UNHURRIED_MS } from "../e2e/pool.ts";
import { faultsOf, runStress } from "./stress.ts";

test("with workers that die at random every task is answered, none twice, and credits equal answers", async () => {
  const plan = { seed, seconds: 4, workers: 12, streams: 6, paceMs: 0, durationMs: UNHURRIED_MS };
  const stressed = await runStress(plan);
  // The seed repeats the chances of a run: see bench/stress-attached.ts, which runs it for long, and with live segments.
  expect(faultsOf(stressed), JSON.stringify({ plan, stressed })).toEqual([]);
}, 120_000);
