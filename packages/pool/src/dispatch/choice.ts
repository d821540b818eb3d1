import { formatRig } from "@openpool/protocol";
import type { DecisionNote, PassedOver } from "./decision-log.ts";
import { decided, type DecisionReason, secondsFact } from "./decision-text.ts";
import type { Estimates } from "./estimates.ts";
import type { Connection, Job, Rig, Session } from "./model.ts";
import { hasFailed } from "./opinions.ts";
import type { DispatchOptions } from "./options.ts";
import { isDraining, type Roster } from "./roster.ts";
import { BARRED, DRAINING, FAILED_IT, SILENT, standingDemerit, STEAL, weigh } from "./score.ts";

/**
 * What the place is for: the only attempt at a job; a second one because the first is late, for which nobody is
 * disturbed; or one without which the deadline will be missed.
 */
export type Purpose = "start" | "hedge" | "rescue";

export interface Choice {
  readonly connection: Connection;
  /** An idle session has to give up its place there. */
  readonly steal: boolean;
  readonly expectedMs: number;
  readonly reason: DecisionReason;
  /** What those who were passed over read; `taken` completes it. */
  readonly note: DecisionNote;
}

/** Everybody who has a place has failed the job: worth another try only then. */
export interface NotBefore {
  readonly notBeforeMs: number;
}

interface ChooserDeps {
  readonly roster: Roster;
  readonly estimates: Estimates;
  readonly random: () => number;
  /** Other sessions wait for a place: nobody stacks more work on the one that it has. */
  readonly isContended: (session: Session) => boolean;
}

const TRIALS = {
  new: decided("chosen-trial-new", {}),
  probation: decided("chosen-trial-probation", {}),
  again: decided("chosen-trial-again", {}),
  idle: decided("chosen-trial-idle", {}),
} as const;

/** Who gets an attempt. Looks, weighs and notes its reasons; changes nothing. */
export class Chooser {
  readonly #options: DispatchOptions;
  readonly #deps: ChooserDeps;

  constructor(options: DispatchOptions, deps: ChooserDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Another job of the session may go where the session is. */
  mayStay(job: Job, bound: Connection, nowMs: number): boolean {
    const { session } = job;
    if (bound.busyUntilMs > nowMs || this.shouldLeave(job, bound, nowMs)) return false;
    const open = bound.uses.get(session)?.open.length ?? 0;
    if (open === 0) return true;
    // Stacking is fine while the last in the stack is still answered in good time, and nobody else waits for a place.
    return (
      open <= this.#options.queuePerSession &&
      !this.#deps.isContended(session) &&
      nowMs + (open + 1) * this.#deps.estimates.expectedMs(bound.rig, job) <= (nowMs + job.spec.deadlineMs) / 2
    );
  }

  /** The session is better off elsewhere, not only this job. */
  shouldLeave(job: Job, bound: Connection, nowMs: number): boolean {
    this.#deps.roster.require(job.spec.need);
    return !this.#deps.roster.isAble(bound) || doesBadly(job.session) || demerits(bound, job, nowMs) > 0;
  }

  /** Now and then a job tries out somebody who would get no work otherwise. */
  trial(job: Job, nowMs: number): { readonly connection: Connection; readonly reason: DecisionReason } | undefined {
    if (job.started > 0 || this.#deps.random() >= this.#options.exploreShare) return undefined;
    if (this.#deps.estimates.secondMs(job) * 2 >= job.spec.deadlineMs - nowMs) return undefined;
    this.#deps.roster.require(job.spec.need);
    let best: Connection | undefined;
    let bestWhy: DecisionReason | undefined;
    for (const connection of this.#deps.roster.connections) {
      const { rig } = connection;
      if (rig.trials > 0 || connection === job.session.bound || connection.silentUntilMs > nowMs) continue;
      if (isDraining(connection) || !this.#hasPlace(connection, job, "start", nowMs)) continue;
      if (best !== undefined && (rig.workMs ?? -Infinity) >= (best.rig.workMs ?? -Infinity)) continue;
      const why = this.#whyTryOut(rig, nowMs - (rig.workMs ?? connection.connectedMs), nowMs);
      if (why === undefined) continue;
      best = connection;
      bestWhy = why;
    }
    return best === undefined || bestWhy === undefined ? undefined : { connection: best, reason: bestWhy };
  }

  #whyTryOut(rig: Rig, idleMs: number, nowMs: number): DecisionReason | undefined {
    const { standing, retrialAtMs } = rig.reputation;
    switch (standing) {
      case "new":
        return TRIALS.new;
      case "probation":
        return TRIALS.probation;
      case "barred":
        return retrialAtMs <= nowMs ? TRIALS.again : undefined;
      case "trusted":
        return idleMs >= this.#options.staleMs ? TRIALS.idle : undefined;
    }
  }

  /** The best connection for another attempt at the job, all of them considered, the reasons noted. */
  choose(job: Job, purpose: Purpose, nowMs: number): Choice | NotBefore | undefined {
    const { session } = job;
    const { roster } = this.#deps;
    roster.require(job.spec.need);
    const note: DecisionNote = {
      atMs: nowMs,
      job: job.spec.job,
      session: session.key,
      second: purpose !== "start",
      chosen: undefined,
      reason: undefined,
      expectedMs: 0,
    };
    // A job that waits is looked at again and again; once until its next attempt is enough for the pages.
    const noting = !job.noted;
    const limit = purpose === "start" ? Infinity : purpose === "hedge" ? BARRED : FAILED_IT;
    let best: Connection | undefined;
    let bestTier = Infinity;
    let bestScore = Infinity;
    let bestSteal = false;
    let bestExpectedMs = 0;
    // Somebody who has not failed this job could do it, but has no place now: such an opinion is worth the wait.
    let opinionAhead = false;
    for (const connection of roster.connections) {
      const { rig } = connection;
      const unfit = this.#whyUnfit(connection, job, purpose);
      if (unfit !== undefined) {
        if (noting) rig.log.add(note, unfit, 0);
        continue;
      }
      const tier = demerits(connection, job, nowMs);
      const free = this.#hasPlace(connection, job, purpose, nowMs);
      const steal = !free && purpose !== "hedge" && canGiveWay(connection, session, nowMs);
      if (!free && !steal && tier < FAILED_IT) opinionAhead = true;
      if ((!free && !steal) || tier >= limit) {
        if (noting) rig.log.add(note, free || steal ? demeritWord(tier) : fullWord(connection, session, nowMs), 0);
        continue;
      }
      const expectedMs = this.#deps.estimates.expectedMs(rig, job);
      if (noting) rig.log.add(note, tier > 0 ? demeritWord(tier) : steal ? "full" : "slower", expectedMs);
      const total = steal ? tier + STEAL : tier;
      if (total > bestTier) continue;
      const weight = weigh({
        expectedMs,
        durationMs: job.spec.durationMs,
        sessions: connection.uses.size,
        capacity: connection.capacity,
        health: rig.reputation.health,
      });
      const score = weight * this.#handicap(connection, job, purpose);
      if (total < bestTier || score < bestScore) {
        best = connection;
        bestTier = total;
        bestScore = score;
        bestSteal = steal;
        bestExpectedMs = expectedMs;
      }
    }
    job.noted = true;
    if (best === undefined) return undefined;
    if (bestTier >= FAILED_IT) {
      const notBeforeMs = this.#againMs(job, best.rig, opinionAhead);
      if (nowMs < notBeforeMs) return { notBeforeMs };
    }
    const reason = why(job, best, bestExpectedMs);
    return { connection: best, steal: bestSteal, expectedMs: bestExpectedMs, reason, note };
  }

  /** The choice is carried out: from now on the rigs that were passed over read who was better. */
  taken({ connection, expectedMs, reason, note }: Choice): void {
    const { rig } = connection;
    note.chosen = rig.key;
    note.reason = reason;
    note.expectedMs = expectedMs;
    rig.log.add(note, "chosen", expectedMs);
  }

  /** What its weight is multiplied by for this job: what is ahead of it, who had the session, and a little chance. */
  #handicap(connection: Connection, job: Job, purpose: Purpose): number {
    const { session } = job;
    const { rig } = connection;
    const ahead = 1 + (connection.uses.get(session)?.open.length ?? 0);
    const home = connection === session.bound || rig === session.home ? 0.8 : 1;
    // A second attempt is no time for experiments.
    const doubt =
      purpose === "start" || this.#deps.estimates.isProven(rig, job.spec.kind) ? 1 : purpose === "hedge" ? 2 : 4;
    const jitter = 1 + 0.1 * this.#deps.random();
    return ahead * home * doubt * jitter;
  }

  /** When a job may go again to a rig that failed it. */
  #againMs(job: Job, rig: Rig, opinionAhead: boolean): number {
    const latestMs = this.#deps.estimates.latestMs(job);
    if (opinionAhead) return latestMs;
    const times = job.failures.filter((failure) => failure.rig === rig && failure.weight > 0).length;
    return times < 2 ? job.failedMs : Math.min(latestMs, job.failedMs + this.#options.retryPauseMs * 2 ** (times - 2));
  }

  /** Why it cannot have the job whatever else is true. */
  #whyUnfit(connection: Connection, job: Job, purpose: Purpose): PassedOver | undefined {
    const unable = this.#deps.roster.whyUnable(connection);
    if (unable !== undefined) return unable;
    for (const attempt of job.attempts) {
      if (attempt.state !== "open") continue;
      // The same machine twice helps only where there is no other.
      if (attempt.connection === connection) return "has-it";
      if (purpose === "hedge" && attempt.connection.rig === connection.rig) return "has-it";
    }
    return undefined;
  }

  #hasPlace(connection: Connection, job: Job, purpose: Purpose, nowMs: number): boolean {
    if (!this.#deps.roster.isAble(connection) || connection.busyUntilMs > nowMs) return false;
    const use = connection.uses.get(job.session);
    if (use === undefined) return connection.uses.size < connection.capacity;
    if (use.open.length === 0) return true;
    if (use.open.length > this.#options.queuePerSession) return false;
    return purpose === "rescue" || !this.#deps.isContended(job.session);
  }
}

/** The connection was late or too slow for the gateway several times in a row. */
export function doesBadly(session: Session): boolean {
  return session.lateInRow >= 2 || session.slowInRow >= 3;
}

/** The sum of reasons to prefer another connection; 0 without any. */
export function demerits(connection: Connection, job: Job, nowMs: number): number {
  const { rig } = connection;
  let sum = standingDemerit(rig.reputation.standing);
  if (connection.silentUntilMs > nowMs) sum += SILENT;
  if (isDraining(connection)) sum += DRAINING;
  if (job.failures.length > 0 && hasFailed(job, rig)) sum += FAILED_IT;
  return sum;
}

function demeritWord(sum: number): PassedOver {
  if (sum >= FAILED_IT) return "failed-it";
  if (sum >= DRAINING) return "draining";
  if (sum >= BARRED) return "barred";
  return (sum & SILENT) === 0 ? "probation" : "silent";
}

/** A session that is idle there would have to go. */
function canGiveWay(connection: Connection, session: Session, nowMs: number): boolean {
  return connection.idle > 0 && connection.busyUntilMs <= nowMs && !connection.uses.has(session);
}

function fullWord(connection: Connection, session: Session, nowMs: number): PassedOver {
  if (connection.busyUntilMs > nowMs) return "busy";
  return connection.uses.has(session) ? "session-queue-full" : "full";
}

function why(job: Job, chosen: Connection, expectedMs: number): DecisionReason {
  const { bound } = job.session;
  const expectedS = secondsFact(expectedMs);
  if (job.open > 0) return decided("chosen-second", { expectedS });
  if (job.started > 0) {
    return decided("chosen-next", { failure: job.failures.at(-1)?.kind ?? "a late one", expectedS });
  }
  if (bound === chosen) return decided("chosen-stays", { expectedS });
  if (bound !== undefined) return decided("chosen-instead", { elsewhere: formatRig(bound.rig.name), expectedS });
  return decided("chosen-best", { expectedS });
}
