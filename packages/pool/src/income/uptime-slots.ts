import { errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { UptimeBonus } from "../ledger/schemes/index.ts";

export interface UptimeSlotsDeps {
  /** Workers that could take work now and are not known to do it badly. */
  readonly readyWorkers: () => readonly WorkerAddress[];
  /** Gives one of the worker's rigs a small segment that nobody pays for. `none`: no rig of it could be asked. */
  readonly check: (worker: WorkerAddress) => Promise<"passed" | "failed" | "none">;
  /** A check that nobody answers takes so long. */
  readonly checkMs: number;
  /** Uniform in [0, 1): who is checked first. */
  readonly random: () => number;
  readonly logger: Logger;
}

/** What is known of a slot of the uptime bonus when it is over. The lists are sorted, and together all who were ready. */
export interface DecidedSlot {
  /** As it was promised when the slot began. */
  readonly uptime: UptimeBonus;
  readonly number: number;
  /** Ready at every look, and did a job or a check that was verified: they share the slot. */
  readonly passed: readonly WorkerAddress[];
  /** Ready, and what they made of their checks was not valid, or did not come. */
  readonly failed: readonly WorkerAddress[];
  /** Ready, and never seen to work: none of their rigs could be asked. */
  readonly unchecked: readonly WorkerAddress[];
}

interface Slot {
  readonly uptime: UptimeBonus;
  readonly number: number;
  ready: ReadonlySet<WorkerAddress>;
  readonly passed: Set<WorkerAddress>;
  /** How often a worker has failed. */
  readonly failures: Map<WorkerAddress, number>;
  /** Those that are to be checked in this round. */
  queue: WorkerAddress[];
  checking: Promise<unknown> | undefined;
}

/** So many workers are checked at once; more where the slot would be over before those who do not answer are through. */
const CHECKS_AT_ONCE = 4;
const MAX_CHECKS_AT_ONCE = 64;
/** A network may lose one: nobody loses a slot for a single failure. */
const FAILURES_ALLOWED = 2;

/**
 * Who was ready in a slot of the uptime bonus, and passed a check in it: work that was verified is one; who had none by the
 * middle of the slot is given a small segment to show it. Where so many wait for one that the second half is short, they are
 * begun earlier.
 */
export class UptimeSlots {
  readonly #deps: UptimeSlotsDeps;
  #slot: Slot | undefined;
  readonly #running = new Set<Promise<void>>();

  constructor(deps: UptimeSlotsDeps) {
    this.#deps = deps;
  }

  /** A job of this worker was verified. */
  worked(worker: WorkerAddress): void {
    this.#slot?.passed.add(worker);
  }

  /** Ends the slot if it is over, and waits for the checks that run; undefined while it goes on. */
  async takeOver(nowMs: number): Promise<DecidedSlot | undefined> {
    const slot = this.#slot;
    if (!slot || (slot.number + 1) * slot.uptime.slotMs > nowMs) return undefined;
    this.#slot = undefined;
    slot.queue = [];
    await slot.checking;
    const ready = [...slot.ready].sort();
    const passed = ready.filter((worker) => slot.passed.has(worker));
    const failed = ready.filter((worker) => !slot.passed.has(worker) && slot.failures.has(worker));
    const unchecked = ready.filter((worker) => !slot.passed.has(worker) && !slot.failures.has(worker));
    return { uptime: slot.uptime, number: slot.number, passed, failed, unchecked };
  }

  /** No slot goes on: there is no bonus any more. */
  drop(): void {
    if (this.#slot) this.#slot.queue = [];
    this.#slot = undefined;
  }

  /** One look at who is ready. A slot whose first half nobody looked at is not given out: it could not be judged. */
  look(uptime: UptimeBonus, nowMs: number): void {
    const number = Math.floor(nowMs / uptime.slotMs);
    const inSecondHalf = nowMs - number * uptime.slotMs >= uptime.slotMs / 2;
    const ready = new Set(this.#deps.readyWorkers());
    const known = this.#slot;
    if (known?.number === number && known.uptime.slotMs === uptime.slotMs) {
      known.ready = new Set([...known.ready].filter((worker) => ready.has(worker)));
    } else {
      this.drop();
      if (inSecondHalf) return;
      this.#slot = { uptime, number, ready, passed: new Set(), failures: new Map(), queue: [], checking: undefined };
    }
    if (this.#slot) this.#checkMissing(this.#slot, nowMs);
  }

  #checkMissing(slot: Slot, nowMs: number): void {
    if (slot.checking) return;
    const missing = [...slot.ready].filter(
      (worker) => !slot.passed.has(worker) && (slot.failures.get(worker) ?? 0) <= FAILURES_ALLOWED,
    );
    const { slotMs } = slot.uptime;
    const leftMs = (slot.number + 1) * slotMs - nowMs;
    // Half of what is left is for those that are asked again.
    const atOnce = Math.ceil((missing.length * this.#deps.checkMs) / (leftMs / 2));
    if (missing.length === 0 || (leftMs > slotMs / 2 && atOnce <= CHECKS_AT_ONCE)) return;
    // By chance: those that never answer are not always in front of the same.
    slot.queue = shuffled(missing, this.#deps.random);
    const lines = Math.min(Math.max(atOnce, CHECKS_AT_ONCE), MAX_CHECKS_AT_ONCE);
    const checking = Promise.all(Array.from({ length: lines }, () => this.#checkNext(slot))).then(() => {
      slot.checking = undefined;
      this.#running.delete(checking);
    });
    slot.checking = checking;
    this.#running.add(checking);
  }

  async #checkNext(slot: Slot): Promise<void> {
    for (let worker = slot.queue.shift(); worker !== undefined; worker = slot.queue.shift()) {
      if (slot.passed.has(worker)) continue;
      const result = await this.#check(worker);
      if (result === "passed") slot.passed.add(worker);
      if (result === "failed") slot.failures.set(worker, (slot.failures.get(worker) ?? 0) + 1);
    }
  }

  async #check(worker: WorkerAddress): Promise<"passed" | "failed" | "none"> {
    try {
      return await this.#deps.check(worker);
    } catch (error) {
      this.#deps.logger.warn("a worker could not be checked", { worker, error: errorText(error) });
      return "none";
    }
  }

  /** Nothing more is begun; resolves when the checks that run are over, also those of slots that were dropped. */
  async stop(): Promise<void> {
    this.drop();
    await Promise.all(this.#running);
  }
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one);
}
