import { errorText } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { type PayoutContext, isLive, type PayoutDeps, payerOf, type PayoutSettings } from "./context.ts";
import { floatsOf, gather, type Gathered } from "./gather.ts";
import { isExecuted } from "./multisig.ts";
import type { PlanRules } from "./planner.ts";
import type { Asset, FiatPrice, FloatNow, LineState, PayoutLine } from "./types.ts";

/** How often the account's float and the price of the day are looked at. */
const LOOK_MS = 5 * 60 * 1000;
/** So many payouts back tell what one usually comes to. */
const USUAL_RUNS = 10;
/** Of lines that the chain has not decided about for good. */
const OPEN: readonly LineState[] = ["planned", "signed", "sent", "confirmed"];

/** Knows whether the paying account holds what it needs, and what ETH was worth. */
export class AccountWatch {
  readonly #context: PayoutContext;
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  #floats: readonly FloatNow[] = [];
  #balanceWei: bigint | undefined;
  #goneWei = 0n;
  /** By the clock that does not jump, as the next one. */
  #lookedAtMs = -Infinity;
  #weighedAtMs = -Infinity;

  constructor(context: PayoutContext) {
    this.#context = context;
    this.#settings = context.settings;
    this.#deps = context.deps;
  }

  /** As of the last look. */
  get floats(): readonly FloatNow[] {
    return this.#floats;
  }

  /** Undefined: nobody could look yet. */
  get balanceWei(): bigint | undefined {
    return this.#balanceWei;
  }

  /** See {@link PayoutStatus.goneWei}. */
  get goneWei(): bigint {
    return this.#goneWei;
  }

  /** From time to time keeps the price of the day and weighs the account. Answers whether it was time for the price. */
  async look(rules: PlanRules): Promise<boolean> {
    const { store, clock, logger } = this.#deps;
    const nowMs = clock.monotonicMs();
    const payer = payerOf(this.#context);
    if (payer !== undefined && nowMs - this.#weighedAtMs >= LOOK_MS) {
      try {
        await this.weigh(await gather(rules, payer, this.#deps, "nobody"), payer);
      } catch (error) {
        // Tried again with the next step: what nobody knows yet keeps others waiting.
        logger.debug("the paying account could not be looked at", { error: errorText(error) });
      }
    }
    if (nowMs - this.#lookedAtMs < LOOK_MS) return false;
    this.#lookedAtMs = nowMs;
    const fiat = await this.fiat();
    if (fiat) await store.keepFiat(new Date(clock.now()).toISOString().slice(0, 10), fiat);
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
    const { due, gone } = await this.#planned(payer);
    const floats = floatsOf(gathered, due, this.#settings.rules, usualWei, payer);
    // An asset that nobody can tell the price of now is as it was.
    const unknown = this.#floats.filter(({ asset }) => "problem" in (gathered.assets.get(asset) ?? {}));
    this.#balanceWei = gathered.gasBalanceWei;
    this.#goneWei = gone.reduce((sum, line) => (line.asset === "eth" ? sum + line.amountWei : sum), 0n);
    this.#floats = [...floats, ...unknown];
    this.#weighedAtMs = this.#deps.clock.monotonicMs();
  }

  /**
   * What open runs pay from this account: still in it (`due`), or out of it by now (`gone`). To be asked after the balance:
   * what left in between counts as gone, not as missing.
   */
  async #planned(
    payer: WorkerAddress,
  ): Promise<{ readonly due: readonly PayoutLine[]; readonly gone: readonly PayoutLine[] }> {
    const { store, chain } = this.#deps;
    const due: PayoutLine[] = [];
    const gone: PayoutLine[] = [];
    const next = await chain.nextNonce(payer);
    for (const { run, lines, intents } of await store.openRuns()) {
      if (run.payer !== payer || run.chainId !== chain.chainId) continue;
      const executed = new Set<Asset>();
      if (run.state === "exported") {
        for (const asset of new Set(lines.map((line) => line.asset))) {
          if (await isExecuted(this.#context, run, asset)) executed.add(asset);
        }
      }
      // In a block, final or not; what was handed out and waits for its turn is still there.
      const mined = new Set(intents.flatMap((one) => (isLive(one) && one.nonce < next ? one.lines : [])));
      for (const line of lines) {
        if (!OPEN.includes(line.state)) continue;
        const left = line.state === "confirmed" || mined.has(line.id) || executed.has(line.asset);
        (left ? gone : due).push(line);
      }
    }
    return { due, gone };
  }
}
