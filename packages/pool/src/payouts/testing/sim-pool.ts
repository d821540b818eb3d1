import { type Clock, PoolError, silentLogger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { openQuorumChain } from "../../chain/quorum.ts";
import type { PayoutSettings } from "../context.ts";
import { PayoutEngine } from "../engine.ts";
import type { PayoutStore } from "../ports.ts";
import { MemoryPayoutStore } from "./memory-store.ts";
import { Crash, unsteady } from "./sim-chance.ts";
import {
  address,
  CONTRACT,
  DEPTH,
  PAYER,
  RUNTIME,
  simCalls,
  simSigner,
  toHex,
  TOKEN,
  type World,
} from "./sim-chain.ts";
import { SimNode } from "./sim-node.ts";

/** What a process may ask that does not pay. */
const READS = new Set(
  "payable payees control plannedSince accounts givenUp runs run linesOf finalLines line booksCatchUp workers multisigs knownTransactions lastSignedMs payToChanges".split(
    " ",
  ),
);

export interface SimPoolOptions {
  readonly seed: number;
  readonly chance: () => number;
  readonly worlds: readonly [World, World];
  readonly workers: readonly WorkerAddress[];
  readonly isMultisig: boolean;
  readonly paysToken: boolean;
}

/** Two processes of a pool that pay on one of two chains, out of books that survive them. */
export class SimPool {
  readonly options: SimPoolOptions;
  readonly nodes: readonly SimNode[];
  store = new MemoryPayoutStore();
  /** What workers really earned; books that were set back know less. */
  readonly credited = new Map<WorkerAddress, bigint>();
  /** Whose an address is, of those that workers named. */
  readonly #owners = new Map<WorkerAddress, WorkerAddress>();
  #settings: PayoutSettings;
  readonly #chains: readonly ReturnType<typeof openQuorumChain>[];
  readonly #crashRate: number;
  readonly #failRate: number;
  readonly #engines: PayoutEngine[];
  /** On which of the two chains the pool pays. */
  #place = 0;
  #backup: { readonly store: MemoryPayoutStore; readonly atMs: number } | undefined;
  /** Which of the two processes holds the lock. */
  leader = 0;
  nowMs = 1_700_000_000_000;
  monotonicMs = 0;
  crashes = 0;
  moves = 0;
  restores = 0;
  payToChanges = 0;
  #ids = 0;

  constructor(options: SimPoolOptions) {
    this.options = options;
    const { chance, worlds, isMultisig, paysToken } = options;
    const nodesOf = worlds.map((of, place) => [0, 1, 2].map((i) => new SimNode(`node ${i}`, of, place + 1)));
    this.nodes = nodesOf.flat();
    this.#crashRate = chance() < 0.2 ? 0 : 0.03 * chance();
    this.#failRate = 0.02 * chance();
    this.#settings = {
      rules: {
        method: isMultisig ? "safe" : chance() < 0.5 ? "batch" : chance() < 0.5 ? "transfers" : "auto",
        asset: paysToken ? TOKEN : "eth",
        choices: [],
        dailyCapWei: undefined,
        approvalAboveWei: undefined,
        maxGasPriceWei: undefined,
        maxGasSharePpm: undefined,
        batchContract: CONTRACT,
      },
      poolName: "sim",
      batchSize: 1 + this.pick(4),
      bumpAfterMs: 60_000,
      maxBump: 10,
      payToDelayMs: 0,
      safe: isMultisig ? PAYER : undefined,
    };
    this.#chains = nodesOf.map((of, i) =>
      openQuorumChain(of, {
        chainId: i + 1,
        quorum: 2,
        finality: DEPTH,
        maxGasPriceWei: undefined,
        batchRuntime: RUNTIME,
        encodeBalanceOf: (balanceOf) => toHex({ balanceOf }),
        encodeAllowance: (allowanceOf) => toHex({ allowanceOf }),
        encodeIsPaid: () => toHex({}),
      }),
    );
    this.#engines = [this.#open(0), this.#open(1)];
  }

  pick(n: number): number {
    return Math.floor(this.options.chance() * n);
  }

  get engine(): PayoutEngine {
    return this.#engines[this.leader]!;
  }

  /** The chain that it pays on. */
  get world(): World {
    return this.options.worlds[this.#place]!;
  }

  #open(me: number): PayoutEngine {
    const trouble = (): "crash" | "fail" | undefined => {
      if (this.options.worlds[0].healthy) return undefined;
      const roll = this.options.chance();
      return roll < this.#crashRate ? "crash" : roll < this.#crashRate + this.#failRate ? "fail" : undefined;
    };
    const clock: Clock = { now: () => this.nowMs, monotonicMs: () => this.monotonicMs, after: () => () => {} };
    return new PayoutEngine(this.#settings, {
      terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
      store: unsteady<PayoutStore>(this.store, trouble, (name) => READS.has(name) || this.leader === me),
      chain: unsteady(this.#chains[this.#place]!, trouble, () => true),
      signer: unsteady(simSigner, trouble, () => true),
      calls: simCalls,
      clock,
      logger: silentLogger,
      newId: () => `00000000-0000-7000-8000-${(++this.#ids).toString(16).padStart(12, "0")}`,
      // A unit of the token for each wei: what arrives is what was owed.
      price: async (token) => ({ token, unitsPerEth: 10n ** 18n, source: "a test", atBlock: undefined }),
      signedBy: async () => true,
    });
  }

  /** Both processes are started again. */
  #restart(): void {
    this.#engines.splice(0, 2, this.#open(0), this.#open(1));
  }

  /** Does something with an engine, which may crash of it; what it refuses is no trouble. */
  async use(me: number, work: (engine: PayoutEngine) => Promise<unknown>): Promise<PoolError | undefined> {
    try {
      await work(this.#engines[me]!);
    } catch (error) {
      if (error instanceof PoolError) return error;
      if (!(error instanceof Crash)) throw error;
      this.crashes += 1;
      this.#engines[me] = this.#open(me);
      // Its database connection is gone with it, and the lock with that.
      if (this.options.chance() < 0.5) this.leader = 1 - this.leader;
    }
    return undefined;
  }

  async drive(me: number, plan: boolean): Promise<void> {
    await this.use(me, async (engine) => {
      if (plan) await engine.plan({ dryRun: false });
      await engine.step();
    });
  }

  credit(worker: WorkerAddress, wei: bigint): void {
    this.credited.set(worker, (this.credited.get(worker) ?? 0n) + wei);
    this.store.credit(worker, wei);
  }

  /** A worker wants to be paid at an address that it had not named before. */
  async changePayTo(worker: WorkerAddress): Promise<void> {
    this.payToChanges += 1;
    const payTo = address(0x1000 + this.payToChanges);
    this.#owners.set(payTo, worker);
    const wish = { thresholdWei: 0n, asset: "pool", maxGasPriceWei: 0n, maxGasSharePpm: 0n } as const;
    await this.use(this.leader, (engine) =>
      engine.requestPayTo({ ...wish, worker, payTo, nonce: BigInt(this.payToChanges), signature: "0x" }),
    );
  }

  ownerOf(payTo: WorkerAddress): WorkerAddress {
    return this.#owners.get(payTo) ?? payTo;
  }

  receivedBy(worker: WorkerAddress): bigint {
    let wei = 0n;
    for (const { tip } of this.options.worlds) {
      for (const [payTo, amount] of tip.state.received) if (this.ownerOf(payTo) === worker) wei += amount;
    }
    return wei;
  }

  /** Throws where somebody got more than it earned, or the books do not sum. */
  check(where: string): void {
    const { seed, workers } = this.options;
    for (const worker of workers) {
      const received = this.receivedBy(worker);
      const due = this.credited.get(worker) ?? 0n;
      if (received > due) throw new Error(`seed ${seed}, ${where}: ${worker} got ${received} of ${due}`);
      const { owedWei = 0n, payingWei = 0n, paidWei = 0n } = this.store.books.get(worker) ?? {};
      if (owedWei < 0n || payingWei < 0n || owedWei + payingWei + paidWei !== this.store.creditedWei(worker)) {
        throw new Error(`seed ${seed}, ${where}: the books of ${worker} do not sum`);
      }
    }
  }

  /** The operator starts it with the other chain, or with a certain one. */
  moveTo(place = 1 - this.#place): void {
    if (place === this.#place) return;
    this.#place = place;
    this.moves += 1;
    this.#restart();
  }

  /** The operator gives up on the token. */
  payInEth(): void {
    this.#settings = { ...this.#settings, rules: { ...this.#settings.rules, asset: "eth" } };
    this.#restart();
  }

  backUp(): void {
    this.#backup = { store: this.store.copy(), atMs: this.options.worlds[0].timeMs };
  }

  get hasBackup(): boolean {
    return this.#backup !== undefined;
  }

  /** The database is lost and comes back as it was backed up. */
  async restore(): Promise<void> {
    if (!this.#backup) return;
    this.store = this.#backup.store;
    await this.store.halt({
      code: "payout/restored",
      message: "restored",
      atMs: this.nowMs,
      intent: undefined,
      nonce: undefined,
      booksOfMs: this.#backup.atMs,
    });
    this.#backup = undefined;
    this.restores += 1;
    this.#restart();
  }

  /** Nothing is left to be paid. */
  async isSettled(): Promise<boolean> {
    return (
      (await this.store.openRuns()).length === 0 &&
      (await this.store.control()).halts.length === 0 &&
      [...this.store.books].every(([worker, { owedWei }]) => owedWei === 0n || this.store.held.has(worker))
    );
  }
}
