import { chanceOf } from "./sim-chance.ts";
import { address, DEPTH, World } from "./sim-chain.ts";
import type { NodeMode } from "./sim-node.ts";
import { MultisigPeople, Operator } from "./sim-people.ts";
import { SimPool } from "./sim-pool.ts";

export interface Simulated {
  readonly crashes: number;
  readonly runs: number;
  readonly lostIntents: number;
  readonly versions: number;
  readonly halts: number;
  /** The books were set back to a backup. */
  readonly restores: number;
  /** The pool was started with another chain id. */
  readonly moves: number;
  /** Transactions of a multisig. */
  readonly executed: number;
  /** Workers wanted to be paid elsewhere. */
  readonly payToChanges: number;
  readonly paidWei: bigint;
  /** Of it, in a token. */
  readonly paidInToken: bigint;
}

const ROUNDS = 60;
const ROUND_MS = 20_000;
/** So many rounds of health are enough for everything to come out. */
const MAX_HEALING = 400;

/**
 * Runs a pool's payouts through a bad world and then lets it heal. Throws what was wrong: somebody was paid twice, or
 * never, or the books differ from the chain, or it did not come to an end.
 */
export async function simulatePayouts(seed: number): Promise<Simulated> {
  const chance = chanceOf(seed);
  // What came later has a chance of its own, so that seeds go on to mean what they meant.
  const more = chanceOf(seed ^ 0x5bd1e995);
  const pick = (n: number): number => Math.floor(chance() * n);
  const workers = Array.from({ length: 2 + pick(5) }, (_, i) => address(0x100 + i));
  const refusing = new Set(workers.filter(() => chance() < 0.15));
  const foreigners = chance() < 0.3 ? 1 + pick(2) : 0;
  // The operator of some pools changes the chain that they pay on, also in the middle of a payout.
  const movesAbout = foreigners === 0 && chance() < 0.3;
  // Others are paid by a multisig.
  const isMultisig = foreigners === 0 && !movesAbout && chance() < 0.25;
  const paysToken = !isMultisig && more() < 0.3;
  const payToRate = more() < 0.5 ? 0 : 0.1;
  const worlds = [new World(chance, refusing, foreigners), new World(chance, refusing, 0)] as const;
  const pool = new SimPool({ seed, chance, worlds, workers, isMultisig, paysToken });
  const operator = new Operator(pool);
  const people = new MultisigPeople(pool);

  const pass = (): void => {
    for (const world of worlds) {
      world.timeMs += ROUND_MS;
      world.tick();
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    if (chance() < 0.3) pool.credit(workers[pick(workers.length)]!, BigInt(1 + pick(1_000_000)));
    if (chance() < 0.2) {
      // At most one of three lies; others may be late or gone at the same time.
      const modes: NodeMode[] = ["well", "well", "late", "down", "lying"];
      const bad = pick(3);
      for (const [i, node] of pool.nodes.entries()) node.setMode(modes[pick(i % 3 === bad ? 5 : 4)]!);
    }
    if (more() < payToRate) await pool.changePayTo(workers[Math.floor(more() * workers.length)]!);
    pool.monotonicMs += ROUND_MS;
    // The wall clock jumps as it likes.
    pool.nowMs += chance() < 0.05 ? Math.floor((chance() - 0.5) * 10 ** 9) : ROUND_MS;
    if (chance() < 0.05) pool.leader = 1 - pool.leader;
    const plan = chance() < 0.3;
    if (chance() < 0.3) await Promise.all([pool.drive(0, plan), pool.drive(1, plan)]);
    else await pool.drive(pool.leader, plan);
    pool.check(`round ${round}`);
    pass();
    pool.check(`round ${round}`);
    if (chance() < 0.3) await operator.look();
    if (movesAbout && chance() < 0.1) pool.moveTo();
    if (isMultisig) await people.meet();
    pool.check(`round ${round}`);
    // What was paid on the other chain is in no book that was set back, and on no chain that a resume reads.
    if (movesAbout || isMultisig) continue;
    if (!pool.hasBackup && pool.restores === 0 && chance() < 0.03) pool.backUp();
    else if (pool.hasBackup && chance() < 0.05) {
      await pool.restore();
      operator.forget();
    }
  }

  for (const world of worlds) world.healthy = true;
  for (const node of pool.nodes) node.setMode("well");
  // Also what books that were set back know nothing of comes out, some blocks later.
  for (let round = 0, calm = 0; calm < 2 * DEPTH; round++) {
    calm = (await pool.isSettled()) ? calm + 1 : 0;
    if (round > MAX_HEALING) {
      const { halted, waitingFor } = await pool.engine.status();
      throw new Error(`seed ${seed}: it does not come to an end: ${halted?.message ?? waitingFor}`);
    }
    await operator.look();
    if (isMultisig) await people.meet();
    await pool.drive(pool.leader, (await pool.store.openRuns()).length === 0);
    pass();
    pool.monotonicMs += ROUND_MS;
    pool.nowMs += ROUND_MS;
    pool.check(`healing ${round}`);
  }
  for (const world of worlds) for (let i = 0; i < DEPTH; i++) world.mine();
  pool.check("the end");
  const { store } = pool;
  for (const worker of workers) {
    const paid = store.books.get(worker)?.paidWei ?? 0n;
    const received = pool.receivedBy(worker);
    if (paid !== received) throw new Error(`seed ${seed}: ${worker} has ${received} and the books say ${paid}`);
    if (!refusing.has(worker) && paid !== store.creditedWei(worker)) {
      throw new Error(`seed ${seed}: ${worker} was not paid all`);
    }
  }
  const paidWei = [...store.books.values()].reduce((sum, one) => sum + one.paidWei, 0n);
  return {
    crashes: pool.crashes,
    runs: (await store.runs()).length,
    lostIntents: store.intents.filter((one) => one.state === "lost").length,
    versions: store.intents.reduce((sum, one) => sum + one.transactions.length, 0),
    halts: operator.halts,
    restores: pool.restores,
    moves: pool.moves,
    executed: people.executed.length,
    payToChanges: pool.payToChanges,
    paidWei,
    paidInToken: paysToken ? paidWei : 0n,
  };
}
