import { chanceOf } from "./sim-chance.ts";
import { address, DEPTH, TOKEN, World } from "./sim-chain.ts";
import { MemoryBooks, openRun } from "./sim-books.ts";
import type { NodeMode } from "./sim-node.ts";
import { MultisigPeople, Operator } from "./sim-people.ts";
import { SimPool } from "./sim-pool.ts";
import { Disaster } from "./sim-restore.ts";

export interface Simulated {
  readonly crashes: number;
  readonly runs: number;
  readonly lostIntents: number;
  readonly versions: number;
  readonly halts: number;
  /** Payouts that a person let go or took back. */
  readonly approvals: number;
  /** The books were set back to a backup. */
  readonly restores: number;
  /** The pool was started with another chain id. */
  readonly moves: number;
  /** Transactions of a multisig. */
  readonly executed: number;
  /** Workers wanted to be paid elsewhere. */
  readonly payToChanges: number;
  readonly paidWei: bigint;
  /** Of it, by pools that pay in nothing but a token. */
  readonly paidInToken: bigint;
}

const ROUND_MS = 20_000;
const ROUNDS = 60;
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
  const limits = chanceOf(seed ^ 0x2545f491);
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
  const crashRate = chance() < 0.2 ? 0 : 0.03 * chance();
  const failRate = 0.02 * chance();
  const method = isMultisig ? "safe" : chance() < 0.5 ? "batch" : chance() < 0.5 ? "transfers" : "auto";
  const batchSize = 1 + pick(4);
  const isMixed = !paysToken && limits() < 0.3;
  const isCapped = limits() < 0.2;
  const books = new MemoryBooks();
  const pool = new SimPool({
    name: `seed ${seed}`,
    chance,
    worlds,
    workers,
    books,
    rules: {
      method,
      asset: paysToken ? TOKEN : "eth",
      choices: isMixed ? [TOKEN] : [],
      dailyCapWei: isCapped ? 2_000_000n : undefined,
      approvalAboveWei: limits() < 0.2 ? 500_000n : undefined,
      maxGasPriceWei: limits() < 0.2 ? 600n : undefined,
    },
    settings: { batchSize, payToDelayMs: limits() < 0.5 ? 0 : 5 * ROUND_MS },
    trouble() {
      if (worlds[0].healthy) return undefined;
      const roll = chance();
      return roll < crashRate ? "crash" : roll < crashRate + failRate ? "fail" : undefined;
    },
  });
  const operator = new Operator(pool);
  const people = new MultisigPeople(pool);
  const disaster = new Disaster(pool, books);

  const pass = (): void => {
    for (const world of worlds) {
      world.timeMs += ROUND_MS;
      world.tick();
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    if (chance() < 0.3) await pool.credit(workers[pick(workers.length)]!, BigInt(1 + pick(1_000_000)));
    if (chance() < 0.2) {
      // At most one of three lies; others may be late or gone at the same time.
      const modes: NodeMode[] = ["well", "well", "late", "down", "lying"];
      const bad = pick(3);
      for (const [i, node] of pool.nodes.entries()) node.setMode(modes[pick(i % 3 === bad ? 5 : 4)]!);
    }
    if (more() < payToRate) {
      const worker = workers[Math.floor(more() * workers.length)]!;
      // Who takes no token at all would halt the payouts for ever.
      const asset = isMixed && !refusing.has(worker) && limits() < 0.5 ? TOKEN : "pool";
      await pool.changePayTo(worker, { asset, maxGasPriceWei: limits() < 0.3 ? 300n : 0n });
    }
    pool.monotonicMs += ROUND_MS;
    // The wall clock jumps as it likes.
    pool.nowMs += chance() < 0.05 ? Math.floor((chance() - 0.5) * 10 ** 9) : ROUND_MS;
    if (chance() < 0.05) pool.leader = 1 - pool.leader;
    const plan = chance() < 0.3;
    if (chance() < 0.3) await Promise.all([pool.drive(0, plan), pool.drive(1, plan)]);
    else await pool.drive(pool.leader, plan);
    await pool.check(`round ${round}`);
    pass();
    await pool.check(`round ${round}`);
    if (chance() < 0.3) await operator.look();
    if (movesAbout && chance() < 0.1) await pool.moveTo();
    if (isMultisig) await people.meet();
    await pool.check(`round ${round}`);
    // What was paid on the other chain is in no book that was set back, and on no chain that a resume reads.
    if (movesAbout || isMultisig) continue;
    if (!disaster.hasBackup && disaster.restores === 0 && chance() < 0.03) disaster.backUp();
    else if (disaster.hasBackup && chance() < 0.05) {
      await disaster.restore();
      operator.forget();
    }
  }

  for (const world of worlds) world.healthy = true;
  for (const node of pool.nodes) node.setMode("well");
  await heal(pool, async () => {
    await operator.look();
    if (isMultisig) await people.meet();
    // What the cap keeps back today is paid on another day.
    if (isCapped) pool.nowMs += 6 * 60 * 60 * 1000;
  });
  await pool.checkEnd();
  const { store } = books;
  const paidWei = [...store.books.values()].reduce((sum, one) => sum + one.paidWei, 0n);
  return {
    crashes: pool.crashes,
    runs: (await store.runs()).length,
    lostIntents: store.intents.filter((one) => one.state === "lost").length,
    versions: store.intents.reduce((sum, one) => sum + one.transactions.length, 0),
    halts: operator.halts,
    approvals: operator.approvals,
    restores: disaster.restores,
    moves: pool.moves,
    executed: people.executed.length,
    payToChanges: pool.payToChanges,
    paidWei,
    paidInToken: paysToken ? paidWei : 0n,
  };
}

/** Lets a pool work in a healthy world until nothing is left to be paid, and some blocks longer. Throws where that never is. */
export async function heal(pool: SimPool, meanwhile: (round: number) => Promise<void>): Promise<void> {
  const { worlds, name } = pool.options;
  // Also what books that were set back know nothing of comes out, some blocks later.
  for (let round = 0, calm = 0; calm < 2 * DEPTH; round++) {
    calm = (await pool.isSettled()) ? calm + 1 : 0;
    if (round > MAX_HEALING) {
      const { halted, waitingFor } = await pool.engine.status();
      throw new Error(`${name}: it does not come to an end: ${halted?.message ?? waitingFor}`);
    }
    await meanwhile(round);
    await pool.drive(pool.leader, (await openRun(pool.books)) === undefined);
    for (const world of worlds) {
      world.timeMs += ROUND_MS;
      world.tick();
    }
    pool.monotonicMs += ROUND_MS;
    pool.nowMs += ROUND_MS;
    await pool.check(`healing ${round}`);
  }
  for (const world of worlds) for (let i = 0; i < DEPTH; i++) world.mine();
}
