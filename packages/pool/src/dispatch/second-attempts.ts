import type { Choice, Chooser } from "./choice.ts";
import type { Estimates } from "./estimates.ts";
import type { Job } from "./model.ts";
import type { DispatchOptions } from "./options.ts";

const MAX_TRIED = 4;

interface SecondAttemptsDeps {
  readonly estimates: Estimates;
  readonly chooser: Chooser;
  readonly start: (job: Job, choice: Choice) => void;
  /** Has the job looked at again then. */
  readonly wakeAt: (job: Job, atMs: number) => void;
}

/** Jobs whose attempts are all late: who gets another one while the first goes on, and how many of them there may be. */
export class SecondAttempts {
  readonly #options: DispatchOptions;
  readonly #deps: SecondAttemptsDeps;
  /** For which nobody was idle yet, or a second attempt too dear. */
  readonly #waiting = new Set<Job>();
  /** Attempts that may be spent on merely late jobs; each plain one earns a share of another. */
  #tokens: number;

  constructor(options: DispatchOptions, deps: SecondAttemptsDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#tokens = options.hedgeBurst;
  }

  /** Jobs that wait for one. */
  get size(): number {
    return this.#waiting.size;
  }

  /** The job needs none any more. */
  forget(job: Job): void {
    this.#waiting.delete(job);
  }

  /** A plain attempt started. */
  earn(): void {
    const { hedgeBurst, hedgeShare } = this.#options;
    this.#tokens = Math.min(hedgeBurst, this.#tokens + hedgeShare);
  }

  /** Looks again at some that wait. */
  retry(nowMs: number): void {
    let tried = 0;
    for (const job of this.#waiting) {
      if (tried++ >= MAX_TRIED) break;
      this.consider(job, nowMs);
    }
  }

  /** Starts one, if all that are open are late, it is worth it, and somebody has room; else the job waits for it. */
  consider(job: Job, nowMs: number): void {
    const { estimates, chooser, start, wakeAt } = this.#deps;
    this.#waiting.delete(job);
    const { maxOpenAttempts, maxAttempts } = this.#options;
    const urgent = nowMs >= estimates.latestMs(job);
    if (job.open === 0 || job.started >= 2 * maxAttempts || job.open >= maxOpenAttempts * (urgent ? 2 : 1)) return;
    let doneMs = Infinity;
    for (const attempt of job.attempts) {
      if (attempt.state !== "open") continue;
      if (!attempt.late) return;
      // What waits behind something else, or is overdue, may be done at any time or never.
      const usuallyMs = estimates.usuallyDoneMs(attempt, nowMs);
      if (attempt.use.open[0] === attempt && usuallyMs > nowMs) doneMs = Math.min(doneMs, usuallyMs);
    }
    const choice = chooser.choose(job, urgent ? "rescue" : "hedge", nowMs);
    const found: Choice | undefined = choice !== undefined && "connection" in choice ? choice : undefined;
    // Where all are slow alike, a second attempt is a luxury even if time is short.
    const usefulMs = Math.min(doneMs, job.spec.deadlineMs);
    const needed = urgent && found !== undefined && nowMs + found.expectedMs < usefulMs;
    const affordable = this.#tokens >= 1 || job.failures.length > 0;
    if (found === undefined || !(needed || affordable)) {
      this.#waiting.add(job);
      if (found !== undefined && doneMs < job.spec.deadlineMs) wakeAt(job, doneMs);
      return;
    }
    if (!needed) this.#tokens = Math.max(0, this.#tokens - 1);
    start(job, found);
  }
}
