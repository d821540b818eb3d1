import { type Clock, createBackoff, errorText, type Logger, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { type BlockMark, type IncomeChain, type IncomeLog, keptWei } from "./types.ts";

/** Something to append to the event log. */
export interface IncomeEvent {
  readonly type: "income.received" | "income.withdrawn" | "income.unpaid" | "income.reverted";
  readonly data: Readonly<Record<string, unknown>>;
}

/** How far the chain was read, and which blocks it had then: JSON. */
export interface IncomeProgress {
  readonly chainId: number;
  /** Newest last. The last one is how far was read; the others tell where a reorganisation began. */
  readonly marks: readonly BlockMark[];
}

export interface IncomeScanOptions {
  readonly orchestrator: WorkerAddress;
  /** The first block to read; undefined: from the newest one on. */
  readonly fromBlock: number | undefined;
  /** Blocks asked for at once at most; halved when a node refuses that many. */
  readonly maxBlocks: number;
}

export interface IncomeScanDeps {
  readonly chain: IncomeChain;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly loadProgress: () => Promise<IncomeProgress | undefined>;
  /** Of these references, those that are booked already. */
  readonly knownRefs: (refs: readonly string[]) => Promise<ReadonlySet<string>>;
  /** References of what was read from blocks after this one, and not taken back since. */
  readonly refsAfter: (chainId: number, block: number) => Promise<readonly string[]>;
  /** Appends to the event log; durable when it resolves. */
  readonly append: (events: readonly IncomeEvent[]) => Promise<void>;
  /** Books them and keeps how far was read, both or nothing. What was booked before counts no second time. */
  readonly commit: (events: readonly IncomeEvent[], progress: IncomeProgress) => Promise<void>;
}

export class IncomeError extends PoolError<{
  readonly code: "income/wrong-chain" | "income/node-behind" | "income/deep-reorg" | "income/lying-node";
}> {}

/** Blocks remembered to find where a reorganisation began. */
const MAX_MARKS = 256;

/**
 * Reads the income of an orchestrator from the chain, from a block on: redeemed tickets with what of them is the
 * operator's, and fees withdrawn. Only blocks that are final are read. Should one be taken back nevertheless, what was in
 * it is taken back too and the chain is read again from there. Facts are appended before they are booked, so a crash between
 * the two repeats them in the log at worst; in the books a reference counts once.
 */
export class IncomeScan {
  readonly #options: IncomeScanOptions;
  readonly #deps: IncomeScanDeps;
  #span: number;
  #readTo: number | undefined;
  #readToMs: number | undefined;

  constructor(options: IncomeScanOptions, deps: IncomeScanDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#span = options.maxBlocks;
  }

  /** The last block that was read. */
  get readTo(): number | undefined {
    return this.#readTo;
  }

  /** The time of the block up to which nothing is left to read: all income from before it is booked. Unix ms. */
  get readToMs(): number | undefined {
    return this.#readToMs;
  }

  /** One step: reads the next blocks, or finds that there are none. */
  async look(): Promise<"more" | "up-to-date"> {
    const { chain, commit, append, logger } = this.#deps;
    const chainId = await chain.chainId();
    const final = await chain.finalBlock();
    const saved = await this.#deps.loadProgress();
    if (saved && saved.chainId !== chainId) {
      throw new IncomeError(
        { code: "income/wrong-chain" },
        `Income was read from chain ${saved.chainId}, and the RPC node is on chain ${chainId}: check its URL.`,
      );
    }
    const marks = saved ? await this.#stillThere(saved.marks, final) : [];
    const dropped = (saved?.marks.length ?? 0) - marks.length;
    if (saved && dropped > 0) {
      const keptTo = marks.at(-1)?.number ?? (saved.marks[0]?.number ?? 0) - 1;
      logger.warn("blocks that were final were taken back", { from: keptTo + 1, to: saved.marks.at(-1)?.number });
      const refs = await this.#deps.refsAfter(chainId, keptTo);
      const taken = refs.map((ref): IncomeEvent => ({
        type: "income.reverted",
        data: { ref, why: "its block was taken back" },
      }));
      const left = marks.length > 0 ? marks : [await this.#mark(Math.max(0, keptTo))];
      await append(taken);
      await commit(taken, { chainId, marks: left });
      return "more";
    }
    const last = marks.at(-1)?.number;
    const from = last === undefined ? (this.#options.fromBlock ?? final + 1) : last + 1;
    if (last === undefined && from > final) {
      await commit([], { chainId, marks: [await this.#mark(final)] });
      this.#readTo = final;
      return this.#upToDate(final);
    }
    this.#readTo = last;
    if (last !== undefined && from > final) return this.#upToDate(last);
    if (from > final) return "up-to-date";
    const to = Math.min(final, from + this.#span - 1);
    const events = await this.#read(chainId, from, to);
    // Asked for after the logs: a chain that changed meanwhile shows with the next look.
    const mark = await this.#mark(to);
    const known = await this.#deps.knownRefs(events.map(({ ref }) => ref));
    const fresh = events.filter(({ ref }) => !known.has(ref)).map(({ event }) => event);
    if (fresh.length > 0) await append(fresh);
    await commit(fresh, { chainId, marks: [...marks, mark].slice(-MAX_MARKS) });
    this.#readTo = to;
    this.#span = Math.min(this.#options.maxBlocks, this.#span * 2);
    return to < final ? "more" : this.#upToDate(to);
  }

  async #upToDate(number: number): Promise<"up-to-date"> {
    const block = await this.#deps.chain.block(number);
    if (!block) throw nodeBehind(number);
    this.#readToMs = block.timeMs;
    return "up-to-date";
  }

  async #mark(number: number): Promise<BlockMark> {
    const block = await this.#deps.chain.block(number);
    if (!block) throw nodeBehind(number);
    return { number: block.number, hash: block.hash };
  }

  /** The marks that the chain still has; looks back from the newest. */
  async #stillThere(marks: readonly BlockMark[], final: number): Promise<readonly BlockMark[]> {
    for (let i = marks.length - 1; i >= 0; i--) {
      const mark = marks[i];
      if (!mark) break;
      const block = await this.#deps.chain.block(mark.number);
      if (block?.hash === mark.hash) return marks.slice(0, i + 1);
      // A node that is behind knows nothing of a reorganisation.
      if (!block || mark.number > final) throw nodeBehind(mark.number);
    }
    if (marks.length >= MAX_MARKS) {
      throw new IncomeError(
        { code: "income/deep-reorg" },
        "None of the blocks that income was read from is on the chain any more: the RPC node is on another one, or broken.",
      );
    }
    return [];
  }

  async #read(
    chainId: number,
    from: number,
    to: number,
  ): Promise<readonly { readonly ref: string; readonly event: IncomeEvent }[]> {
    const { chain } = this.#deps;
    let logs: readonly IncomeLog[];
    try {
      logs = await chain.logs(from, to);
    } catch (error) {
      // Every provider has limits of its own, and says so in words of its own.
      this.#span = Math.max(1, Math.floor((to - from + 1) / 2));
      throw error;
    }
    const times = new Map<number, number>();
    const found: { readonly ref: string; readonly event: IncomeEvent }[] = [];
    for (const log of logs) {
      if (log.block.number < from || log.block.number > to) {
        throw new IncomeError(
          { code: "income/lying-node" },
          `Asked for blocks ${from} to ${to}, the RPC node answered with one of block ${log.block.number}.`,
        );
      }
      let atMs = times.get(log.block.number);
      if (atMs === undefined) {
        const block = await chain.block(log.block.number);
        if (!block) throw nodeBehind(log.block.number);
        if (block.hash !== log.block.hash) {
          throw new IncomeError(
            { code: "income/lying-node" },
            `The RPC node has two versions of block ${log.block.number}; asking again.`,
          );
        }
        atMs = block.timeMs;
        times.set(log.block.number, atMs);
      }
      found.push(await this.#toEvent(chainId, log, atMs));
    }
    return found;
  }

  async #toEvent(
    chainId: number,
    log: IncomeLog,
    atMs: number,
  ): Promise<{ readonly ref: string; readonly event: IncomeEvent }> {
    // With the hash of its block: what comes back in another block after a reorganisation is another fact.
    const ref = `${chainId}:${log.block.hash}:${log.logIndex}`;
    const common = {
      ref,
      at: new Date(atMs).toISOString(),
      chainId,
      block: log.block.number,
      tx: log.tx,
      orchestrator: this.#options.orchestrator,
    };
    switch (log.kind) {
      case "redeemed": {
        const cut = await this.#deps.chain.feeCut(log.block.number);
        return {
          ref,
          event: {
            type: "income.received",
            data: {
              ...common,
              kind: "tickets",
              grossWei: String(log.paidWei),
              keptWei: String(keptWei(log.paidWei, cut)),
              ...(log.faceWei === undefined ? {} : { faceWei: String(log.faceWei) }),
              feeSharePpm: String(cut.feeSharePpm),
              cutFrom: cut.from,
            },
          },
        };
      }
      case "unpaid":
        return { ref, event: { type: "income.unpaid", data: { ...common, faceWei: String(log.faceWei) } } };
      case "withdrawn":
        return {
          ref,
          event: { type: "income.withdrawn", data: { ...common, amountWei: String(log.amountWei), to: log.to } },
        };
    }
  }
}

/** Looks again and again, as long as it lives; what fails is tried later. */
export class IncomeReader implements AsyncDisposable {
  readonly #pollMs: number;
  readonly #deps: IncomeScanDeps;
  readonly #scan: IncomeScan;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #problem: string | undefined;
  #upToDateAtMs: number | undefined;

  /** @param options.pollMs time between looks, in milliseconds */
  constructor(options: IncomeScanOptions & { readonly pollMs: number }, deps: IncomeScanDeps) {
    this.#pollMs = options.pollMs;
    this.#deps = deps;
    this.#scan = new IncomeScan(options, deps);
    this.#running = this.#run();
  }

  /** How far it is: for pages and metrics. */
  get status(): {
    readonly readTo: number | undefined;
    /** When it last reached the end of the chain; unix ms. */
    readonly upToDateAtMs: number | undefined;
    readonly problem: string | undefined;
  } {
    return { readTo: this.#scan.readTo, upToDateAtMs: this.#upToDateAtMs, problem: this.#problem };
  }

  /** By the chain's own time: all income from before it was read. Unix ms. */
  get readToMs(): number | undefined {
    return this.#scan.readToMs;
  }

  async #run(): Promise<void> {
    const { logger, clock } = this.#deps;
    const backoff = createBackoff({ initialMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.2 });
    while (!this.#stopped.signal.aborted) {
      let waitMs = this.#pollMs;
      try {
        if ((await this.#scan.look()) === "more") waitMs = 0;
        else this.#upToDateAtMs = clock.now();
        if (this.#problem !== undefined) logger.info("income is read again");
        this.#problem = undefined;
        backoff.reset();
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        const text = errorText(error);
        if (this.#problem !== text) logger.warn("income could not be read from the chain", { error: text });
        this.#problem = text;
        waitMs = backoff.next();
      }
      if (waitMs > 0) await this.#rest(waitMs);
    }
  }

  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#stopped.signal.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.#deps.clock.after(ms, done);
      this.#stopped.signal.addEventListener("abort", done);
      if (this.#stopped.signal.aborted) done();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }
}

function nodeBehind(block: number): IncomeError {
  return new IncomeError(
    { code: "income/node-behind" },
    `The RPC node does not have block ${block}, which was read before: it is behind, and income waits for it.`,
  );
}
