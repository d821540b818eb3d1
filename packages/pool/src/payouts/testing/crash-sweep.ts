import type { WorkerAddress } from "@openpool/protocol";
import type { Scenario } from "./scenarios.ts";
import { workersOf } from "./scenarios.ts";
import { chanceOf } from "./sim-chance.ts";
import { DEPTH, World } from "./sim-chain.ts";
import { MemoryBooks, type SimBooks } from "./sim-books.ts";
import { MultisigPeople, Operator } from "./sim-people.ts";
import { SimPool, START_MS } from "./sim-pool.ts";
import { heal } from "./simulate.ts";

/** The world is well but for what a scenario does, so that the same questions are asked in the same order. */
const CHANCE_SEED = 4;
const DAY_MS = 24 * 60 * 60 * 1000;

export interface SweptRun {
  /** Points at which a process could have crashed: before and after each question to store, chain and signer. */
  readonly points: number;
  readonly crashes: number;
}

export interface RunOptions {
  /** Crashes at this point, then at that one of what follows, and so on; counted from 1. */
  readonly crashAt: readonly number[];
  /** Runs that share books have different numbers. */
  readonly run?: number;
  readonly books?: SimBooks;
}

/**
 * Plays a scenario to its end, with crashes. Throws what was wrong: somebody was paid twice, or never, or the books differ
 * from the chain, or it did not come to an end.
 */
export async function runScenario(
  scenario: Scenario,
  { crashAt, run = 0, books = new MemoryBooks() }: RunOptions,
): Promise<SweptRun> {
  const chance = chanceOf(CHANCE_SEED);
  const workers: readonly WorkerAddress[] = workersOf(run);
  const refusing = new Set(workers.slice(0, scenario.refusing ?? 0));
  const worlds = [new World(chance, refusing, 0), new World(chance, refusing, 0)] as const;
  for (const world of worlds) {
    world.healthy = true;
    for (let i = 0; i < DEPTH; i++) world.mine();
  }
  let points = 0;
  let since = 0;
  const left = [...crashAt];
  await using pool = new SimPool({
    name: `${scenario.name}, crashed at ${crashAt.join(" and ") || "nothing"}`,
    chance,
    worlds,
    workers,
    books,
    rules: scenario.rules,
    settings: scenario.settings ?? {},
    chainIds: [2 * run + 1, 2 * run + 2],
    startMs: START_MS + 30 * DAY_MS * run,
    trouble() {
      points += 1;
      since += 1;
      if (since !== left[0]) return undefined;
      left.shift();
      since = 0;
      return "crash";
    },
  });
  const operator = new Operator(pool);
  const people = new MultisigPeople(pool, scenario);
  const happens = scenario.begin?.(pool, workers);
  for (const [i, worker] of workers.entries()) await pool.credit(worker, 400_000n + BigInt(i));
  await heal(pool, async (round) => {
    await happens?.(round);
    await operator.look();
    if (pool.isMultisig) await people.meet();
    await checkCap(pool, scenario);
  });
  await pool.checkEnd();
  return { points, crashes: pool.crashes };
}

/** Throws where more was planned in a day than may be. */
async function checkCap({ books, nowMs }: SimPool, { name, rules: { dailyCapWei } }: Scenario): Promise<void> {
  if (dailyCapWei === undefined) return;
  const ofToday = (await books.look.runs(100)).filter(
    (run) => run.state !== "cancelled" && run.createdAtMs > nowMs - DAY_MS,
  );
  const plannedWei = ofToday.reduce((sum, { totalWei }) => sum + totalWei, 0n);
  if (plannedWei > dailyCapWei) throw new Error(`${name}: ${plannedWei} were planned in a day`);
}

/** Crashes what is played at every point, one run for each; answers how many there are. Throws at the first that goes wrong. */
export async function crashEverywhere(
  play: (options: RunOptions) => Promise<SweptRun>,
  step = 1,
): Promise<{ readonly points: number; readonly crashes: number }> {
  const { points } = await play({ crashAt: [] });
  let crashes = 0;
  for (let point = 1; point <= points; point += step) crashes += (await play({ crashAt: [point] })).crashes;
  return { points, crashes };
}
