import { type Clock, errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { readScheme, sharesIncome, type UptimeBonus } from "../ledger/schemes/index.ts";
import { everyTerms, type Terms, type TermsBook } from "../ledger/terms.ts";
import { type DecidedSlot, UptimeSlots, type UptimeSlotsDeps } from "./uptime-slots.ts";

export interface SchemeKeeperDeps extends UptimeSlotsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly terms: Pick<TermsBook, "at" | "versions">;
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
    /** Slots that were decided after a moment, and are not booked. */
    unbookedSlots(sinceMs: number): Promise<readonly BookableSlot[]>;
  };
  /** Keeps the sums of the day, if they are not kept yet. */
  readonly keepDay: () => Promise<void>;
  /** Tells the event log; never rejects. A fact that gets lost here is still in the books. */
  readonly tell: (event: { readonly type: string; readonly data: Readonly<Record<string, unknown>> }) => Promise<void>;
}

/** Time between looks. A worker must be ready at each of them in a slot. */
const LOOK_MS = 10_000;
/** After a start rigs are on their way back: nobody loses a slot for that. */
const SETTLE_IN_MS = 60_000;
/** A slot that was decided in this time, and could not be booked before the end of its process, is booked after a start. */
const RECENT_MS = 86_400_000;
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

/** What of a decided slot is needed to book it. */
export type BookableSlot = Pick<DecidedSlot, "uptime" | "number" | "passed">;

interface OverSlot {
  readonly slot: BookableSlot;
  recorded: boolean;
}
/** While the database does not answer, so many slots wait to be booked; those after them are not given out. */
const MAX_WAITING_SLOTS = 1_000;

/**
 * Does what schemes do at a time of their own: settles periods that are over, and gives out the slots of the uptime bonus.
 * What was done is in the books, so that it is done once whatever is restarted.
 */
export class SchemeKeeper implements AsyncDisposable {
  readonly #deps: SchemeKeeperDeps;
  readonly #startedMs: number;
  readonly #slots: UptimeSlots;
  /** Slots that are over and not booked, the oldest first. */
  readonly #over: OverSlot[] = [];
  #booking: Promise<void> = Promise.resolve();
  /** The slots that those before this process left are booked. */
  #caughtUp = false;
  /** The slot that was over when the workers were let go. */
  #ending: Promise<void> = Promise.resolve();
  #day: number | undefined;
  #lastPeriod: string | undefined;
  #cancel = (): void => {};
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  #problem: string | undefined;

  constructor(deps: SchemeKeeperDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonicMs();
    this.#slots = new UptimeSlots(deps);
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
      const nowMs = clock.now();
      const inForce = terms.at(nowMs);
      // First: who is ready is seen also while the database does not answer.
      await this.#lookAtSlot(inForce, nowMs);
      const day = Math.floor(nowMs / DAY_MS);
      if (day !== this.#day) await this.#deps.keepDay();
      this.#day = day;
      await this.#lookAtPeriod(inForce, nowMs);
      this.#problem = undefined;
    } catch (error) {
      const text = errorText(error);
      if (this.#problem !== text) logger.warn("a period or slot could not be booked yet", { error: text });
      this.#problem = text;
    }
  }

  async #lookAtPeriod(terms: Terms, nowMs: number): Promise<void> {
    // Terms that share no income any more leave what was not settled under those before them.
    const before = this.#deps.terms.versions.findLast((one) => one.effectiveAtMs <= nowMs && sharesIncome(one));
    const periodMs = periodMsOf(terms) ?? (before && periodMsOf(before));
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
    await this.#endSlot(nowMs);
    if (!uptime) this.#slots.drop();
    else if (this.#deps.clock.monotonicMs() - this.#startedMs >= SETTLE_IN_MS) this.#slots.look(uptime, nowMs);
    if (!this.#caughtUp) {
      const left = await this.#deps.store.unbookedSlots(nowMs - RECENT_MS);
      this.#over.unshift(...left.map((slot) => ({ slot, recorded: true })));
      this.#caughtUp = true;
    }
    await this.#bookSlots();
  }

  async #endSlot(nowMs: number): Promise<void> {
    const slot = await this.#slots.takeOver(nowMs);
    if (slot && this.#over.length < MAX_WAITING_SLOTS) this.#decide(slot);
  }

  /** What decides a slot is in the log before it is in the books. The log may take long: looks go on meanwhile. */
  #decide(slot: DecidedSlot): void {
    const { uptime, number, passed, failed, unchecked } = slot;
    const over: OverSlot = { slot, recorded: false };
    this.#over.push(over);
    const data = {
      slot: new Date(number * uptime.slotMs).toISOString(),
      slotMs: uptime.slotMs,
      budgetWeiPerDay: uptime.budgetWeiPerDay.toString(),
      passed,
      failed,
      unchecked,
    };
    void this.#deps.tell({ type: "uptime.decided", data }).then(() => {
      over.recorded = true;
      // What fails now is tried again by the next look, and after a start.
      this.#bookSlots().catch(() => undefined);
    });
  }

  /** Books what is recorded: one caller after another, so that each slot is booked once. */
  #bookSlots(): Promise<void> {
    const booking = this.#booking.then(async () => {
      for (let over = this.#over[0]; over?.recorded; over = this.#over[0]) {
        const { uptime, number, passed } = over.slot;
        const nowMs = this.#deps.clock.now();
        await this.#deps.store.bookUptime(uptime, number, passed, { nowMs, terms: this.#deps.terms.at(nowMs) });
        this.#over.shift();
      }
    });
    this.#booking = booking.catch(() => undefined);
    return booking;
  }

  /** A job of this worker was verified. */
  worked(worker: WorkerAddress): void {
    this.#slots.worked(worker);
  }

  /** The workers are being let go: from now on their absence says nothing about them. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancel();
    this.#ending = this.#endSlot(this.#deps.clock.now());
    this.#slots.drop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#looking;
    await this.#slots.stop();
    await this.#ending;
    // What is not in the log yet is booked after the next start: the log may be long in coming.
    await this.#bookSlots().catch((error: unknown) => {
      this.#deps.logger.warn("a slot is booked after the next start", { error: errorText(error) });
    });
  }
}
