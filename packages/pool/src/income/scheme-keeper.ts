import { type Clock, errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { readScheme, sharesIncome, type UptimeBonus } from "../ledger/schemes/index.ts";
import { everyTerms, type Terms } from "../ledger/terms.ts";

export interface SchemeKeeperDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The terms in force. */
  readonly terms: () => Terms;
  /** Workers that could take work now and whose last results passed their checks. */
  readonly readyWorkers: () => readonly WorkerAddress[];
  /** Income up to when was read; `always` where none is read from a chain. */
  readonly incomeReadTo: () => number | undefined | "always";
  readonly store: {
    lastPeriod(): Promise<string | undefined>;
    /** The first period is not settled: what is in it counts into the next one. */
    skipPeriod(period: string): Promise<void>;
    settle(
      period: string,
      endsMs: number,
      time: { readonly nowMs: number; readonly terms: Terms },
    ): Promise<"settled" | "already-settled" | "nothing-to-share" | "behind">;
    bookUptime(
      bonus: UptimeBonus,
      slot: number,
      ready: readonly WorkerAddress[],
      time: { readonly nowMs: number; readonly terms: Terms },
    ): Promise<"booked" | "already-booked" | "nobody-ready">;
  };
  /** Keeps the sums of the day, if they are not kept yet. */
  readonly keepDay: () => Promise<void>;
  /** Tells the event log. A fact that gets lost here is still in the books. */
  readonly tell: (event: { readonly type: string; readonly data: Readonly<Record<string, unknown>> }) => Promise<void>;
}

/** Time between looks. A worker must be ready at each of them in a slot. */
const LOOK_MS = 10_000;
/** After a start rigs are on their way back: nobody loses a slot for that. */
const SETTLE_IN_MS = 60_000;
const DAY_MS = 86_400_000;

/** The period that a moment lies in begins at this one: its name. Periods begin with the epoch, so days begin at 0:00 UTC. */
export function periodStart(atMs: number, periodMs: number): string {
  return new Date(Math.floor(atMs / periodMs) * periodMs).toISOString();
}

/** The shortest period among the schemes of these terms; undefined when nobody shares income. */
export function periodMsOf(terms: Terms): number | undefined {
  if (!sharesIncome(terms)) return undefined;
  const periods = everyTerms(terms).flatMap((one) => {
    const { scheme } = readScheme(one.scheme, one.schemeOptions);
    return scheme.kind === "proportional" || scheme.kind === "blend" ? [scheme.periodMs] : [];
  });
  return Math.min(...periods);
}

/**
 * Does what schemes do at a time of their own: settles periods that are over, and gives out the slots of the uptime bonus.
 * What was done is in the books, so that it is done once whatever is restarted.
 */
export class SchemeKeeper implements AsyncDisposable {
  readonly #deps: SchemeKeeperDeps;
  readonly #startedMs: number;
  #slot: { readonly number: number; readonly slotMs: number; ready: ReadonlySet<WorkerAddress> } | undefined;
  #day: number | undefined;
  #lastPeriod: string | undefined;
  #cancel = (): void => {};
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  #problem: string | undefined;

  constructor(deps: SchemeKeeperDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonicMs();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      this.#looking = this.look().finally(() => this.#schedule());
    });
  }

  /** One look; never rejects: what failed is tried again with the next one. */
  async look(): Promise<void> {
    const { clock, logger, terms } = this.#deps;
    try {
      const inForce = terms();
      const nowMs = clock.now();
      const day = Math.floor(nowMs / DAY_MS);
      if (day !== this.#day) await this.#deps.keepDay();
      this.#day = day;
      await this.#lookAtSlot(inForce, nowMs);
      await this.#lookAtPeriod(inForce, nowMs);
      this.#problem = undefined;
    } catch (error) {
      const text = errorText(error);
      if (this.#problem !== text) logger.warn("a period or slot could not be booked yet", { error: text });
      this.#problem = text;
    }
  }

  async #lookAtPeriod(terms: Terms, nowMs: number): Promise<void> {
    const periodMs = periodMsOf(terms);
    if (periodMs === undefined) return;
    const { store, logger, incomeReadTo, tell } = this.#deps;
    const over = periodStart(nowMs - periodMs, periodMs);
    this.#lastPeriod ??= await store.lastPeriod();
    // One that has not begun: the clock had jumped ahead. From now on they are counted by the clock as it is.
    if (this.#lastPeriod === undefined || Date.parse(this.#lastPeriod) > nowMs) {
      await store.skipPeriod(over);
      this.#lastPeriod = over;
      return;
    }
    if (over <= this.#lastPeriod) return;
    // Income of the period that was not seen yet would count into the next one.
    const readTo = incomeReadTo();
    const endsMs = Date.parse(over) + periodMs;
    if (readTo !== "always" && (readTo === undefined || readTo < endsMs)) return;
    const outcome = await store.settle(over, endsMs, { nowMs, terms });
    if (outcome === "behind") return;
    this.#lastPeriod = over;
    if (outcome !== "settled") return;
    logger.info("a period was settled", { period: over });
    await tell({ type: "period.settled", data: { period: over } });
  }

  async #lookAtSlot(terms: Terms, nowMs: number): Promise<void> {
    // The budget is the pool's: no override has one of its own.
    const { uptime } = readScheme(terms.scheme, terms.schemeOptions);
    if (!uptime) {
      this.#slot = undefined;
      return;
    }
    const number = Math.floor(nowMs / uptime.slotMs);
    const last = this.#slot;
    if (last && last.slotMs === uptime.slotMs && last.number < number) {
      this.#slot = undefined;
      const outcome = await this.#deps.store.bookUptime(uptime, last.number, [...last.ready].sort(), { nowMs, terms });
      if (outcome === "booked") {
        const slot = new Date(last.number * uptime.slotMs).toISOString();
        await this.#deps.tell({ type: "uptime.given", data: { slot, workers: last.ready.size } });
      }
    }
    if (this.#deps.clock.monotonicMs() - this.#startedMs < SETTLE_IN_MS) return;
    const ready = new Set(this.#deps.readyWorkers());
    const current = this.#slot;
    this.#slot =
      current?.number === number && current.slotMs === uptime.slotMs
        ? { ...current, ready: new Set([...current.ready].filter((worker) => ready.has(worker))) }
        : { number, slotMs: uptime.slotMs, ready };
  }

  /** The workers are being let go: from now on their absence says nothing about them. */
  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#looking;
  }
}
