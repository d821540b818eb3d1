import type { Attempt, Job, Rig } from "./model.ts";
import type { DispatchOptions } from "./options.ts";
import { TimesByKind } from "./times.ts";

/** Shorter segments cost about as much as this: start-up and transfer do not shrink with them. */
const MIN_WORK_MS = 250;
/** What a rig is thought to need before anybody was measured: twice real time. */
const PRIOR_COST = 0.5;
const KINDS_IN_POOL = 256;
const POOL_SAMPLES = 5;
const OWN_SAMPLES = 5;

type EstimateOptions = Pick<DispatchOptions, "lateQuantile" | "lateFactor" | "lateMinMs" | "lateFactorUnknown">;

/** What the pool expects of time: how long work takes, when an attempt is late, when it is too late for another one. */
export class Estimates {
  readonly #options: EstimateOptions;
  /** The pool's own usual times: what stands in for a rig's while those are not known. */
  readonly #times = new TimesByKind(KINDS_IN_POOL);

  constructor(options: EstimateOptions) {
    this.#options = options;
  }

  add(kind: string, cost: number): void {
    this.#times.add(kind, cost);
  }

  /** The pool's usual time per time of source for this kind; undefined while too little is known. */
  usualCost(kind: string): number | undefined {
    const usual = this.#times.get(kind);
    return usual !== undefined && usual.count >= POOL_SAMPLES ? usual.quantile(0.5) : undefined;
  }

  /** The rig was measured at this kind of work often enough to be believed. */
  isProven(rig: Rig, kind: string): boolean {
    return (rig.reputation.times.get(kind)?.count ?? 0) >= OWN_SAMPLES;
  }

  /** How long an attempt takes that has nothing before it, as far as one can know. */
  expectedMs(rig: Rig, job: Job): number {
    const usual = this.#times.get(job.spec.kind);
    const prior = (usual === undefined ? PRIOR_COST : usual.quantile(0.5)) * rig.reputation.relative;
    const own = rig.reputation.times.get(job.spec.kind);
    return workMs(job) * (own === undefined ? prior : (own.mean * own.count + prior * 2) / (own.count + 2));
  }

  /** What a second attempt by somebody else would take. */
  secondMs(job: Job): number {
    const usual = this.#times.get(job.spec.kind);
    if (usual !== undefined && usual.count >= POOL_SAMPLES) return usual.quantile(0.8) * workMs(job);
    return 0.4 * (job.spec.deadlineMs - job.submittedMs);
  }

  /** From here on a second attempt, and a third where work is quick, would hardly be done in time. */
  latestMs(job: Job): number {
    const secondMs = this.secondMs(job);
    const windowMs = job.spec.deadlineMs - job.submittedMs;
    const thirdMs = Math.min(3 * secondMs + 2 * this.#options.lateMinMs, 0.35 * windowMs);
    return job.spec.deadlineMs - Math.max(1.25 * secondMs, thirdMs) - 100;
  }

  /** When an attempt that is open now becomes late. */
  lateAtMs(attempt: Attempt, nowMs: number): number {
    const { job } = attempt;
    const soonestMs = nowMs + this.#options.lateMinMs;
    const latestMs = this.latestMs(job);
    if (job.inputMs === undefined) return Math.max(latestMs, soonestMs);
    if (attempt.use.open[0] !== attempt) {
      // It waits behind another attempt of its session: nobody is slow, but half its time is enough of that.
      return Math.max(Math.min(latestMs, (job.submittedMs + job.spec.deadlineMs) / 2), soonestMs);
    }
    // In a pool that is slow as a whole second attempts before a rig's usual time would only double the work, unless it
    // is the last moment for one.
    const secondMs = this.secondMs(job);
    const usuallyMs = this.usuallyDoneMs(attempt, nowMs);
    const patientMs = usuallyMs - nowMs > 2 * secondMs ? nowMs : Math.min(usuallyMs, job.spec.deadlineMs - secondMs);
    return Math.max(
      Math.min(nowMs + this.#allowedMs(attempt, secondMs, nowMs), Math.max(latestMs, patientMs)),
      soonestMs,
    );
  }

  /** The rig's own usual time with some room, the pool's with more, or half of what is left. */
  #allowedMs(attempt: Attempt, secondMs: number, nowMs: number): number {
    const { lateQuantile, lateFactor, lateFactorUnknown } = this.#options;
    const { job } = attempt;
    const { reputation } = attempt.connection.rig;
    const own = reputation.times.get(job.spec.kind);
    const usual = this.#times.get(job.spec.kind);
    const usualKnown = usual !== undefined && usual.count >= POOL_SAMPLES;
    let allowedMs = (job.spec.deadlineMs - nowMs) / 2;
    if (own !== undefined && own.count >= OWN_SAMPLES) {
      allowedMs = own.quantile(lateQuantile) * workMs(job) * lateFactor;
    } else if (usualKnown) {
      allowedMs = usual.quantile(lateQuantile) * workMs(job) * lateFactorUnknown * Math.max(1, reputation.relative);
    }
    // Whoever is tried out may cost the gateway no more than a moment, and a second attempt must leave time for a third.
    return (attempt.trial || attempt.hedge) && usualKnown ? Math.min(allowedMs, 2 * secondMs) : allowedMs;
  }

  /** When it would be done if it took a little longer than its rig usually does; now if nothing is known of that. */
  usuallyDoneMs(attempt: Attempt, nowMs: number): number {
    const own = attempt.connection.rig.reputation.times.get(attempt.job.spec.kind);
    return own === undefined ? nowMs : activeMs(attempt) + own.mean * workMs(attempt.job) * 1.1;
  }

  /** Time per time of source that an attempt has taken since its rig could begin with it. */
  costOf(attempt: Attempt, nowMs: number): number {
    return Math.max(0, nowMs - activeMs(attempt)) / workMs(attempt.job);
  }
}

function workMs(job: Job): number {
  return Math.max(job.spec.durationMs, MIN_WORK_MS);
}

/** When its rig could begin with it: the source was there, and nothing of its session was before it. */
function activeMs(attempt: Attempt): number {
  return Math.max(attempt.assignedMs, attempt.use.lastEndMs, attempt.job.inputMs ?? 0);
}
