import type { WorkerAddress } from "@openpool/protocol";
import type { Hex, RunDetail } from "../types.ts";
import { openRun } from "./sim-books.ts";
import { refused } from "./sim-chance.ts";
import { hashOf, toHex, together } from "./sim-chain.ts";
import type { SimPool } from "./sim-pool.ts";

/** Does what the runbook says about a halt, and approves what waits for a person. */
export class Operator {
  readonly #pool: SimPool;
  #foreign: Hex[] = [];
  readonly #paidFor = new Map<string, WorkerAddress>();
  halts = 0;
  approvals = 0;

  constructor(pool: SimPool) {
    this.#pool = pool;
  }

  /** Looks at what the pool cannot explain, and says what it knows of that. */
  async look(): Promise<void> {
    const pool = this.#pool;
    const { books, options } = pool;
    const open = await openRun(books);
    // To the chain where something is still to be decided.
    if (open) await pool.moveTo((options.chainIds ?? [1, 2]).indexOf(open.run.chainId));
    if (open) await this.#judge(open);
    const { halts } = await books.look.control();
    if (halts.length === 0) return;
    this.halts += 1;
    // None of several workers can take it: "pay in something else".
    if (halts.some(({ code }) => code === "payout/token-refused")) await pool.payInEth();
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
      else throw new Error(`${options.name}: nobody can explain ${fact}`, { cause: error });
    }
  }

  async #judge({ run }: RunDetail): Promise<void> {
    if (run.state !== "planned") return;
    const { world, options } = this.#pool;
    const takesBack = !world.healthy && options.chance() < 0.2;
    this.approvals += 1;
    await this.#pool.use(this.#pool.leader, (engine) =>
      takesBack ? engine.cancel(run.id) : engine.approve(run.id, "ada"),
    );
  }

  /** What it knew is told, or of books that are gone. */
  forget(): void {
    this.#foreign = [];
    this.#paidFor.clear();
  }
}

interface HandedOut {
  readonly run: string;
  readonly transactions: readonly { readonly to: WorkerAddress; readonly value: string; readonly data: Hex }[];
}

/** The people of a multisig: they execute what they were ever handed, in any order. */
export class MultisigPeople {
  readonly #pool: SimPool;
  readonly #files: HandedOut[] = [];
  /** So many payouts of a healthy world they cancel. */
  #cancels: number;
  readonly executed: { readonly run: string; readonly hash: Hex; readonly data: Hex }[] = [];

  constructor(pool: SimPool, { cancels = 0 } = {}) {
    this.#pool = pool;
    this.#cancels = cancels;
  }

  async meet(): Promise<void> {
    const pool = this.#pool;
    const { chance } = pool.options;
    const { world } = pool;
    const open = await openRun(pool.books);
    await pool.use(pool.leader, async (engine) => {
      if (open) {
        if (!world.healthy && chance() < 0.1) await engine.cancel(open.run.id).catch(refused);
        const cancels = world.healthy ? this.#cancels > 0 && open.run.state === "exported" : chance() < 0.4;
        const format = cancels ? "safe-cancel" : "safe";
        const text = await engine.exportRun(open.run.id, format).catch(refused);
        // It would pay somebody otherwise than it is to be by now: "cancel it, and plan again".
        const isRefused = text === undefined && format === "safe" && open.run.state === "approved";
        if (isRefused) await engine.cancel(open.run.id).catch(refused);
        if (text !== undefined) this.#files.push({ run: open.run.id, transactions: JSON.parse(text).transactions });
        const mayWait = this.#cancels > 0 && !cancels;
        const file = world.healthy ? this.#files.at(-1) : this.#files[pool.pick(this.#files.length)];
        if (file && !mayWait) {
          if (cancels && world.healthy) this.#cancels -= 1;
          this.#execute(file);
        }
      }
      for (const { run, hash } of this.executed) {
        if (open?.run.id === run) await engine.reconcile(run, hash).catch(refused);
      }
    });
  }

  #execute({ run, transactions }: HandedOut): void {
    const { world } = this.#pool;
    const call = together(transactions.map(({ to, value, data }) => ({ to, valueWei: BigInt(value), data })));
    const isDone = ({ hash, data }: (typeof this.executed)[number]) => data === call.data && world.knows(hash);
    if (world.healthy && this.executed.some(isDone)) return;
    const offer = { gasLimit: 10n ** 6n, maxFeeWei: 10n ** 9n, maxTipWei: 1n };
    const raw = toHex({ chainId: 1, nonce: world.tip.state.nonce, ...call, ...offer });
    if (!world.waiting.has(hashOf(raw))) world.take(raw);
    this.executed.push({ run, hash: hashOf(raw), data: call.data });
  }
}
