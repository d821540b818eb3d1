import { errorText } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { type PayoutContext, type PayoutDeps, payerOf, type PayoutSettings } from "./context.ts";
import { floatsOf, gather, type Gathered } from "./gather.ts";
import type { PlanRules } from "./planner.ts";
import type { FiatPrice, FloatNow } from "./types.ts";

/** How often the account's float and the price of the day are looked at. */
const LOOK_MS = 5 * 60 * 1000;
/** So many payouts back tell what one usually comes to. */
const USUAL_RUNS = 10;

/** Knows whether the paying account holds what it needs, and what ETH was worth. */
export class AccountWatch {
  readonly #context: PayoutContext;
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  #floats: readonly FloatNow[] = [];
  #balanceWei: bigint | undefined;
  /** By the clock that does not jump. */
  #lookedAtMs = -Infinity;

  constructor(context: PayoutContext) {
    this.#context = context;
    this.#settings = context.settings;
    this.#deps = context.deps;
  }

  /** As of the last look. */
  get floats(): readonly FloatNow[] {
    return this.#floats;
  }

  get balanceWei(): bigint | undefined {
    return this.#balanceWei;
  }

  /** From time to time keeps the price of the day and weighs the account. Answers whether it was time. */
  async look(rules: PlanRules, isPaying: boolean): Promise<boolean> {
    const { store, clock, logger } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return false;
    this.#lookedAtMs = nowMs;
    const fiat = await this.fiat();
    if (fiat) await store.keepFiat(new Date(clock.now()).toISOString().slice(0, 10), fiat);
    const payer = payerOf(this.#context);
    // What is being paid is owed to nobody and still in the account.
    if (isPaying || payer === undefined) return true;
    try {
      await this.weigh(await gather(rules, payer, this.#deps, "nobody"), payer);
    } catch (error) {
      logger.debug("the paying account could not be looked at", { error: errorText(error) });
    }
    return true;
  }

  /** What ETH is worth now; for the record only. */
  async fiat(): Promise<FiatPrice | undefined> {
    const price = await this.#deps.fiat?.().catch((error: unknown) => ({ problem: errorText(error) }));
    if (price === undefined || !("problem" in price)) return price;
    this.#deps.logger.warn("no price in money for the record", { problem: price.problem });
    return undefined;
  }

  /** Notes what the account holds against what is owed. */
  async weigh(gathered: Gathered, payer: WorkerAddress): Promise<void> {
    const runs = await this.#deps.store.runs(USUAL_RUNS);
    const usualWei = runs.reduce(
      (most, { state, totalWei }) => (state !== "cancelled" && totalWei > most ? totalWei : most),
      0n,
    );
    this.#balanceWei = gathered.gasBalanceWei;
    this.#floats = floatsOf(gathered, this.#settings.rules, usualWei, payer);
  }
}
