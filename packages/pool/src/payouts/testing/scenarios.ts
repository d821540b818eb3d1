import type { WorkerAddress } from "@openpool/protocol";
import type { PayoutSettings } from "../context.ts";
import { address, DEPTH, TOKEN } from "./sim-chain.ts";
import { MemoryBooks } from "./sim-books.ts";
import type { SimPool } from "./sim-pool.ts";
import { Disaster } from "./sim-restore.ts";

/** A payout from its beginning to its end, in which one process after the other is to crash. */
export interface Scenario {
  readonly name: string;
  readonly rules: Partial<PayoutSettings["rules"]>;
  readonly settings?: Partial<PayoutSettings>;
  /** How many of the workers take no money. */
  readonly refusing?: number;
  /** So many payouts the people of the multisig cancel before they make one. */
  readonly cancels?: number;
  /** Books that can be set back: only those in memory. */
  readonly onlyInMemory?: boolean;
  /** What happens besides: begun anew for every run, asked before every round. */
  readonly begin?: (pool: SimPool, workers: readonly WorkerAddress[]) => (round: number) => Promise<void> | void;
}

export const WORKERS = 4;

/** The number of blocks, the newest included, since the oldest that is not final and has a transaction; 0: there is none. */
function depthOfPayment({ world }: SimPool): number {
  const first = world.blocks.findIndex((block) => block.number > world.final && block.receipts.size > 0);
  return first < 0 ? 0 : world.blocks.length - first;
}

/** Does something once, when it is time. */
function once(isTime: () => boolean, what: () => Promise<void> | void): () => Promise<void> | void {
  let isDone = false;
  return () => {
    if (isDone || !isTime()) return undefined;
    isDone = true;
    return what();
  };
}

/** The blocks of a payment vanish when it has so many; its transactions wait again, or nobody knows them any more. */
const reorgAt = (depth: number, waitsAgain: boolean): NonNullable<Scenario["begin"]> =>
  function begin(pool) {
    return once(
      () => depthOfPayment(pool) >= depth,
      () => pool.world.reorg(depth, () => waitsAgain),
    );
  };

/** Every way to pay, and what may come across it. */
export const scenarios: readonly Scenario[] = [
  { name: "transfers", rules: { method: "transfers" }, refusing: 1 },
  { name: "batches", rules: { method: "batch" }, refusing: 1 },
  { name: "a token in batches", rules: { method: "batch", asset: TOKEN } },
  { name: "a token by transfers", rules: { method: "transfers", asset: TOKEN }, refusing: 1 },
  {
    name: "ETH and a token, batches and transfers",
    rules: { method: "auto", choices: [TOKEN] },
    begin: (pool, workers) =>
      once(
        () => true,
        async () => {
          for (const worker of workers.slice(0, 3)) await pool.changePayTo(worker, { asset: TOKEN });
        },
      ),
  },
  {
    name: "a multisig, ETH and a token",
    rules: { method: "safe", choices: [TOKEN] },
    begin: (pool, [first]) =>
      once(
        () => true,
        () => pool.changePayTo(first!, { asset: TOKEN }),
      ),
  },
  { name: "a multisig that cancels first", rules: { method: "safe" }, refusing: 1, cancels: 1 },
  {
    name: "an approval, and a cap that leaves the rest to other days",
    rules: { method: "batch", approvalAboveWei: 100_000n, dailyCapWei: 1_000_000n },
    begin: (pool) => (round) => {
      if (round % 10 === 9) pool.nowMs += 24 * 60 * 60 * 1000;
    },
  },
  {
    name: "gas that is over the limits of the pool and of a worker for a while",
    rules: { method: "transfers", maxGasPriceWei: 50n },
    begin(pool, [first]) {
      const wish = once(
        () => true,
        () => pool.changePayTo(first!, { maxGasPriceWei: 20n }),
      );
      return async (round) => {
        await wish();
        // Too dear; cheap enough to plan and send; too dear again; cheap enough for the pool; for everybody.
        pool.world.calmFee = round < 4 ? 100n : round < 6 ? 30n : round < 9 ? 70n : round < 20 ? 30n : 10n;
      };
    },
  },
  {
    name: "changes of address that come into force while a payout is under way",
    rules: { method: "batch" },
    settings: { payToDelayMs: 100_000, batchSize: 1 },
    begin: (pool, workers) => async (round) => {
      if (round < workers.length) await pool.changePayTo(workers[round]!);
      if (round === 12) for (const worker of workers) await pool.credit(worker, 17n);
    },
  },
  { name: "a block that vanishes", rules: { method: "transfers" }, begin: reorgAt(1, true) },
  { name: "all blocks up to the last final one vanish", rules: { method: "batch" }, begin: reorgAt(DEPTH - 1, true) },
  {
    name: "they vanish, and nobody knows their transactions any more",
    rules: { method: "auto", choices: [TOKEN] },
    begin: reorgAt(DEPTH - 1, false),
  },
  {
    name: "nodes that forget what waits",
    rules: { method: "transfers" },
    begin: (pool) => (round) => {
      pool.world.forgetful = round < 4;
    },
  },
  {
    name: "gas that rises over what was offered",
    rules: { method: "batch" },
    begin: (pool) => (round) => {
      pool.world.calmFee = round >= 1 && round < 16 ? 60n : 10n;
    },
  },
  {
    name: "somebody else uses the key",
    rules: { method: "transfers" },
    begin: (pool) => (round) => {
      if (round === 0) pool.world.strike();
    },
  },
  {
    name: "books that are set back to before the payout",
    rules: { method: "batch" },
    onlyInMemory: true,
    begin(pool, [first]) {
      const { books } = pool;
      if (!(books instanceof MemoryBooks)) throw new Error("these books cannot be set back");
      const disaster = new Disaster(pool, books);
      disaster.backUp();
      return once(
        () => depthOfPayment(pool) > 1,
        async () => {
          await disaster.restore();
          await pool.credit(first!, 5n);
        },
      );
    },
  },
];

/** Nobody is paid at it in another run. */
export const workersOf = (run: number): readonly WorkerAddress[] =>
  Array.from({ length: WORKERS }, (_, i) => address(0x100000 + run * WORKERS + i));
