import type { WorkerAddress } from "@openpool/protocol";
import type { Hex } from "../types.ts";
import { refused } from "./sim-chance.ts";
import { hashOf, toHex } from "./sim-chain.ts";
import type { SimPool } from "./sim-pool.ts";

/** Does what the runbook says about a halt. */
export class Operator {
  readonly #pool: SimPool;
  #foreign: Hex[] = [];
  readonly #paidFor = new Map<string, WorkerAddress>();
  halts = 0;

  constructor(pool: SimPool) {
    this.#pool = pool;
  }

  /** Looks at what the pool cannot explain, and says what it knows of that. */
  async look(): Promise<void> {
    const pool = this.#pool;
    const { store } = pool;
    // To the chain where something is still to be decided.
    const [open] = await store.openRuns();
    if (open) pool.moveTo(open.run.chainId - 1);
    const { halts } = await store.control();
    if (halts.length === 0) return;
    this.halts += 1;
    // None of several workers can take it: "pay in something else".
    if (halts.some(({ code }) => code === "payout/token-refused")) pool.payInEth();
    let goesOn = false;
    const error = await pool.use(pool.leader, async (engine) => {
      await engine.resume({ foreign: this.#foreign, paidFor: this.#paidFor, noOtherPayer: true });
      goesOn = true;
    });
    if (goesOn) return this.forget();
    const { unexplained = [] } = (error?.info ?? {}) as { readonly unexplained?: readonly string[] };
    for (const fact of unexplained) {
      const hash = fact.slice(0, 66) as Hex;
      const [, to] = / to (0x\w{40}) /.exec(fact) ?? [];
      if (pool.world.isForeign(hash)) this.#foreign.push(hash);
      else if (to !== undefined) this.#paidFor.set(to, pool.ownerOf(to as WorkerAddress));
      else throw new Error(`seed ${pool.options.seed}: nobody can explain ${fact}`, { cause: error });
    }
  }

  /** What it knew is told, or of books that are gone. */
  forget(): void {
    this.#foreign = [];
    this.#paidFor.clear();
  }
}

/** The people of a multisig: they execute what they were ever handed, in any order. */
export class MultisigPeople {
  readonly #pool: SimPool;
  readonly #files: { readonly run: string; readonly call: { to: WorkerAddress; value: string; data: Hex } }[] = [];
  readonly executed: { readonly run: string; readonly hash: Hex }[] = [];

  constructor(pool: SimPool) {
    this.#pool = pool;
  }

  async meet(): Promise<void> {
    const pool = this.#pool;
    const { chance } = pool.options;
    const [world] = pool.options.worlds;
    const [open] = await pool.store.openRuns();
    await pool.use(pool.leader, async (engine) => {
      if (open) {
        if (!world.healthy && chance() < 0.1) await engine.cancel(open.run.id).catch(refused);
        const format = !world.healthy && chance() < 0.4 ? "safe-cancel" : "safe";
        const text = await engine.exportRun(open.run.id, format).catch(refused);
        // It would pay somebody otherwise than it is to be by now: "cancel it, and plan again".
        const isRefused = text === undefined && format === "safe" && open.run.state === "approved";
        if (isRefused) await engine.cancel(open.run.id).catch(refused);
        if (text !== undefined) this.#files.push({ run: open.run.id, call: JSON.parse(text).transactions[0] });
        const file = world.healthy ? this.#files.at(-1) : this.#files[pool.pick(this.#files.length)];
        if (file) {
          const { to, value, data } = file.call;
          const { nonce } = world.tip.state;
          const offer = { gasLimit: 10n ** 6n, maxFeeWei: 10n ** 9n, maxTipWei: 1n };
          const raw = toHex({ chainId: 1, nonce, to, valueWei: BigInt(value), data, ...offer });
          if (!world.waiting.has(hashOf(raw))) world.take(raw);
          this.executed.push({ run: file.run, hash: hashOf(raw) });
        }
      }
      for (const { run, hash } of this.executed) {
        if (open?.run.id === run) await engine.reconcile(run, hash).catch(refused);
      }
    });
  }
}
