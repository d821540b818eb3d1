import { createHash } from "node:crypto";
import { type Clock, PoolError, silentLogger } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import type { ChainNode } from "../../chain/node.ts";
import { openQuorumChain } from "../../chain/quorum.ts";
import type { PayoutSettings } from "../context.ts";
import { PayoutEngine } from "../engine.ts";
import type { Calls, MadeTransaction, PayoutStore, Receipt, Signer, UnsignedTransaction } from "../ports.ts";
import type { Hex } from "../types.ts";
import { MemoryPayoutStore } from "./memory-store.ts";

/** A small generator of chance (mulberry32): a seed tells a whole run. */
export function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const address = (n: number): WorkerAddress => parseAddress(`0x${n.toString(16).padStart(40, "1")}`) as WorkerAddress;
const PAYER = address(0xaaaa);
const CONTRACT = address(0xcccc);
const RUNTIME: Hex = "0xc0de";
const DEPTH = 6;
const FOREIGN_CALL: Hex = "0xf0";

const toHex = (value: unknown): Hex =>
  `0x${Buffer.from(JSON.stringify(value, (_key, one: unknown) => (typeof one === "bigint" ? `${one}n` : one))).toString("hex")}`;
const fromHex = (hex: Hex): unknown =>
  JSON.parse(Buffer.from(hex.slice(2), "hex").toString(), (_key, one: unknown) =>
    typeof one === "string" && /^\d+n$/.test(one) ? BigInt(one.slice(0, -1)) : one,
  );
const hashOf = (text: string): Hex => `0x${createHash("sha256").update(text).digest("hex")}`;

interface Payment {
  readonly to: WorkerAddress;
  readonly amount: bigint;
}
interface Batch {
  readonly batch: Hex;
  readonly payments: readonly Payment[];
}

const simCalls: Calls = {
  payEth: (batch, payments) => toHex({ batch, payments } satisfies Batch),
  payToken: () => "0x",
  tokenTransfer: () => "0x",
  tokenApprove: () => "0x",
  read(data) {
    return data === FOREIGN_CALL ? undefined : { kind: "pay-eth", ...(fromHex(data) as Batch) };
  },
};

const simSigner: Signer = {
  address: PAYER,
  async sign(transaction) {
    const raw = toHex(transaction);
    return { raw, hash: hashOf(raw) };
  },
};

interface State {
  readonly nonce: number;
  /** Batches that were done: the contract takes each once. */
  readonly spent: ReadonlySet<Hex>;
  readonly received: ReadonlyMap<WorkerAddress, bigint>;
  readonly balance: bigint;
}
interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly timeMs: number;
  readonly state: State;
  readonly receipts: ReadonlyMap<Hex, Receipt>;
}

const foreignTransaction: Omit<UnsignedTransaction, "nonce"> = {
  chainId: 1,
  to: address(0xf0f0),
  valueWei: 0n,
  data: FOREIGN_CALL,
  gasLimit: 21_000n,
  maxFeeWei: 1n,
  maxTipWei: 1n,
};

/** A chain with blocks that can vanish, a pool of waiting transactions that forgets, and a foreigner with our key. */
class World {
  readonly chance: () => number;
  blocks: Block[];
  /** The highest block that is final for ever. */
  final = 0;
  readonly waiting = new Map<Hex, UnsignedTransaction>();
  readonly refusing: ReadonlySet<WorkerAddress>;
  baseFee = 100n;
  #salt = 0;
  foreigners: number;
  healthy = false;
  /** Unlike the pool's clock it never jumps. */
  timeMs = 1_000_000_000;

  constructor(chance: () => number, refusing: ReadonlySet<WorkerAddress>, foreigners: number) {
    this.chance = chance;
    this.refusing = refusing;
    this.foreigners = foreigners;
    const state = { nonce: Math.floor(chance() * 5), received: new Map(), spent: new Set<Hex>(), balance: 10n ** 24n };
    this.blocks = [{ number: 0, hash: hashOf("genesis"), timeMs: 0, state, receipts: new Map() }];
  }

  get tip(): Block {
    return this.blocks.at(-1)!;
  }

  tick(): void {
    const { chance } = this;
    if (!this.healthy) {
      this.baseFee = BigInt(Math.max(1, Math.floor(Number(this.baseFee) * (0.7 + 0.7 * chance()))));
      if (this.baseFee > 5_000n) this.baseFee = 500n;
      for (const hash of this.waiting.keys()) if (chance() < 0.08) this.waiting.delete(hash);
      if (chance() < 0.08) this.reorg();
      if (chance() < 0.4) return;
    } else {
      this.baseFee = 10n;
    }
    this.mine();
  }

  mine(): void {
    const { tip, chance } = this;
    let { nonce, balance } = tip.state;
    const received = new Map(tip.state.received);
    const spent = new Set(tip.state.spent);
    const receipts = new Map<Hex, Receipt>();
    const number = tip.number + 1;
    const blockHash = hashOf(`${number} ${tip.hash} ${this.#salt++}`);
    if (!this.healthy && this.foreigners > 0 && chance() < 0.03) {
      this.foreigners -= 1;
      const hash = hashOf(`foreign ${number} ${nonce} ${this.#salt}`);
      this.sent.set(hash, { ...foreignTransaction, nonce });
      const mined = { hash, blockNumber: number, blockHash, gasUsed: 21_000n, gasPriceWei: 1n, transfers: [] };
      receipts.set(hash, { ...mined, succeeded: true, batches: [] });
      nonce += 1;
    }
    for (;;) {
      const next = [...this.waiting].filter(([, one]) => one.nonce === nonce && one.maxFeeWei >= this.baseFee);
      // Not always the best paid: whoever makes the block decides.
      const [chosen] = next.sort(() => chance() - 0.5);
      if (!chosen || (!this.healthy && chance() < 0.3)) break;
      const [hash, transaction] = chosen;
      this.waiting.delete(hash);
      nonce += 1;
      const gasUsed = 21_000n;
      const base = { hash, blockNumber: number, blockHash, gasUsed, gasPriceWei: this.baseFee, transfers: [] };
      balance -= gasUsed * this.baseFee;
      if (transaction.to === CONTRACT) {
        const { batch, payments } = fromHex(transaction.data) as Batch;
        const which = { contract: CONTRACT, payer: PAYER, batch };
        if (spent.has(batch)) {
          receipts.set(hash, { ...base, succeeded: false, batches: [] });
          continue;
        }
        spent.add(batch);
        const refuses = (to: WorkerAddress): boolean => to === CONTRACT || this.refusing.has(to);
        const unpaid = payments.flatMap((one, place) => (refuses(one.to) ? [place] : []));
        for (const [place, { to, amount }] of payments.entries()) {
          if (unpaid.includes(place)) continue;
          received.set(to, (received.get(to) ?? 0n) + amount);
          balance -= amount;
        }
        receipts.set(hash, {
          ...base,
          succeeded: true,
          batches: [
            ...unpaid.map((place) => ({ ...which, says: "unpaid" as const, place })),
            { ...which, says: "done" as const, unpaid: unpaid.length },
          ],
        });
      } else {
        const succeeded = !this.refusing.has(transaction.to);
        if (succeeded) {
          received.set(transaction.to, (received.get(transaction.to) ?? 0n) + transaction.valueWei);
          balance -= transaction.valueWei;
        }
        receipts.set(hash, { ...base, succeeded, batches: [] });
      }
    }
    this.blocks.push({
      number,
      hash: blockHash,
      timeMs: this.timeMs,
      state: { nonce, received, spent, balance },
      receipts,
    });
    this.final = Math.max(this.final, number - DEPTH + 1);
  }

  reorg(): void {
    const most = this.tip.number - this.final;
    const depth = Math.min(most, 1 + Math.floor(this.chance() * (DEPTH - 1)));
    if (depth < 1) return;
    const gone = this.blocks.splice(this.blocks.length - depth);
    for (const hash of gone.flatMap((block) => [...block.receipts.keys()])) {
      const transaction = this.sent.get(hash);
      if (transaction && transaction.to !== foreignTransaction.to && this.chance() < 0.5)
        this.waiting.set(hash, transaction);
    }
    for (let i = 0; i <= depth; i++) this.mine();
  }

  /** Everything that any node was ever handed. */
  readonly sent = new Map<Hex, UnsignedTransaction>();

  take(raw: Hex): void {
    const hash = hashOf(raw);
    const transaction = fromHex(raw) as UnsignedTransaction;
    this.sent.set(hash, transaction);
    if (transaction.nonce < this.tip.state.nonce) throw new Error("nonce too low");
    if (this.waiting.has(hash)) throw new Error("already known");
    this.waiting.set(hash, transaction);
  }
}

/** A node that shows the world well, late, wrongly, or not at all. */
class SimNode implements ChainNode {
  readonly name: string;
  readonly #world: World;
  readonly #chainId: number;
  mode: "well" | "late" | "lying" | "down" = "well";
  #stale: Block[] = [];

  constructor(name: string, world: World, chainId: number) {
    this.name = name;
    this.#world = world;
    this.#chainId = chainId;
  }

  setMode(mode: SimNode["mode"]): void {
    this.mode = mode;
    this.#stale = [...this.#world.blocks];
  }

  #blocks(): readonly Block[] {
    if (this.#world.chance() < 0.02 && !this.#world.healthy) this.#world.tick();
    if (this.mode === "down") throw new Error("no answer");
    return this.mode === "late" ? this.#stale : this.#world.blocks;
  }

  #lie(): boolean {
    return this.mode === "lying" && this.#world.chance() < 0.7;
  }

  async chainId(): Promise<number> {
    return this.#chainId;
  }
  async latestBlock(): Promise<number> {
    return (this.#blocks().at(-1)?.number ?? 0) + (this.#lie() ? 100 : 0);
  }
  async finalizedBlock(): Promise<number> {
    return (await this.latestBlock()) - DEPTH + 1;
  }
  async blockHash(number: number): Promise<Hex | undefined> {
    if (this.#lie()) return hashOf("a lie");
    return this.#blocks().find((one) => one.number === number)?.hash;
  }
  async blockTime(number: number): Promise<number> {
    return this.#at(number).timeMs;
  }
  async transactionsIn(number: number): Promise<readonly MadeTransaction[]> {
    const { receipts } = this.#at(number);
    if (this.#lie()) return [];
    return [...receipts.keys()].flatMap((hash) => {
      const one = this.#world.sent.get(hash);
      return one ? [{ hash, nonce: one.nonce, block: number, to: one.to, valueWei: one.valueWei, data: one.data }] : [];
    });
  }
  async batchesIn(): Promise<readonly []> {
    return [];
  }
  #at(number: number): Block {
    const block = this.#blocks().find((one) => one.number === number);
    if (!block) throw new Error("no such block");
    return block;
  }
  async transactionCount(_account: WorkerAddress, at: "latest" | number): Promise<number> {
    const blocks = this.#blocks();
    const block = typeof at === "number" ? this.#at(at) : blocks.at(-1);
    if (!block) throw new Error("no such block");
    return block.state.nonce + (this.#lie() ? Math.floor(this.#world.chance() * 7) - 3 : 0);
  }
  async receipt(hash: Hex): Promise<Receipt | undefined> {
    const blocks = this.#blocks();
    for (const block of blocks) {
      const receipt = block.receipts.get(hash);
      if (!receipt) continue;
      if (!this.#lie()) return receipt;
      return this.#world.chance() < 0.5 ? undefined : { ...receipt, succeeded: !receipt.succeeded, batches: [] };
    }
    if (!this.#lie()) return undefined;
    const tip = blocks.at(-1);
    const fake = {
      blockNumber: 0,
      blockHash: hashOf("genesis"),
      gasUsed: 1n,
      gasPriceWei: 1n,
      batches: [],
      transfers: [],
    };
    return tip && { ...fake, hash, succeeded: this.#world.chance() < 0.5 };
  }
  async baseFee(): Promise<bigint> {
    this.#blocks();
    return this.#lie() ? 10n ** 30n : this.#world.baseFee;
  }
  async tip(): Promise<bigint> {
    return 1n;
  }
  async balance(account: WorkerAddress): Promise<bigint> {
    const state = this.#blocks().at(-1)?.state;
    if (account !== PAYER) return state?.received.get(account) ?? 0n;
    return this.#lie() ? 0n : (state?.balance ?? 0n);
  }
  async code(account: WorkerAddress): Promise<Hex> {
    this.#blocks();
    return account === CONTRACT ? RUNTIME : "0x";
  }
  async takesSignature(): Promise<boolean> {
    return false;
  }
  async call(): Promise<Hex> {
    return "0x";
  }
  async estimateGas({ to }: { readonly to: WorkerAddress }): ReturnType<ChainNode["estimateGas"]> {
    this.#blocks();
    // Code that fails may show it, and to some nodes only.
    return this.#world.refusing.has(to) && this.#world.chance() < 0.5 ? { refused: "bad opcode" } : { gas: 21_000n };
  }
  async send(raw: Hex): Promise<void> {
    this.#blocks();
    // A liar takes it and tells nobody.
    if (this.#lie()) return;
    this.#world.take(raw);
  }
}

class Crash extends Error {}

/** What the engine refuses is no answer; a crash is more than that. */
function refused(error: unknown): undefined {
  if (!(error instanceof PoolError)) throw error;
}

/** Everything asked through it can crash the asker before or after it happened, or fail, or find that another leads. */
function unsteady<T extends object>(
  target: T,
  trouble: () => "crash" | "fail" | undefined,
  mayUse: (name: string) => boolean,
): T {
  return new Proxy(target, {
    get(of, name) {
      const value: unknown = Reflect.get(of, name);
      if (typeof value !== "function" || typeof name !== "string") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const act = (): void => {
          const what = trouble();
          if (what === "crash") throw new Crash(name);
          if (what === "fail") throw new PoolError({ code: "store/unavailable" }, `no answer to ${name}`);
        };
        act();
        if (!mayUse(name)) throw new PoolError({ code: "payout/not-leader" }, "Another process pays.");
        const result: unknown = await Reflect.apply(value, of, args);
        act();
        return result;
      };
    },
  });
}

const READS = new Set(
  "payable payees control plannedSince accounts givenUp runs run linesOf finalLines line booksCatchUp workers multisigs knownTransactions lastSignedMs".split(
    " ",
  ),
);

export interface Simulated {
  readonly crashes: number;
  readonly reorgedBlocks: number;
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
  readonly paidWei: bigint;
}

/**
 * Runs a pool's payouts through a bad world and then lets it heal. Throws what was wrong: somebody was paid twice, or
 * never, or the books differ from the chain, or it did not come to an end.
 */
export async function simulatePayouts(seed: number): Promise<Simulated> {
  const chance = chanceOf(seed);
  const pick = (n: number): number => Math.floor(chance() * n);
  const workers = Array.from({ length: 2 + pick(5) }, (_, i) => address(0x100 + i));
  const refusing = new Set(workers.filter(() => chance() < 0.15));
  const foreigners = chance() < 0.3 ? 1 + pick(2) : 0;
  // The operator of some pools changes the chain that they pay on, also in the middle of a payout.
  const movesAbout = foreigners === 0 && chance() < 0.3;
  // Others are paid by a multisig, whose people execute what they were ever handed, in any order.
  const isMultisig = foreigners === 0 && !movesAbout && chance() < 0.25;
  const worlds = [new World(chance, refusing, foreigners), new World(chance, refusing, 0)] as const;
  const nodesOf = worlds.map((of, place) => [0, 1, 2].map((i) => new SimNode(`node ${i}`, of, place + 1)));
  const nodes = nodesOf.flat();
  /** On which of the two chains the pool pays. */
  let place = 0;
  let moves = 0;
  let store = new MemoryPayoutStore();
  /** What workers really earned; books that were set back know less. */
  const credited = new Map<WorkerAddress, bigint>();
  const crashRate = chance() < 0.2 ? 0 : 0.03 * chance();
  const failRate = 0.02 * chance();
  let nowMs = 1_700_000_000_000;
  let monotonicMs = 0;
  let crashes = 0;
  let halts = 0;
  let ids = 0;
  /** Which of the two processes holds the lock. */
  let leader = 0;
  const clock: Clock = { now: () => nowMs, monotonicMs: () => monotonicMs, after: () => () => {} };
  const settings: PayoutSettings = {
    rules: {
      method: isMultisig ? "safe" : chance() < 0.5 ? "batch" : chance() < 0.5 ? "transfers" : "auto",
      asset: "eth",
      choices: [],
      dailyCapWei: undefined,
      approvalAboveWei: undefined,
      maxGasPriceWei: undefined,
      maxGasSharePpm: undefined,
      batchContract: CONTRACT,
    },
    poolName: "sim",
    batchSize: 1 + pick(4),
    bumpAfterMs: 60_000,
    maxBump: 10,
    payToDelayMs: 0,
    safe: isMultisig ? PAYER : undefined,
  };
  const trouble = (): "crash" | "fail" | undefined => {
    if (worlds[0].healthy) return undefined;
    const roll = chance();
    return roll < crashRate ? "crash" : roll < crashRate + failRate ? "fail" : undefined;
  };
  const chains = nodesOf.map((of, i) =>
    openQuorumChain(of, {
      chainId: i + 1,
      quorum: 2,
      finality: DEPTH,
      maxGasPriceWei: undefined,
      batchRuntime: RUNTIME,
      encodeBalanceOf: () => "0x",
      encodeAllowance: () => "0x",
      encodeIsPaid: () => "0x",
    }),
  );
  const openEngine = (me: number): PayoutEngine =>
    new PayoutEngine(settings, {
      terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
      store: unsteady<PayoutStore>(store, trouble, (name) => READS.has(name) || leader === me),
      chain: unsteady(chains[place]!, trouble, () => true),
      signer: unsteady(simSigner, trouble, () => true),
      calls: simCalls,
      clock,
      logger: silentLogger,
      newId: () => `00000000-0000-7000-8000-${(++ids).toString(16).padStart(12, "0")}`,
    });
  const engines = [openEngine(0), openEngine(1)];
  const crash = (me: number): void => {
    crashes += 1;
    engines[me] = openEngine(me);
    // Its database connection is gone with it, and the lock with that.
    if (chance() < 0.5) leader = 1 - leader;
  };
  const drive = async (me: number, plan: boolean): Promise<void> => {
    try {
      if (plan) await engines[me]!.plan({ dryRun: false });
      await engines[me]!.step();
    } catch (error) {
      if (error instanceof Crash) crash(me);
      else if (!(error instanceof PoolError)) throw error;
    }
  };
  const receivedBy = (worker: WorkerAddress): bigint =>
    worlds.reduce((sum, { tip }) => sum + (tip.state.received.get(worker) ?? 0n), 0n);
  const check = (where: string): void => {
    for (const worker of workers) {
      const received = receivedBy(worker);
      const due = credited.get(worker) ?? 0n;
      if (received > due) throw new Error(`seed ${seed}, ${where}: ${worker} got ${received} of ${due}`);
    }
    for (const worker of workers) {
      const { owedWei = 0n, payingWei = 0n, paidWei = 0n } = store.books.get(worker) ?? {};
      if (owedWei < 0n || payingWei < 0n || owedWei + payingWei + paidWei !== store.creditedWei(worker)) {
        throw new Error(`seed ${seed}, ${where}: the books of ${worker} do not sum`);
      }
    }
  };
  const moveTo = (to: number): void => {
    place = to;
    moves += 1;
    engines.splice(0, 2, openEngine(0), openEngine(1));
  };
  /** To the chain where something is still to be decided. */
  const goBack = async (): Promise<void> => {
    const [open] = await store.openRuns();
    if (open && open.run.chainId !== place + 1) moveTo(open.run.chainId - 1);
  };
  /** What the people of the multisig were handed, and what they did with it. */
  const files: { readonly run: string; readonly call: { to: WorkerAddress; value: string; data: Hex } }[] = [];
  const executed: { readonly run: string; readonly hash: Hex }[] = [];
  const multisig = async (): Promise<void> => {
    const me = leader;
    const [open] = await store.openRuns();
    try {
      if (open) {
        if (!worlds[0].healthy && chance() < 0.1) await engines[me]!.cancel(open.run.id).catch(refused);
        const format = !worlds[0].healthy && chance() < 0.4 ? "safe-cancel" : "safe";
        const text = await engines[me]!.exportRun(open.run.id, format).catch(refused);
        if (text !== undefined) files.push({ run: open.run.id, call: JSON.parse(text).transactions[0] });
        const file = worlds[0].healthy ? files.at(-1) : files[pick(files.length)];
        if (file) {
          const { to, value, data } = file.call;
          const { nonce } = worlds[0].tip.state;
          const offer = { gasLimit: 10n ** 6n, maxFeeWei: 10n ** 9n, maxTipWei: 1n };
          const raw = toHex({ chainId: 1, nonce, to, valueWei: BigInt(value), data, ...offer });
          if (!worlds[0].waiting.has(hashOf(raw))) worlds[0].take(raw);
          executed.push({ run: file.run, hash: hashOf(raw) });
        }
      }
      for (const { run, hash } of executed) {
        if (open?.run.id === run) await engines[me]!.reconcile(run, hash).catch(refused);
      }
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      crash(me);
    }
  };
  let how: { foreign: Hex[]; paidFor: Map<string, WorkerAddress> } = { foreign: [], paidFor: new Map() };
  /** Looks at what the pool cannot explain, and says what it knows of that. */
  const operator = async (): Promise<void> => {
    await goBack();
    if ((await store.control()).halts.length === 0) return;
    halts += 1;
    const me = leader;
    try {
      await engines[me]!.resume({ ...how, noOtherPayer: true });
      how = { foreign: [], paidFor: new Map() };
    } catch (error) {
      if (error instanceof Crash) return crash(me);
      if (!(error instanceof PoolError)) throw error;
      const { unexplained = [] } = error.info as { readonly unexplained?: readonly string[] };
      for (const fact of unexplained) {
        const hash = fact.slice(0, 66) as Hex;
        const [, to] = / to (0x\w{40}) /.exec(fact) ?? [];
        if (worlds[place]!.sent.get(hash)?.to === foreignTransaction.to) how.foreign.push(hash);
        else if (to !== undefined) how.paidFor.set(to, to as WorkerAddress);
        else throw new Error(`seed ${seed}: nobody can explain ${fact}`, { cause: error });
      }
    }
  };
  let backup: { readonly store: MemoryPayoutStore; readonly atMs: number } | undefined;
  let restores = 0;
  /** The database is lost and comes back as it was backed up. */
  const restore = async (): Promise<void> => {
    if (!backup) return;
    store = backup.store;
    await store.halt({
      code: "payout/restored",
      message: "restored",
      atMs: nowMs,
      intent: undefined,
      nonce: undefined,
      booksOfMs: backup.atMs,
    });
    backup = undefined;
    restores += 1;
    how = { foreign: [], paidFor: new Map() };
    engines.splice(0, 2, openEngine(0), openEngine(1));
  };

  for (let round = 0; round < 60; round++) {
    if (chance() < 0.3) {
      const worker = workers[pick(workers.length)]!;
      const wei = BigInt(1 + pick(1_000_000));
      credited.set(worker, (credited.get(worker) ?? 0n) + wei);
      store.credit(worker, wei);
    }
    if (chance() < 0.2) {
      // At most one of three lies; others may be late or gone at the same time.
      const modes: SimNode["mode"][] = ["well", "well", "late", "down", "lying"];
      const bad = pick(3);
      for (const [i, node] of nodes.entries()) {
        const mode = modes[pick(i % 3 === bad ? 5 : 4)]!;
        node.setMode(mode);
      }
    }
    monotonicMs += 20_000;
    // The wall clock jumps as it likes.
    nowMs += chance() < 0.05 ? Math.floor((chance() - 0.5) * 10 ** 9) : 20_000;
    if (chance() < 0.05) leader = 1 - leader;
    const plan = chance() < 0.3;
    if (chance() < 0.3) await Promise.all([drive(0, plan), drive(1, plan)]);
    else await drive(leader, plan);
    check(`round ${round}`);
    for (const world of worlds) {
      world.timeMs += 20_000;
      world.tick();
    }
    check(`round ${round}`);
    if (chance() < 0.3) await operator();
    if (movesAbout && chance() < 0.1) moveTo(1 - place);
    // What was paid on the other chain is in no book that was set back, and on no chain that a resume reads.
    if (isMultisig) await multisig();
    check(`round ${round}`);
    if (movesAbout || isMultisig) continue;
    if (!backup && restores === 0 && chance() < 0.03) backup = { store: store.copy(), atMs: worlds[0].timeMs };
    else if (backup && chance() < 0.05) await restore();
  }

  for (const world of worlds) world.healthy = true;
  for (const node of nodes) node.setMode("well");
  const settled = async (): Promise<boolean> =>
    (await store.openRuns()).length === 0 &&
    (await store.control()).halts.length === 0 &&
    [...store.books].every(([worker, { owedWei }]) => owedWei === 0n || store.held.has(worker));
  // Also what books that were set back know nothing of comes out, some blocks later.
  for (let round = 0, calm = 0; calm < 2 * DEPTH; round++) {
    calm = (await settled()) ? calm + 1 : 0;
    if (round > 400)
      throw new Error(`seed ${seed}: it does not come to an end: ${(await engines[leader]!.status()).waitingFor}`);
    await operator();
    if (isMultisig) await multisig();
    await drive(leader, (await store.openRuns()).length === 0);
    for (const world of worlds) {
      world.timeMs += 20_000;
      world.tick();
    }
    monotonicMs += 20_000;
    nowMs += 20_000;
    check(`healing ${round}`);
  }
  for (const world of worlds) for (let i = 0; i < DEPTH; i++) world.mine();
  check("the end");
  for (const worker of workers) {
    const paid = store.books.get(worker)?.paidWei ?? 0n;
    const received = receivedBy(worker);
    if (paid !== received) throw new Error(`seed ${seed}: ${worker} has ${received} and the books say ${paid}`);
    if (!refusing.has(worker) && paid !== store.creditedWei(worker)) {
      throw new Error(`seed ${seed}: ${worker} was not paid all`);
    }
  }
  return {
    crashes,
    reorgedBlocks: 0,
    runs: (await store.runs()).length,
    lostIntents: store.intents.filter((one) => one.state === "lost").length,
    versions: store.intents.reduce((sum, one) => sum + one.transactions.length, 0),
    halts,
    restores,
    moves,
    executed: executed.length,
    paidWei: [...store.books.values()].reduce((sum, one) => sum + one.paidWei, 0n),
  };
}
