import type { Estimates } from "./estimates.ts";
import type { Attempt, Connection, Rig } from "./model.ts";
import type { DispatchOptions } from "./options.ts";
import type { Roster } from "./roster.ts";
import type { AttemptId, Effect } from "./types.ts";

interface JudgeDeps {
  readonly roster: Roster;
  readonly estimates: Estimates;
  readonly tell: (effect: Effect) => void;
}

const REMEMBERED_WINNERS = 64;
/** Tasks in a row without a sign of life that are a fault. */
const SILENT_IN_ROW = 3;

/** What becomes of the name of a rig by what it does; a change of its standing is told. */
export class Judge {
  readonly #options: DispatchOptions;
  readonly #deps: JudgeDeps;
  /** Who delivered the newest results: what is said about them afterwards still counts. */
  readonly #winners = new Map<AttemptId, Rig>();

  constructor(options: DispatchOptions, deps: JudgeDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** A sign of work: it is not silent. */
  heard(connection: Connection, nowMs: number): void {
    connection.heardMs = nowMs;
    connection.silentUntilMs = 0;
    connection.silentInRow = 0;
    connection.rig.seenMs = nowMs;
  }

  /** An attempt is late. Without a word since it began its connection is left alone for a while, longer each time. */
  late({ connection, assignedMs }: Attempt, nowMs: number): void {
    if (!isUnheardOf(connection, assignedMs)) return;
    const { silentPauseMs, silentPauseMaxMs } = this.#options;
    connection.silentUntilMs = nowMs + Math.min(silentPauseMs * 2 ** connection.silentInRow, silentPauseMaxMs);
  }

  fault(rig: Rig, weight: number, why: string, nowMs: number): void {
    if (rig.reputation.fault(weight, why, nowMs)) this.#tellStanding(rig);
  }

  /** A valid result decided its job: what failed at it before was not the input's fault. */
  won(winner: Attempt, nowMs: number): void {
    const { job, connection } = winner;
    const { rig } = connection;
    this.#winners.set(winner.id, rig);
    const [oldest] = this.#winners.keys();
    if (this.#winners.size > REMEMBERED_WINNERS && oldest !== undefined) this.#winners.delete(oldest);
    this.heard(connection, nowMs);
    rig.workMs = nowMs;
    this.#learnFrom(winner, nowMs);
    for (const failure of job.failures) {
      if (failure.weight > 0) this.fault(failure.rig, failure.weight, failure.text, nowMs);
    }
    if (rig.reputation.good(nowMs)) this.#tellStanding(rig);
  }

  /** An attempt ran late and was not waited for. That is no failure, but it says how slow the rig is at least. */
  lost(attempt: Attempt, nowMs: number): void {
    const { connection, job, assignedMs } = attempt;
    const { rig } = connection;
    const cost = this.#deps.estimates.costOf(attempt, nowMs);
    const own = rig.reputation.times.get(job.spec.kind);
    if (attempt.use.open[0] === attempt && (own === undefined || cost > own.mean)) {
      if (rig.reputation.timed(job.spec.kind, cost, undefined, nowMs)) this.#tellStanding(rig);
    }
    if (!isUnheardOf(connection, assignedMs)) return;
    connection.silentInRow++;
    if (connection.silentInRow < SILENT_IN_ROW) return;
    this.fault(rig, 1, `gave no sign of life for ${connection.silentInRow} tasks in a row`, nowMs);
  }

  /** Its claim was measured and is wrong: of an attempt that is known still, or that won a short while ago. */
  claimed(attempt: Attempt | AttemptId, degree: "differs" | "lies", nowMs: number): void {
    const rig = typeof attempt === "string" ? this.#winners.get(attempt) : attempt.connection.rig;
    if (rig === undefined) return;
    if (degree === "differs") rig.reputation.differed++;
    else if (rig.reputation.lie("claimed pixels that were not in the result", nowMs)) this.#tellStanding(rig);
  }

  /** What the time of a good result says about its rig, its kind of work, and the session's luck with its place. */
  #learnFrom(winner: Attempt, nowMs: number): void {
    const { estimates, roster } = this.#deps;
    const { job, connection } = winner;
    const { session } = job;
    const { kind, durationMs } = job.spec;
    const cost = estimates.costOf(winner, nowMs);
    const usual = roster.rigs.size > 1 ? estimates.usualCost(kind) : undefined;
    if (connection.rig.reputation.timed(kind, cost, usual, nowMs)) this.#tellStanding(connection.rig);
    estimates.add(kind, cost);
    if (connection !== session.bound) return;
    if (!winner.late) session.lateInRow = 0;
    // A gateway leaves for another orchestrator when the whole answer takes longer than max(1.5 s, duration).
    const slow = nowMs - (job.inputMs ?? nowMs) > 0.8 * Math.max(1_500, durationMs);
    session.slowInRow = slow ? session.slowInRow + 1 : 0;
  }

  #tellStanding(rig: Rig): void {
    const { standing, reason } = rig.reputation;
    this.#deps.tell({ kind: "standing", rig: rig.name, standing, reason });
  }
}

/** Nothing came from the connection since a task was assigned. */
function isUnheardOf({ heardMs }: Connection, assignedMs: number): boolean {
  return (heardMs ?? -Infinity) < assignedMs;
}
