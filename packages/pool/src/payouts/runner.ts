import { type Clock, errorText, type Logger, PoolError } from "@openpool/base";
import type { PayoutEngine } from "./engine.ts";

export interface RunnerOptions {
  /** How often the chain is looked at while something is under way, in milliseconds. */
  readonly busyMs: number;
  /** And while nothing is. */
  readonly idleMs: number;
}

/** Lets the engine step until it is disposed of: soon after it was woken, from time to time otherwise. */
export class PayoutRunner implements AsyncDisposable {
  readonly #options: RunnerOptions;
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  #engine: PayoutEngine | undefined;
  #cancel = (): void => {};
  #running: Promise<void> | undefined;
  #woken = false;
  #closed = false;
  #trouble: string | undefined;

  constructor(options: RunnerOptions, deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Begins; the engine may have asked to be woken before. */
  start(engine: PayoutEngine): void {
    this.#engine = engine;
    this.wake();
  }

  /** A step is due now. */
  wake(): void {
    this.#woken = true;
    if (this.#running || this.#closed || !this.#engine) return;
    this.#cancel();
    const engine = this.#engine;
    this.#running = this.#run(engine).finally(() => {
      this.#running = undefined;
      if (!this.#closed) this.#later(engine);
    });
  }

  async #run(engine: PayoutEngine): Promise<void> {
    while (this.#woken && !this.#closed) {
      this.#woken = false;
      try {
        await engine.step();
        if (this.#trouble !== undefined) this.#deps.logger.info("payouts go on");
        this.#trouble = undefined;
      } catch (error) {
        // Nothing was decided. Said once, until it is something else.
        const trouble = error instanceof PoolError ? error.message : `a bug: ${errorText(error)}`;
        if (trouble !== this.#trouble) this.#deps.logger.warn("payouts wait", { why: trouble });
        this.#trouble = trouble;
      }
    }
  }

  #later(engine: PayoutEngine): void {
    const delayMs = engine.busy ? this.#options.busyMs : this.#options.idleMs;
    this.#cancel = this.#deps.clock.after(delayMs, () => this.wake());
    if (this.#woken) this.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#running;
  }
}
