import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testPostgres } from "../store/testing/test-store.ts";
import { AnvilWorld, FINALITY } from "./testing/anvil-pool.ts";
import { payWithDeaths, ways } from "./testing/killed-payers.ts";
import { noteProof, triesAll } from "./testing/proof.ts";
import { chanceOf } from "./testing/sim-chance.ts";

/** Of all places at which a payer can be killed, so many for each way to pay; `bench/payout-proof.ts` tries them all. */
const SAMPLE = 1;

let world: AnvilWorld;
beforeAll(async () => {
  world = await AnvilWorld.start();
}, 120_000);
afterAll(() => world[Symbol.asyncDispose]());

// Before there are many databases: all of them are read through and synced after each kill.
test("Postgres is killed again and again while a payout is made: it comes out, once", async () => {
  await using pool = await world.openPool({ settings: { batchSize: 1 } });
  const postgres = await testPostgres();
  const workers = [world.newWorker(), world.newWorker(), world.newWorker()];
  for (const [i, worker] of workers.entries()) await pool.owe(worker, 6_000n + BigInt(i));
  let kills = 0;
  /** Kills it while something is done, and waits until it is back. */
  const killDuring = async (work: () => Promise<unknown>): Promise<void> => {
    const { pid, restarts } = postgres;
    const done = work().then(
      () => "done",
      () => "nobody knows",
    );
    if (pid !== undefined) {
      process.kill(pid, "SIGKILL");
      kills += 1;
    }
    await done;
    await expect.poll(() => postgres.restarts, { timeout: 60_000 }).toBeGreaterThan(restarts);
  };
  const { engine } = pool;
  await killDuring(() => engine.plan({ dryRun: false }));
  for (let i = 0; i < 2; i++) {
    await killDuring(() => engine.step());
    await world.mine();
  }
  await expect
    .poll(
      async () => {
        await engine.plan({ dryRun: false }).catch(() => {});
        await engine.step().catch(() => {});
        await world.mine();
        const [run] = await engine.runs().catch(() => []);
        return run?.state;
      },
      { timeout: 60_000, interval: 10 },
    )
    .toBe("done");
  await world.mine(FINALITY);
  expect(kills).toBe(3);
  for (const [i, worker] of workers.entries()) {
    expect(await pool.chain.balance(worker)).toBe(6_000n + BigInt(i));
    expect((await pool.ledger.balance(worker)).paidWei).toBe(6_000n + BigInt(i));
  }
  expect(await engine.runs()).toHaveLength(1);
}, 240_000);

describe.each(ways)("$name", (way) => {
  test(
    "two processes pay at once, each is killed at a question of its own, and everybody is paid once",
    async () => {
      const { asked } = await payWithDeaths(world, way, []);
      expect(asked).toBeGreaterThan(20);
      const chance = chanceOf(asked);
      // Two that race can come along with a few questions less: at the very last ones nobody would die.
      const drawn = Math.floor(asked * 0.9);
      const places = triesAll
        ? Array.from({ length: asked }, (_, i) => i + 1)
        : // Spread over the whole, so that signing, sending and booking have their turn.
          Array.from({ length: SAMPLE }, (_, i) => 1 + Math.floor(((i + chance()) * drawn) / SAMPLE));
      let killed = 0;
      for (const at of places) {
        for (const when of triesAll ? (["before", "after"] as const) : ([at % 2 === 0 ? "before" : "after"] as const)) {
          const second = 1 + Math.floor(chance() * drawn);
          const dies = [{ at, when } as const, { at: second, when: "after" } as const];
          killed += (await payWithDeaths(world, way, dies)).killed;
        }
      }
      expect(killed).toBeGreaterThanOrEqual(places.length);
      noteProof(`kill -9, ${way.name}`, { questions: asked, runs: places.length * (triesAll ? 2 : 1), killed });
    },
    triesAll ? 3_600_000 : 240_000,
  );
});

test("two processes that are left alone pay once", async () => {
  const never = { at: Number.MAX_SAFE_INTEGER, when: "before" } as const;
  const [way] = ways;
  expect(await payWithDeaths(world, way!, [never, never])).toMatchObject({ killed: 0 });
}, 120_000);
