import { formatRig, type Need, needKey, type RigName } from "@openpool/protocol";
import { Chooser, demerits } from "./choice.ts";
import { decided, type DecisionReason } from "./decision-text.ts";
import { DueHeap } from "./due-heap.ts";
import { Estimates } from "./estimates.ts";
import { Judge } from "./judge.ts";
import type { Attempt, Connection, Job, Session, Timer } from "./model.ts";
import { failureOf, lastWordOn, lossOf, verdictOf } from "./opinions.ts";
import type { DispatchOptions } from "./options.ts";
import { ownPlaceIsIdle, Places } from "./places.ts";
import { isDraining, Roster, viewOf } from "./roster.ts";
import { SecondAttempts } from "./second-attempts.ts";
import type {
  AttemptFailure,
  AttemptId,
  ConnectionId,
  ConnectionOffer,
  DispatchJob,
  Effect,
  JobFailure,
  JobId,
  ReputationSnapshot,
  RigDecision,
  RigView,
  Supply,
} from "./types.ts";
import { WaitingRoom } from "./waiting-room.ts";

export interface DispatchDeps {
  /** Uniform in [0, 1): which rig is tried out, and small differences between equals. */
  readonly random: () => number;
  /** A new attempt id; the caller makes it, because it may have to be hard to guess. */
  readonly newAttemptId: () => AttemptId;
  /** When the pool started, monotonic ms; the first call's time if absent. Rigs get a grace time from here to return. */
  readonly startedMs?: number;
}

const MAX_REFUSED = 32;
/** Of nearly all decisions. */
const STAYS = decided("chosen-stays", {});
/** A rig whose page has nothing newer than this is told why. */
const QUIET_MS = 60_000;

/**
 * Who gets the next task. Pure policy: everything it knows it was told, time included (`nowMs`, monotonic, never going
 * back), and everything it wants done it answers as effects, to be carried out in order.
 *
 * A session stays on its connection while that does well. Each job is tried again elsewhere the moment an attempt fails
 * or is late, within its deadline; the first valid result decides it. Sessions, not segments, take up capacity.
 */
export class Dispatcher {
  readonly #options: DispatchOptions;
  readonly #deps: DispatchDeps;
  readonly #roster: Roster;
  readonly #estimates: Estimates;
  readonly #chooser: Chooser;
  readonly #judge: Judge;
  readonly #places: Places;
  readonly #seconds: SecondAttempts;
  readonly #waiting = new WaitingRoom();
  readonly #jobs = new Map<JobId, Job>();
  readonly #attempts = new Map<AttemptId, Attempt>();
  readonly #timers = new DueHeap<Timer>();
  #startedMs: number | undefined;
  #nowMs = 0;
  #effects: Effect[] = [];

  constructor(options: DispatchOptions, deps: DispatchDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#startedMs = deps.startedMs;
    this.#roster = new Roster(options);
    this.#estimates = new Estimates(options);
    this.#chooser = new Chooser(options, {
      roster: this.#roster,
      estimates: this.#estimates,
      random: deps.random,
      isContended: (session) => this.#waiting.isContended(session),
    });
    const tell = (effect: Effect): void => void this.#effects.push(effect);
    this.#judge = new Judge(options, { roster: this.#roster, estimates: this.#estimates, tell });
    this.#places = new Places({ roster: this.#roster, tell });
    this.#seconds = new SecondAttempts(options, {
      estimates: this.#estimates,
      chooser: this.#chooser,
      wakeAt: (job, atMs) => this.#wakeAt(job, atMs),
      start: (job, choice) => {
        if (choice.steal) this.#places.steal(choice.connection);
        this.#chooser.taken(choice);
        this.#assign(job, choice.connection, "hedge");
      },
    });
  }

  // Workers come and go

  /** A rig registered. An id that is connected already changes what it offers. Waiting jobs may start at once. */
  connect(offer: ConnectionOffer, nowMs: number): Effect[] {
    this.#begin(nowMs);
    this.#roster.join(offer, nowMs);
    return this.#end();
  }

  /**
   * The connection ended. What was open on it starts again elsewhere at once; results that its worker still uploads are
   * welcome until the job is decided.
   */
  disconnect(id: ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const connection = this.#roster.connection(id);
    if (connection === undefined) return this.#end();
    const { rig } = connection;
    const expected = connection.draining || rig.draining;
    this.#roster.leave(connection, nowMs);
    const open = this.#places.vacate(connection);
    for (const attempt of open) this.#lose(attempt);
    const working = open.some((attempt) => !attempt.late);
    if (working && !expected) this.#judge.fault(rig, 1, "disconnected with work in flight", nowMs);
    for (const { job } of open) this.#again(job);
    if (connection.group.connections === 0) this.#lookForHopeless();
    return this.#end();
  }

  /**
   * Gives it no more work as long as somebody else has room: sessions leave it as soon as they can. With nobody else it
   * goes on serving, since a drain must not lose a segment. A rig stays draining across its connections.
   */
  drain(target: RigName | ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    for (const connection of this.#roster.setDraining(target, true, nowMs)) this.#places.clearIdle(connection);
    return this.#end();
  }

  /**
   * The worker takes no more tasks on it and is still there: what it has it will finish. It gets nothing more, not even
   * where nobody else has room, and neither a second attempt nor a bad name comes of it unless it is late. Disconnect it
   * when it has ended or nothing is open on it.
   */
  finishUp(id: ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const connection = this.#roster.connection(id);
    if (connection === undefined || connection.finishing) return this.#end();
    this.#roster.finish(connection, nowMs);
    this.#places.clearIdle(connection);
    if (connection.group.connections === 0) this.#lookForHopeless();
    return this.#end();
  }

  undrain(target: RigName | ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    this.#roster.setDraining(target, false, nowMs);
    return this.#end();
  }

  // Jobs

  /** A gateway wants a segment. Exactly one answer follows for each job: an accepted result, a give-up, or `abandon`. */
  submit(spec: DispatchJob, nowMs: number): Effect[] {
    this.#begin(nowMs);
    if (this.#jobs.has(spec.job)) return this.#end();
    const session = this.#places.session(spec.session);
    const job: Job = {
      spec,
      session,
      submittedMs: nowMs,
      inputMs: spec.inputArriving === true ? undefined : nowMs,
      attempts: new Set(),
      started: 0,
      open: 0,
      failures: [],
      deadline: undefined,
      hope: undefined,
      failedMs: nowMs,
      wake: undefined,
      noted: false,
    };
    job.deadline = this.#timers.add(spec.deadlineMs, { kind: "deadline", job });
    this.#jobs.set(spec.job, job);
    session.jobs.add(job);
    session.ended = false;
    this.#timers.remove(session.idle);
    session.idle = undefined;
    if (spec.deadlineMs <= nowMs) this.#giveUp(job, { kind: "deadline", attempts: 0 });
    else this.#startOrWait(job);
    return this.#end();
  }

  /** The source of a job that was submitted while it arrived is whole now: from here on its workers can be late. */
  inputComplete(id: JobId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const job = this.#jobs.get(id);
    if (job === undefined || job.inputMs !== undefined) return this.#end();
    job.inputMs = nowMs;
    for (const attempt of job.attempts) {
      if (attempt.state === "open" && !attempt.arriving) this.#arm(attempt, this.#estimates.lateAtMs(attempt, nowMs));
    }
    return this.#end();
  }

  /** The attempt ended without a valid result. Unknown attempts are ignored, as in everything below. */
  attemptFailed(id: AttemptId, failure: AttemptFailure, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) return this.#end();
    switch (failure.kind) {
      case "late":
        if (attempt.state === "open") this.#onLate(attempt);
        break;
      case "disconnected":
        if (attempt.state === "lost") break;
        // Its stream may be dying: nothing else goes there until that is certain.
        this.#leaveAlone(attempt.connection);
        if (!isDraining(attempt.connection)) {
          this.#judge.fault(attempt.connection.rig, 0.5, "a task could not be handed over", nowMs);
        }
        this.#leavePlace(attempt);
        this.#lose(attempt);
        this.#again(attempt.job);
        break;
      case "worker-error":
      case "invalid-result":
        this.#judge.heard(attempt.connection, nowMs);
        this.#failed(attempt, failure.kind, failure.text);
        break;
    }
    return this.#end();
  }

  /** The upload of a result began: it is not late for a while. */
  resultArriving(id: AttemptId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) return this.#end();
    this.#judge.heard(attempt.connection, nowMs);
    if (attempt.state === "lost" || attempt.arriving) return this.#end();
    attempt.arriving = true;
    this.#seconds.forget(attempt.job);
    const { arrivingGraceMs, lateMinMs } = this.#options;
    const graceMs = Math.max(attempt.due?.atMs ?? 0, nowMs + arrivingGraceMs);
    this.#arm(attempt, Math.min(graceMs, Math.max(this.#estimates.latestMs(attempt.job), nowMs + lateMinMs)));
    return this.#end();
  }

  /** The result is valid: the job is decided, the other attempts are not wanted any more. */
  resultAccepted(id: AttemptId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const winner = this.#attempts.get(id);
    if (winner === undefined) return this.#end();
    const { job } = winner;
    this.#judge.won(winner, nowMs);
    this.#moveToWinner(winner);
    for (const other of job.attempts) {
      if (other !== winner) this.#cancel(other, "another worker was first");
    }
    this.#finish(job);
    return this.#end();
  }

  /**
   * What the worker claims to have done differs from what was measured: `differs` is noted, `lies` lowers trust. The
   * result may be valid all the same. May be told before or shortly after the result was accepted.
   */
  claimDiffered(id: AttemptId, degree: "differs" | "lies", nowMs: number): Effect[] {
    this.#begin(nowMs);
    this.#judge.claimed(this.#attempts.get(id) ?? id, degree, nowMs);
    return this.#end();
  }

  /** The gateway left: nothing of the job is wanted any more. */
  abandon(id: JobId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const job = this.#jobs.get(id);
    if (job === undefined) return this.#end();
    for (const attempt of job.attempts) this.#cancel(attempt, "the gateway left");
    this.#finish(job);
    return this.#end();
  }

  /** The gateway ended the session. Jobs of it that run are finished first; a new job makes it live on. */
  endSession(key: string, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const session = this.#places.sessions.get(key);
    if (session === undefined) return this.#end();
    session.ended = true;
    if (session.jobs.size === 0) this.#closeSession(session);
    return this.#end();
  }

  /** Does what is due: deadlines, lateness, idle sessions. Call it at `nextTickMs()` or later. */
  tick(nowMs: number): Effect[] {
    this.#begin(nowMs);
    for (let timer = this.#timers.takeDue(nowMs); timer !== undefined; timer = this.#timers.takeDue(nowMs)) {
      this.#due(timer);
    }
    return this.#end();
  }

  /** When `tick` has something to do; undefined while nothing is due ever. */
  nextTickMs(): number | undefined {
    return this.#timers.peek()?.atMs;
  }

  // What others may ask

  /** Whether another session with this need could be taken. Rigs that would only be used in need do not count. */
  hasRoom(need: Need, nowMs: number): boolean {
    return !this.#waiting.isAwaited(need) && this.#roster.hasRoom(need, nowMs);
  }

  /** Union of what connected rigs that are not draining can do; bit n is the capability with number n. */
  capabilities(): bigint {
    return this.#roster.capabilities();
  }

  /** The same of all that are connected: those that are draining still serve what nobody else can. */
  reach(): bigint {
    return this.#roster.reach();
  }

  /** Whether a rig that could do this left a moment ago, and may be back before a job is given up. */
  mayReturn(need: Need, nowMs: number): boolean {
    return this.#returnBeforeMs(need) > nowMs;
  }

  /** Sessions that hold a place on a connection. One that is tried in two places counts twice. */
  load(): number {
    return this.#roster.load();
  }

  /** Sessions that connections which are not draining take at once. */
  capacity(): number {
    return this.#roster.capacity();
  }

  /** What can be promised to others, ability by ability. */
  promise(): Supply[] {
    return this.#roster.promise();
  }

  /** What is held in memory; all of it is zero when nothing is going on, apart from sessions that wait to idle out. */
  size(): { jobs: number; attempts: number; sessions: number; timers: number; waiting: number } {
    return {
      jobs: this.#jobs.size,
      attempts: this.#attempts.size,
      sessions: this.#places.sessions.size,
      timers: this.#timers.size,
      waiting: this.#waiting.size + this.#seconds.size,
    };
  }

  /** How many rigs are connected or remembered. */
  get rigsKnown(): number {
    return this.#roster.rigs.size;
  }

  /** Every rig that is connected or remembered. */
  rigs(nowMs: number): readonly RigView[] {
    return Array.from(this.#roster.rigs.values(), (rig) => viewOf(rig, nowMs));
  }

  /** The newest decisions as they looked from this rig, newest first. */
  decisions(name: RigName): readonly RigDecision[] {
    const rig = this.#roster.rigs.get(formatRig(name));
    if (rig === undefined) return [];
    const lines = rig.log.read(rig.reputation.reason);
    const newestMs = lines[0]?.atMs ?? Math.min(...Array.from(rig.connections, (one) => one.connectedMs));
    if (rig.connections.size === 0 || this.#nowMs - newestMs < QUIET_MS) return lines;
    const sessions = this.#places.sessions.size;
    const reason = sessions === 0 ? decided("not-chosen-no-work", {}) : decided("not-chosen-no-choice", { sessions });
    return [{ atMs: this.#nowMs, job: undefined, session: undefined, chosen: false, reason, times: 1 }, ...lines];
  }

  /** What was learnt about rigs, for `importReputation` after a restart. JSON-able. */
  exportReputation(nowMs: number): ReputationSnapshot {
    return this.#roster.export(nowMs);
  }

  /** Takes over an exported snapshot; `awayMs` is the time since its export. Rigs that are known already keep theirs. */
  importReputation(snapshot: unknown, nowMs: number, awayMs = 0): void {
    for (const { times } of this.#roster.import(snapshot, nowMs, awayMs)) {
      for (const { kind, costs } of times) for (const cost of costs) this.#estimates.add(kind, cost);
    }
  }

  // Starting attempts

  /** Starts the job if it may go now, else it waits with its session. */
  #startOrWait(job: Job): void {
    const { session } = job;
    // A job that was tried before is older than anything that waits.
    const first = session.waiting.length === 0 || job.started > 0;
    const free = first && (!this.#waiting.isAwaited(job.spec.need) || ownPlaceIsIdle(session));
    if (free && this.#start(job)) return;
    if (job.started > 0) session.waiting.unshift(job);
    else session.waiting.push(job);
    this.#waiting.enter(session);
    this.#giveUpHopeless(job);
  }

  /** An attempt ended in nothing. */
  #again(job: Job): void {
    if (job.open === 0) this.#startOrWait(job);
    else this.#seconds.consider(job, this.#nowMs);
  }

  /** Assigns the job to the best connection there is. False: nobody can take it now. */
  #start(job: Job): boolean {
    const { session } = job;
    const { bound } = session;
    const trial = this.#chooser.trial(job, this.#nowMs);
    if (trial !== undefined) {
      const { reputation } = trial.connection.rig;
      if (reputation.standing === "barred") reputation.retried(this.#nowMs);
      this.#note(job, trial.connection, trial.reason);
      this.#assign(job, trial.connection, "trial");
      return true;
    }
    if (bound !== undefined && this.#chooser.mayStay(job, bound, this.#nowMs)) {
      this.#note(job, bound, STAYS);
      this.#assign(job, bound, "plain");
      return true;
    }
    const choice = this.#chooser.choose(job, "start", this.#nowMs);
    if (choice === undefined) return false;
    if ("notBeforeMs" in choice) {
      this.#wakeAt(job, choice.notBeforeMs);
      return false;
    }
    this.#chooser.taken(choice);
    const { connection } = choice;
    // What failed elsewhere may be this job's own trouble: its session stays until somebody did better.
    const move =
      bound === undefined || (job.failures.length === 0 && this.#chooser.shouldLeave(job, bound, this.#nowMs));
    if (choice.steal) this.#places.steal(connection);
    this.#assign(job, connection, "plain");
    if (move) this.#places.bind(session, connection);
    return true;
  }

  #assign(job: Job, connection: Connection, how: "plain" | "trial" | "hedge"): void {
    const attempt: Attempt = {
      id: this.#deps.newAttemptId(),
      job,
      connection,
      use: this.#places.take(job.session, connection),
      assignedMs: this.#nowMs,
      hedge: how === "hedge",
      trial: how === "trial",
      state: "open",
      late: false,
      arriving: false,
      due: undefined,
    };
    this.#places.enter(attempt);
    connection.rig.workMs = this.#nowMs;
    if (attempt.trial) connection.rig.trials++;
    job.attempts.add(attempt);
    job.started++;
    job.open++;
    job.noted = false;
    this.#timers.remove(job.hope);
    job.hope = undefined;
    this.#attempts.set(attempt.id, attempt);
    if (!attempt.hedge) this.#seconds.earn();
    this.#arm(attempt, this.#estimates.lateAtMs(attempt, this.#nowMs));
    this.#effects.push({
      kind: "assign",
      job: job.spec.job,
      attempt: attempt.id,
      connection: connection.id,
      hedge: attempt.hedge,
    });
  }

  /** Lets waiting jobs start, most urgent session first, then second attempts at late ones. */
  #pump(): void {
    // Without a place only a session that waits alone may still go somewhere: on top of its own work.
    const mayStart = (): boolean => this.#roster.openings > 0 || this.#waiting.size === 1;
    if (!mayStart()) return;
    this.#waiting.serve({
      mayStart,
      start: (job) => this.#start(job),
      connections: this.#roster.connections.length,
    });
    this.#seconds.retry(this.#nowMs);
  }

  /** Lets the pump look at the job again then, whatever happens before. */
  #wakeAt(job: Job, atMs: number): void {
    if (job.wake !== undefined && job.wake.atMs <= atMs) return;
    this.#timers.remove(job.wake);
    job.wake = this.#timers.add(atMs, { kind: "wake", job });
  }

  /** Notes a decision that was made without looking at anybody else. */
  #note(job: Job, { rig }: Connection, reason: DecisionReason): void {
    const expectedMs = this.#estimates.expectedMs(rig, job);
    const { job: id, session } = job.spec;
    const note = { atMs: this.#nowMs, job: id, session, second: false, chosen: rig.key, reason, expectedMs };
    rig.log.add(note, "chosen", expectedMs);
  }

  // Lateness

  #arm(attempt: Attempt, atMs: number): void {
    this.#timers.remove(attempt.due);
    attempt.due = this.#timers.add(atMs, { kind: "late", attempt });
  }

  /** Late but perhaps alive: somebody idle gets it too. Called again when it becomes a danger to the deadline. */
  #onLate(attempt: Attempt): void {
    const { job, connection, use } = attempt;
    this.#timers.remove(attempt.due);
    attempt.due = undefined;
    attempt.arriving = false;
    // Nobody can be faster than the gateway that sends the source.
    if (job.inputMs === undefined) return;
    if (!attempt.late) {
      attempt.late = true;
      if (job.session.bound === connection) job.session.lateInRow++;
      this.#judge.late(attempt, this.#nowMs);
      // What waits behind it is held up as well.
      if (use.open[0] === attempt) {
        for (const behind of use.open) if (!behind.late && !behind.arriving) this.#onLate(behind);
      }
    }
    const latestMs = this.#estimates.latestMs(job);
    if (latestMs > this.#nowMs) this.#arm(attempt, latestMs);
    this.#seconds.consider(job, this.#nowMs);
  }

  // Ending attempts

  /** The worker answered, and the answer is no good. */
  #failed(attempt: Attempt, kind: "worker-error" | "invalid-result", text: string): void {
    const { job, connection } = attempt;
    const failure = failureOf(connection.rig, kind, text);
    const wasLost = attempt.state === "lost";
    this.#release(attempt);
    if (failure.errorClass === "busy") this.#leaveAlone(connection);
    if (failure.errorClass === "unable" && connection.refused.size < MAX_REFUSED) {
      connection.refused.add(needKey(job.spec.need));
    }
    job.failures.push(failure);
    job.failedMs = this.#nowMs;
    // Late in its life the job cannot wait for anybody better.
    const others = this.#nowMs < this.#estimates.latestMs(job) ? this.#roster.untried(job) : [];
    const verdict = verdictOf(job, failure, others);
    if (verdict !== undefined) {
      this.#giveUp(job, { kind: "bad-input", text: verdict });
    } else if (wasLost) {
      // Its next attempt started or waits since its connection ended.
    } else if (job.open > 0) {
      this.#seconds.consider(job, this.#nowMs);
    } else if (job.failures.filter((one) => one.weight > 0).length >= this.#options.maxAttempts) {
      this.#giveUp(job, lastWordOn(job));
    } else {
      this.#startOrWait(job);
    }
  }

  #leaveAlone(connection: Connection): void {
    if (!connection.live) return;
    connection.busyUntilMs = this.#nowMs + this.#options.busyPauseMs;
    this.#timers.add(connection.busyUntilMs, { kind: "busy" });
  }

  /** Its connection is gone; its result may still come. The caller takes care of the place that it held. */
  #lose(attempt: Attempt): void {
    this.#close(attempt);
    attempt.state = "lost";
    attempt.job.failures.push(lossOf(attempt.connection.rig));
  }

  #cancel(attempt: Attempt, why: string): void {
    if (attempt.state === "open" && attempt.late) this.#judge.lost(attempt, this.#nowMs);
    const { connection, use } = attempt;
    this.#effects.push({ kind: "cancel", attempt: attempt.id, connection: connection.id, why });
    const wasOpen = attempt.state === "open";
    this.#release(attempt);
    // The protocol has no word for one task, only for all of a session; without a place that was said with the place.
    const { session } = use;
    if (wasOpen && use.open.length === 0 && connection.uses.get(session) === use) {
      this.#effects.push({ kind: "stop", session: session.key, connection: connection.id });
    }
  }

  /** Forgets an attempt and the place that it held. */
  #release(attempt: Attempt): void {
    this.#attempts.delete(attempt.id);
    attempt.job.attempts.delete(attempt);
    if (attempt.state === "lost") return;
    this.#close(attempt);
    this.#leavePlace(attempt);
  }

  /** It is not open any more. */
  #close(attempt: Attempt): void {
    const { job } = attempt;
    this.#timers.remove(attempt.due);
    attempt.due = undefined;
    if (attempt.trial) attempt.connection.rig.trials--;
    job.open--;
    if (job.open === 0) this.#seconds.forget(job);
  }

  #leavePlace(attempt: Attempt): void {
    const next = this.#places.leave(attempt, this.#nowMs);
    if (next !== undefined && !next.late && !next.arriving) {
      this.#arm(next, this.#estimates.lateAtMs(next, this.#nowMs));
    }
  }

  /** Who saved the job keeps the session if its own connection failed or hangs. */
  #moveToWinner(winner: Attempt): void {
    const { job, connection } = winner;
    const { session } = job;
    const { bound } = session;
    if (winner.state === "lost" || bound === connection || demerits(connection, job, this.#nowMs) > 0) return;
    const failed =
      bound === undefined || demerits(bound, job, this.#nowMs) > 0 || (winner.hedge && session.lateInRow >= 2);
    if (failed) this.#places.bind(session, connection);
  }

  #closeSession(session: Session): void {
    this.#timers.remove(session.idle);
    session.idle = undefined;
    this.#waiting.leave(session);
    this.#places.close(session);
  }

  // Ending jobs

  #giveUp(job: Job, failure: JobFailure): void {
    this.#effects.push({ kind: "give-up", job: job.spec.job, failure });
    const inputIsBad = failure.kind === "bad-input";
    for (const entry of job.failures) {
      // Without a result nobody knows whose fault it was: only what cannot be the input's counts.
      if (entry.weight > 0 && !entry.opinion && !inputIsBad) {
        this.#judge.fault(entry.rig, entry.weight, entry.text, this.#nowMs);
      }
    }
    for (const attempt of job.attempts) {
      const overdue = attempt.state === "open" && attempt.late && attempt.use.open[0] === attempt;
      if (failure.kind === "deadline" && overdue) {
        this.#judge.fault(attempt.connection.rig, 1, "no answer before the deadline", this.#nowMs);
      }
      this.#cancel(attempt, inputIsBad ? "the input is bad" : "the job was given up");
    }
    this.#finish(job);
  }

  /** Forgets the job and whatever still belongs to it. */
  #finish(job: Job): void {
    const { session } = job;
    for (const attempt of job.attempts) this.#release(attempt);
    this.#timers.remove(job.deadline);
    this.#timers.remove(job.hope);
    this.#timers.remove(job.wake);
    this.#seconds.forget(job);
    this.#jobs.delete(job.spec.job);
    session.jobs.delete(job);
    const at = session.waiting.indexOf(job);
    if (at >= 0) {
      session.waiting.splice(at, 1);
      this.#waiting.enter(session);
    }
    if (session.jobs.size > 0) return;
    if (session.ended) this.#closeSession(session);
    else session.idle = this.#timers.add(this.#nowMs + this.#options.sessionIdleMs, { kind: "idle", session });
  }

  #due(timer: Timer): void {
    switch (timer.kind) {
      case "deadline":
        timer.job.deadline = undefined;
        this.#giveUp(timer.job, lastWordOn(timer.job));
        break;
      case "late":
        timer.attempt.due = undefined;
        this.#onLate(timer.attempt);
        break;
      case "idle":
        this.#closeSession(timer.session);
        break;
      case "hope":
        timer.job.hope = undefined;
        this.#giveUpHopeless(timer.job);
        break;
      case "wake":
        // The pump that ends every call does the rest.
        timer.job.wake = undefined;
        break;
      case "busy":
        break;
    }
  }

  /** A job that nobody connected can do waits while somebody who can is expected back, else it is given up. */
  #giveUpHopeless(job: Job): void {
    if (job.open > 0 || job.hope !== undefined || !this.#jobs.has(job.spec.job)) return;
    const { need } = job.spec;
    if (this.#roster.isAnyoneAble(need)) return;
    const startedMs = this.#startedMs ?? this.#nowMs;
    const untilMs = Math.max(startedMs + this.#options.startGraceMs, this.#returnBeforeMs(need));
    if (untilMs > this.#nowMs) job.hope = this.#timers.add(untilMs, { kind: "hope", job });
    else this.#giveUp(job, { kind: "no-capable-worker" });
  }

  /** Until when the last rig that left and could do this is waited for. */
  #returnBeforeMs(need: Need): number {
    return (this.#roster.lastLeftMs(need) ?? -Infinity) + this.#options.returnGraceMs;
  }

  /** The last connection of its kind is gone: waiting jobs may have nobody left. */
  #lookForHopeless(): void {
    for (const session of this.#places.sessions.values()) {
      for (const job of session.waiting.slice()) this.#giveUpHopeless(job);
    }
  }

  // Every call

  #begin(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#startedMs ??= nowMs;
  }

  /** Whatever happened may have made room for somebody. */
  #end(): Effect[] {
    if (this.#waiting.size > 0 || this.#seconds.size > 0) this.#pump();
    const effects = this.#effects;
    if (effects.length > 0) this.#effects = [];
    return effects;
  }
}
