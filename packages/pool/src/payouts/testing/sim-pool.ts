import { type Clock, PoolError, silentLogger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { openQuorumChain } from "../../chain/quorum.ts";
import type { PayoutSettings } from "../context.ts";
import { PayoutEngine } from "../engine.ts";
import type { PayoutStore } from "../ports.ts";
import type { PayoutWish } from "../types.ts";
import { noBalance, openRun, type SimBooks } from "./sim-books.ts";
import { Crash, unsteady } from "./sim-chance.ts";
import { address, CONTRACT, DEPTH, PAYER, RUNTIME, simCalls, simSigner, toHex, type World } from "./sim-chain.ts";
import { SimNode } from "./sim-node.ts";

export const START_MS = 1_700_000_000_000;

/** What a process may ask that does not pay. */
const READS = new Set(
  "payable payees control plannedSince accounts givenUp runs run linesOf line booksCatchUp workers multisigs knownTransactions lastSignedMs payToChanges".split(
    " ",
  ),
);

export interface SimPoolOptions {
  /** Which simulation it is, for whoever reads what went wrong. */
  readonly name: string;
  readonly chance: () => number;
  readonly worlds: readonly [World, World];
  readonly workers: readonly WorkerAddress[];
  readonly books: SimBooks;
  readonly rules: Partial<PayoutSettings["rules"]>;
  readonly settings?: Partial<PayoutSettings>;
  /** Simulations that share books have chains, and a time, of their own. */
  readonly chainIds?: readonly [number, number];
  readonly startMs?: number;
  /** What befalls the next step of a process: asked before and after everything that it asks of others. */
  readonly trouble: () => "crash" | "fail" | undefined;
}

interface Process {
  readonly store: PayoutStore;
  readonly engine: PayoutEngine;
}

/** A change of address that is not in force, as far as anybody can know. */
interface Wished {
  readonly payTo: WorkerAddress;
  readonly effectiveAtMs: number;
}

/** Two processes of a pool that pay on one of two chains, out of books that survive them. */
export class SimPool implements AsyncDisposable {
  readonly options: SimPoolOptions;
  readonly nodes: readonly SimNode[];
  /** What workers really earned; books that were set back know less. */
  readonly credited = new Map<WorkerAddress, bigint>();
  /** Whose an address is, of those that workers named. */
  readonly #owners = new Map<WorkerAddress, WorkerAddress>();
  readonly #wished: Wished[] = [];
  #settings: PayoutSettings;
  readonly #chains: readonly ReturnType<typeof openQuorumChain>[];
  readonly #processes: Process[];
  /** On which of the two chains the pool pays. */
  #place = 0;
  /** Which of the two processes holds the lock. */
  leader = 0;
  #nowMs: number;
  #latestMs: number;
  monotonicMs = 0;
  crashes = 0;
  moves = 0;
  payToChanges = 0;
  #ids = 0;

  constructor(options: SimPoolOptions) {
    this.options = options;
    const { worlds, rules, chainIds = [1, 2], startMs = START_MS } = options;
    this.#nowMs = this.#latestMs = startMs;
    const nodesOf = worlds.map((of, place) => [0, 1, 2].map((i) => new SimNode(`node ${i}`, of, chainIds[place] ?? 0)));
    this.nodes = nodesOf.flat();
    this.#settings = {
      rules: {
        method: "auto",
        asset: "eth",
        choices: [],
        dailyCapWei: undefined,
        approvalAboveWei: undefined,
        maxGasPriceWei: undefined,
        maxGasSharePpm: undefined,
        batchContract: CONTRACT,
        ...rules,
      },
      poolName: "sim",
      batchSize: 2,
      bumpAfterMs: 60_000,
      maxBump: 10,
      payToDelayMs: 0,
      safe: rules.method === "safe" ? PAYER : undefined,
      ...options.settings,
    };
    this.#chains = nodesOf.map((of, i) =>
      openQuorumChain(of, {
        chainId: chainIds[i] ?? 0,
        quorum: 2,
        finality: DEPTH,
        maxGasPriceWei: undefined,
        batchRuntime: RUNTIME,
        encodeBalanceOf: (balanceOf) => toHex({ balanceOf }),
        encodeAllowance: (allowanceOf) => toHex({ allowanceOf }),
        encodeIsPaid: () => toHex({}),
      }),
    );
    this.#processes = [this.#open(0), this.#open(1)];
  }

  pick(n: number): number {
    return Math.floor(this.options.chance() * n);
  }

  get engine(): PayoutEngine {
    return this.#processes[this.leader]!.engine;
  }

  get books(): SimBooks {
    return this.options.books;
  }

  get isMultisig(): boolean {
    return this.#settings.rules.method === "safe";
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  set nowMs(ms: number) {
    this.#nowMs = ms;
    this.#latestMs = Math.max(this.#latestMs, ms);
  }

  /** The chain that it pays on. */
  get world(): World {
    return this.options.worlds[this.#place]!;
  }

  #open(me: number): Process {
    const { books } = this.options;
    let isGone = false;
    // A process that crashed asks nothing any more, whoever of it has caught what was thrown.
    const trouble = (): "crash" | "fail" | undefined => {
      const what = isGone ? "crash" : this.options.trouble();
      isGone ||= what === "crash";
      return what;
    };
    const clock: Clock = { now: () => this.nowMs, monotonicMs: () => this.monotonicMs, after: () => () => {} };
    const store = books.connect();
    const mayUse = (name: string): boolean => books.hasLock || READS.has(name) || this.leader === me;
    const engine = new PayoutEngine(this.#settings, {
      terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
      store: unsteady<PayoutStore>(store, trouble, mayUse),
      chain: unsteady(this.#chains[this.#place]!, trouble, () => true),
      signer: unsteady(simSigner, trouble, () => true),
      calls: simCalls,
      clock,
      logger: silentLogger,
      newId: () => {
        const [chain = 0] = this.options.chainIds ?? [];
        return `${chain.toString(16).padStart(8, "0")}-0000-7000-8000-${(++this.#ids).toString(16).padStart(12, "0")}`;
      },
      // A unit of the token for each wei: what arrives is what was owed.
      price: async (token) => ({ token, unitsPerEth: 10n ** 18n, source: "a test", atBlock: undefined }),
      signedBy: async () => true,
    });
    return { store, engine };
  }

  /** A process is started again. */
  async #reopen(me: number): Promise<void> {
    await this.books.disconnect(this.#processes[me]!.store);
    this.#processes[me] = this.#open(me);
  }

  async restart(): Promise<void> {
    await this.#reopen(0);
    await this.#reopen(1);
  }

  /** Does something with an engine, which may crash of it; what it refuses is no trouble. */
  async use(me: number, work: (engine: PayoutEngine) => Promise<unknown>): Promise<PoolError | undefined> {
    try {
      await work(this.#processes[me]!.engine);
    } catch (error) {
      if (error instanceof PoolError) return error;
      if (!(error instanceof Crash)) throw error;
      this.crashes += 1;
      await this.#reopen(me);
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

  async credit(worker: WorkerAddress, wei: bigint): Promise<void> {
    this.credited.set(worker, (this.credited.get(worker) ?? 0n) + wei);
    await this.books.credit(worker, wei);
  }

  /** A worker wants to be paid at an address that it had not named before, and as it says. */
  async changePayTo(worker: WorkerAddress, more: Partial<PayoutWish> = {}): Promise<void> {
    this.payToChanges += 1;
    const payTo = address(0x1000 + this.payToChanges);
    this.#owners.set(payTo, worker);
    this.#wished.push({ payTo, effectiveAtMs: this.nowMs + this.#settings.payToDelayMs });
    const wish = { payTo, thresholdWei: 0n, asset: "pool", maxGasPriceWei: 0n, maxGasSharePpm: 0n, ...more } as const;
    await this.use(this.leader, (engine) =>
      engine.requestPayTo({ ...wish, worker, nonce: BigInt(this.payToChanges), signature: "0x" }),
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

  /** Throws where somebody got more than it earned, or at an address that does not count yet, or the books do not sum. */
  async check(where: string): Promise<void> {
    const wrong = (what: string): Error => new Error(`${this.options.name}, ${where}: ${what}`);
    const balances = await this.books.balances(this.options.workers);
    for (const worker of this.options.workers) {
      const received = this.receivedBy(worker);
      const due = this.credited.get(worker) ?? 0n;
      if (received > due) throw wrong(`${worker} got ${received} of ${due}`);
      const { owedWei, payingWei, paidWei } = balances.get(worker) ?? noBalance;
      if (owedWei < 0n || payingWei < 0n || owedWei + payingWei + paidWei !== this.books.creditedWei(worker)) {
        throw wrong(`the books of ${worker} do not sum`);
      }
    }
    for (const { payTo, effectiveAtMs } of this.#wished) {
      const early = this.options.worlds.some(({ tip }) => tip.state.received.has(payTo));
      if (early && effectiveAtMs > this.#latestMs) throw wrong(`${payTo} was paid before it was in force`);
    }
  }

  /** Throws where the books say something else than the chain, or somebody that takes money was not paid. */
  async checkEnd(): Promise<void> {
    await this.check("the end");
    const balances = await this.books.balances(this.options.workers);
    for (const worker of this.options.workers) {
      const { paidWei } = balances.get(worker) ?? noBalance;
      const received = this.receivedBy(worker);
      if (paidWei !== received) {
        throw new Error(`${this.options.name}: ${worker} has ${received} and the books say ${paidWei}`);
      }
      if (!this.world.refusing.has(worker) && paidWei !== this.books.creditedWei(worker)) {
        throw new Error(`${this.options.name}: ${worker} was not paid all`);
      }
    }
    await this.books.check();
  }

  /** The operator starts it with the other chain, or with a certain one. */
  async moveTo(place = 1 - this.#place): Promise<void> {
    if (place === this.#place) return;
    this.#place = place;
    this.moves += 1;
    await this.restart();
  }

  /** The operator gives up on the token. */
  async payInEth(): Promise<void> {
    this.#settings = { ...this.#settings, rules: { ...this.#settings.rules, asset: "eth" } };
    await this.restart();
  }

  /** Nothing is left to be paid. */
  async isSettled(): Promise<boolean> {
    if ((await openRun(this.books)) || (await this.books.look.control()).halts.length > 0) return false;
    const held = new Set((await this.books.look.payees()).flatMap((one) => (one.held === undefined ? [] : one.worker)));
    const balances = await this.books.balances(this.options.workers);
    return this.options.workers.every((worker) => held.has(worker) || !balances.get(worker)?.owedWei);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { store } of this.#processes) await this.books.disconnect(store);
  }
}
