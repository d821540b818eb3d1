import { formatRig, type RigName } from "@openpool/protocol";
import { DecisionLog, type DecisionNote, type PassedOver } from "./decision-log.ts";
import { DueHeap } from "./due-heap.ts";
import { classifyWorkerError, likeness } from "./failure-text.ts";
import type {
  Attempt,
  CapabilityGroup,
  Connection,
  Failure,
  Job,
  Rig,
  Session,
  Timer,
  Use,
  WaitingSessions,
} from "./model.ts";
import type { DispatchOptions } from "./options.ts";
import { parseReputation, Reputation } from "./reputation.ts";
import { TimesByKind } from "./times.ts";
import type {
  AttemptFailure,
  AttemptId,
  ConnectionId,
  ConnectionOffer,
  ConnectionView,
  DispatchJob,
  Effect,
  JobFailure,
  JobId,
  ReputationSnapshot,
  RigDecision,
  RigView,
} from "./types.ts";

export interface DispatchDeps {
  /** Uniform in [0, 1): which rig is tried out, and small differences between equals. */
  readonly random: () => number;
  /** A new attempt id; the caller makes it, because it may have to be hard to guess. */
  readonly newAttemptId: () => AttemptId;
  /** When the pool started, monotonic ms; the first call's time if absent. Rigs get a grace time from here to return. */
  readonly startedMs?: number;
}

/**
 * Reasons to prefer another connection, worst last. A connection's sum of them comes before its speed: one without any
 * is always preferred, and one with all of them still beats losing a segment.
 */
const PROBATION = 1;
const SILENT = 2;
/** Takes the place of an idle session: worse than a free place on probation, better than a barred rig. */
const STEAL = 3;
const BARRED = 8;
const DRAINING = 16;
const FAILED_IT = 32;

/** Shorter segments cost about as much as this: start-up and transfer do not shrink with them. */
const MIN_WORK_MS = 250;
/** What a rig is thought to need before anybody was measured: twice real time. */
const PRIOR_COST = 0.5;
const KINDS_IN_POOL = 256;
const POOL_SAMPLES = 5;
const OWN_SAMPLES = 5;
/** Looks at connections that may be in vain before a queue is left for the next event: about 0.1 ms. */
const PATIENCE = 6_000;
const MAX_NEEDS = 16;
const MAX_HEDGES_TRIED = 4;
const REMEMBERED_WINNERS = 64;
const MAX_REFUSED = 32;

type ChooseFor = "start" | "hedge" | "rescue";

interface Choice {
  readonly connection: Connection;
  readonly tier: number;
  readonly steal: boolean;
  readonly expectedMs: number;
}

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
  readonly #rigs = new Map<string, Rig>();
  readonly #connections = new Map<ConnectionId, Connection>();
  /** The same, to walk through quickly. */
  readonly #list: Connection[] = [];
  readonly #groups = new Map<bigint, CapabilityGroup>();
  readonly #sessions = new Map<string, Session>();
  readonly #jobs = new Map<JobId, Job>();
  readonly #attempts = new Map<AttemptId, Attempt>();
  readonly #timers = new DueHeap<Timer>();
  /** Sessions with waiting jobs, by what they need. Empty ones go with the next pump. */
  readonly #queues = new Map<bigint, WaitingSessions>();
  #waitingSessions = 0;
  /** Jobs whose attempts are late and for which nobody was idle yet. */
  readonly #hedges = new Set<Job>();
  /** The pool's own usual times: what stands in for a rig's while those are not known. */
  readonly #times = new TimesByKind(KINDS_IN_POOL);
  /** Who delivered the newest results: what is said about them afterwards still counts. */
  readonly #winners = new Map<AttemptId, Rig>();
  #hedgeTokens: number;
  #startedMs: number | undefined;
  #effects: Effect[] = [];

  constructor(options: DispatchOptions, deps: DispatchDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#hedgeTokens = options.hedgeBurst;
    this.#startedMs = deps.startedMs;
  }

  // Workers come and go

  /** A rig registered. An id that is connected already changes what it offers. Waiting jobs may start at once. */
  connect(offer: ConnectionOffer, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const known = this.#connections.get(offer.connection);
    if (known !== undefined) {
      this.#leaveGroup(known);
      known.capacity = offer.capacity;
      known.group = this.#joinGroup(offer.capabilities);
      known.rig.capabilities = offer.capabilities;
      known.refused.clear();
    } else {
      const rig = this.#rig(offer.rig, nowMs);
      const connection: Connection = {
        id: offer.connection,
        rig,
        capacity: offer.capacity,
        group: this.#joinGroup(offer.capabilities),
        draining: false,
        connectedMs: nowMs,
        live: true,
        uses: new Map(),
        idle: 0,
        open: 0,
        heardMs: undefined,
        silentUntilMs: 0,
        silentInRow: 0,
        busyUntilMs: 0,
        refused: new Set(),
        index: this.#list.length,
      };
      this.#connections.set(offer.connection, connection);
      this.#list.push(connection);
      rig.connections.add(connection);
      rig.capabilities = offer.capabilities;
      rig.seenMs = nowMs;
      rig.goneMs = undefined;
    }
    this.#pump(nowMs);
    return this.#end();
  }

  /**
   * The connection ended. What was open on it starts again elsewhere at once; results that its worker still uploads are
   * welcome until the job is decided.
   */
  disconnect(id: ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const connection = this.#connections.get(id);
    if (connection === undefined) return this.#end();
    const { rig } = connection;
    const expected = this.#draining(connection);
    connection.live = false;
    this.#connections.delete(id);
    const last = this.#list.pop()!;
    if (last !== connection) {
      this.#list[connection.index] = last;
      last.index = connection.index;
    }
    this.#leaveGroup(connection);
    rig.connections.delete(connection);
    rig.seenMs = nowMs;
    if (rig.connections.size === 0) {
      rig.goneMs = nowMs;
      // Least recently seen first, for the day when too many are remembered.
      this.#rigs.delete(rig.key);
      this.#rigs.set(rig.key, rig);
    }
    const restart: Job[] = [];
    let working = false;
    for (const use of connection.uses.values()) {
      const { session } = use;
      if (session.bound === connection) {
        session.bound = undefined;
        session.home = rig;
      }
      for (const attempt of use.open) {
        working ||= !attempt.late;
        this.#lose(attempt);
        restart.push(attempt.job);
      }
      use.open.length = 0;
    }
    connection.uses.clear();
    connection.idle = 0;
    connection.open = 0;
    if (working && !expected) this.#fault(rig, 1, "disconnected with work in flight", nowMs);
    for (const job of restart) this.#again(job, nowMs);
    if (connection.group.connections === 0) this.#loseHope(nowMs);
    this.#pump(nowMs);
    return this.#end();
  }

  /**
   * Gives it no more work as long as somebody else has room: sessions leave it as soon as they can. With nobody else it
   * goes on serving, since a drain must not lose a segment. A rig stays draining across its connections.
   */
  drain(target: RigName | ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    for (const connection of this.#setDraining(target, true, nowMs)) {
      for (const use of connection.uses.values()) if (use.open.length === 0) this.#dropUse(use);
    }
    return this.#end();
  }

  undrain(target: RigName | ConnectionId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    this.#setDraining(target, false, nowMs);
    this.#pump(nowMs);
    return this.#end();
  }

  // Jobs

  /** A gateway wants a segment. Exactly one answer follows for each job: an accepted result, a give-up, or `abandon`. */
  submit(spec: DispatchJob, nowMs: number): Effect[] {
    this.#begin(nowMs);
    if (this.#jobs.has(spec.job)) return this.#end();
    const session = this.#session(spec.session);
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
    if (spec.deadlineMs <= nowMs) this.#giveUp(job, { kind: "deadline", attempts: 0 }, nowMs);
    else this.#startOrWait(job, nowMs);
    if (session.queued !== undefined) this.#pump(nowMs);
    return this.#end();
  }

  /** The source of a job that was submitted while it arrived is whole now: from here on its workers can be late. */
  inputComplete(id: JobId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const job = this.#jobs.get(id);
    if (job === undefined || job.inputMs !== undefined) return this.#end();
    job.inputMs = nowMs;
    for (const attempt of job.attempts) {
      if (attempt.state === "open" && !attempt.arriving) this.#arm(attempt, this.#lateAtMs(attempt, nowMs));
    }
    return this.#end();
  }

  /** True while a valid result of this attempt would decide its job. Ask before a result is used. */
  isWanted(attempt: AttemptId): boolean {
    return this.#attempts.has(attempt);
  }

  /** The attempt ended without a valid result. Unknown attempts are ignored, as in everything below. */
  attemptFailed(id: AttemptId, failure: AttemptFailure, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) return this.#end();
    const { job } = attempt;
    switch (failure.kind) {
      case "late":
        if (attempt.state === "open") this.#onLate(attempt, nowMs);
        break;
      case "disconnected":
        if (attempt.state === "lost") break;
        this.#releasePlace(attempt, nowMs);
        this.#lose(attempt);
        this.#again(job, nowMs);
        break;
      case "worker-error":
      case "invalid-result":
        this.#heard(attempt.connection, nowMs);
        this.#failed(attempt, failure, nowMs);
        break;
    }
    this.#pump(nowMs);
    return this.#end();
  }

  /** The upload of a result began: it is not late for a while. */
  resultArriving(id: AttemptId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) return this.#end();
    this.#heard(attempt.connection, nowMs);
    if (attempt.state === "lost" || attempt.arriving) return this.#end();
    attempt.arriving = true;
    this.#hedges.delete(attempt.job);
    const { arrivingGraceMs, lateMinMs } = this.#options;
    const graceMs = Math.max(attempt.due?.atMs ?? 0, nowMs + arrivingGraceMs);
    this.#arm(attempt, Math.min(graceMs, Math.max(this.#latestMs(attempt.job), nowMs + lateMinMs)));
    return this.#end();
  }

  /** The result is valid: the job is decided, the other attempts are not wanted any more. */
  resultAccepted(id: AttemptId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const winner = this.#attempts.get(id);
    if (winner === undefined) return this.#end();
    const { job, connection } = winner;
    const { rig } = connection;
    this.#winners.set(id, rig);
    if (this.#winners.size > REMEMBERED_WINNERS) {
      const [oldest] = this.#winners.keys();
      if (oldest !== undefined) this.#winners.delete(oldest);
    }
    this.#heard(connection, nowMs);
    rig.workMs = nowMs;
    this.#timed(winner, nowMs);
    for (const failure of job.failures) {
      if (failure.weight > 0) this.#fault(failure.rig, failure.weight, failure.text, nowMs);
    }
    if (rig.reputation.good(nowMs)) this.#standing(rig);
    this.#moveToWinner(winner, nowMs);
    for (const other of job.attempts) {
      if (other !== winner) this.#cancel(other, "another worker was first", nowMs);
    }
    this.#finish(job, nowMs);
    this.#pump(nowMs);
    return this.#end();
  }

  /**
   * What the worker claims to have done differs from what was measured: `differs` is noted, `lies` lowers trust. The
   * result may be valid all the same. May be told before or shortly after the result was accepted.
   */
  claimDiffered(id: AttemptId, degree: "differs" | "lies", nowMs: number): Effect[] {
    this.#begin(nowMs);
    const rig = this.#attempts.get(id)?.connection.rig ?? this.#winners.get(id);
    if (rig === undefined) return this.#end();
    if (degree === "differs") rig.reputation.differed++;
    else if (rig.reputation.lie("claimed pixels that were not in the result", nowMs)) this.#standing(rig);
    return this.#end();
  }

  /** The gateway left: nothing of the job is wanted any more. */
  abandon(id: JobId, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const job = this.#jobs.get(id);
    if (job === undefined) return this.#end();
    for (const attempt of job.attempts) this.#cancel(attempt, "the gateway left", nowMs);
    this.#finish(job, nowMs);
    this.#pump(nowMs);
    return this.#end();
  }

  /** The gateway ended the session. Jobs of it that run are finished first; a new job makes it live on. */
  endSession(key: string, nowMs: number): Effect[] {
    this.#begin(nowMs);
    const session = this.#sessions.get(key);
    if (session === undefined) return this.#end();
    session.ended = true;
    if (session.jobs.size === 0) this.#closeSession(session);
    this.#pump(nowMs);
    return this.#end();
  }

  /** Does what is due: deadlines, lateness, idle sessions. Call it at `nextTickMs()` or later. */
  tick(nowMs: number): Effect[] {
    this.#begin(nowMs);
    for (let timer = this.#timers.takeDue(nowMs); timer !== undefined; timer = this.#timers.takeDue(nowMs)) {
      this.#due(timer, nowMs);
    }
    this.#pump(nowMs);
    return this.#end();
  }

  /** When `tick` has something to do; undefined while nothing is due ever. */
  nextTickMs(): number | undefined {
    return this.#timers.peek()?.atMs;
  }

  // What others may ask

  /** Whether another session with these needs could be taken. Rigs that would only be used in need do not count. */
  hasRoom(capabilities: bigint, nowMs: number): boolean {
    if (this.#isAwaited(capabilities)) return false;
    this.#fit(capabilities);
    let barredRoom = false;
    let others = false;
    for (const connection of this.#list) {
      if (!connection.group.fits || this.#draining(connection) || connection.refused.has(capabilities)) continue;
      const barred = connection.rig.reputation.standing === "barred";
      others ||= !barred;
      if (connection.uses.size >= connection.capacity) continue;
      // Late once is slow; late twice without a word in between is probably hung.
      if (connection.silentInRow > 0 && connection.silentUntilMs > nowMs) continue;
      if (!barred) return true;
      barredRoom = true;
    }
    return barredRoom && !others;
  }

  /** Union of what connected rigs that are not draining can do; bit n is the capability with number n. */
  capabilities(): bigint {
    let union = 0n;
    let last: CapabilityGroup | undefined;
    for (const connection of this.#list) {
      if (connection.group === last || this.#draining(connection)) continue;
      last = connection.group;
      union |= last.bits;
    }
    return union;
  }

  sessionKnown(session: string): boolean {
    return this.#sessions.has(session);
  }

  /** Sessions that hold a place on a connection. One that is tried in two places counts twice. */
  load(): number {
    return this.#list.reduce((sum, connection) => sum + connection.uses.size, 0);
  }

  /** Sessions that connections which are not draining take at once. */
  capacity(): number {
    return this.#list.reduce((sum, c) => sum + (this.#draining(c) ? 0 : c.capacity), 0);
  }

  /** What is held in memory; all of it is zero when nothing is going on, apart from sessions that wait to idle out. */
  size(): { jobs: number; attempts: number; sessions: number; timers: number; waiting: number } {
    return {
      jobs: this.#jobs.size,
      attempts: this.#attempts.size,
      sessions: this.#sessions.size,
      timers: this.#timers.size,
      waiting: this.#waitingSessions + this.#hedges.size,
    };
  }

  /** Every rig that is connected or remembered. */
  rigs(nowMs: number): readonly RigView[] {
    return Array.from(this.#rigs.values(), (rig) => this.#view(rig, nowMs));
  }

  /** The newest decisions as they looked from this rig, newest first. */
  decisions(name: RigName): readonly RigDecision[] {
    const rig = this.#rigs.get(formatRig(name));
    return rig?.log.read(rig.reputation.reason) ?? [];
  }

  /** What was learnt about rigs, for `importReputation` after a restart. JSON-able. */
  exportReputation(nowMs: number): ReputationSnapshot {
    const rigs = [...this.#rigs.values()]
      .filter((rig) => rig.reputation.accepted + rig.reputation.failed + rig.reputation.lied > 0)
      .map((rig) => rig.reputation.export(rig.key, rig.connections.size > 0 ? nowMs : rig.seenMs, nowMs));
    return { v: 1, rigs };
  }

  /** Takes over an exported snapshot; `awayMs` is the time since its export. Rigs that are known already keep theirs. */
  importReputation(snapshot: unknown, nowMs: number, awayMs = 0): void {
    for (const memory of parseReputation(snapshot)) {
      if (this.#rigs.has(memory.rig)) continue;
      const dot = memory.rig.indexOf(".");
      if (dot < 0) continue;
      // The snapshot is our own: its addresses were checked when the rigs registered.
      const name = { worker: memory.rig.slice(0, dot) as RigName["worker"], rig: memory.rig.slice(dot + 1) };
      const rig = this.#rig(name, nowMs);
      rig.seenMs = nowMs - awayMs - memory.seenAgoMs;
      rig.reputation.import(memory, nowMs, awayMs);
      for (const { kind, costs } of memory.times) for (const cost of costs) this.#times.add(kind, cost);
    }
  }

  // Starting attempts

  /** Starts the job if it may go now, else it waits with its session. */
  #startOrWait(job: Job, nowMs: number): void {
    const { session } = job;
    // A job that was tried before is older than anything that waits.
    const first = session.waiting.length === 0 || job.started > 0;
    const free = first && (!this.#isAwaited(job.spec.capabilities) || this.#ownPlaceIdle(session));
    if (free && this.#start(job, nowMs)) return;
    if (job.started > 0) session.waiting.unshift(job);
    else session.waiting.push(job);
    this.#enqueue(session);
    this.#hopeFor(job, nowMs);
  }

  /** An attempt ended in nothing. */
  #again(job: Job, nowMs: number): void {
    if (job.open === 0) this.#startOrWait(job, nowMs);
    else this.#hedge(job, nowMs);
  }

  /** Somebody waits for a place with these needs. */
  #isAwaited(need: bigint): boolean {
    return (this.#queues.get(need)?.heap.size ?? 0) > 0;
  }

  /** The session's own place stands empty: taking it deprives nobody. */
  #ownPlaceIdle(session: Session): boolean {
    return session.bound?.uses.get(session)?.open.length === 0;
  }

  /** Assigns the job to the best connection there is. False: nobody can take it now. */
  #start(job: Job, nowMs: number): boolean {
    const { session } = job;
    const trial = this.#trial(job, nowMs);
    if (trial !== undefined) {
      const { standing } = trial.rig.reputation;
      if (standing === "barred") trial.rig.reputation.retried(nowMs);
      const words = {
        new: "it is new",
        trusted: "it had no work for long",
        probation: "it is on probation",
        barred: "retrial",
      };
      this.#note(job, trial, `tried out: ${words[standing]}`, this.#expectedMs(trial.rig, job), nowMs);
      this.#assign(job, trial, `tried out: ${words[standing]}`, { hedge: false, trial: true }, nowMs);
      return true;
    }
    const { bound } = session;
    if (bound !== undefined && this.#mayStay(job, bound, nowMs)) {
      this.#note(job, bound, "its session is here", this.#expectedMs(bound.rig, job), nowMs);
      this.#assign(job, bound, "its session is here", { hedge: false, trial: false }, nowMs);
      return true;
    }
    const choice = this.#choose(job, "start", nowMs);
    if (choice === undefined) return false;
    const { connection } = choice;
    if (choice.steal) this.#steal(connection);
    const reason = this.#why(job, choice, bound);
    const move = bound === undefined || (job.failures.length === 0 && this.#shouldLeave(job, bound, nowMs));
    this.#assign(job, connection, reason, { hedge: false, trial: false }, nowMs);
    if (move) this.#bind(session, connection);
    return true;
  }

  /** The session is better off elsewhere, not only this job. */
  #shouldLeave(job: Job, bound: Connection, nowMs: number): boolean {
    this.#fit(job.spec.capabilities);
    const able = bound.group.fits && !bound.refused.has(job.spec.capabilities);
    return !able || this.#doesBadly(job.session) || this.#tier(bound, job, nowMs) > 0;
  }

  #why(job: Job, choice: Choice, bound: Connection | undefined): string {
    const expected = `about ${(choice.expectedMs / 1000).toFixed(2)} s expected`;
    if (job.started > 0) return `next attempt after ${job.failures.at(-1)?.kind ?? "loss"}, ${expected}`;
    if (bound === choice.connection) return `its session is here, ${expected}`;
    if (bound !== undefined) return `${formatRig(bound.rig.name)} cannot serve its session well now, ${expected}`;
    return `best for a new session, ${expected}`;
  }

  #mayStay(job: Job, bound: Connection, nowMs: number): boolean {
    const { session } = job;
    if (bound.busyUntilMs > nowMs || this.#shouldLeave(job, bound, nowMs)) return false;
    const open = bound.uses.get(session)?.open.length ?? 0;
    if (open === 0) return true;
    // Stacking is fine while the last in the stack is still answered in good time, and nobody else waits for a place.
    return (
      open <= this.#options.queuePerSession &&
      !this.#contended(session) &&
      nowMs + (open + 1) * this.#expectedMs(bound.rig, job) <= (nowMs + job.spec.deadlineMs) / 2
    );
  }

  /** Other sessions wait for a place: nobody stacks more work on the one that it has. */
  #contended(session: Session): boolean {
    return this.#waitingSessions > (session.queued === undefined ? 0 : 1);
  }

  /** The bound connection was late or too slow for the gateway several times in a row. */
  #doesBadly(session: Session): boolean {
    return session.lateInRow >= 2 || session.slowInRow >= 3;
  }

  /** Now and then a job tries out somebody who would get no work otherwise. */
  #trial(job: Job, nowMs: number): Connection | undefined {
    if (job.started > 0 || this.#deps.random() >= this.#options.exploreShare) return undefined;
    const windowMs = job.spec.deadlineMs - nowMs;
    if (this.#secondMs(job) * 2 >= windowMs) return undefined;
    this.#fit(job.spec.capabilities);
    let best: Connection | undefined;
    for (const connection of this.#list) {
      const { rig } = connection;
      if (!this.#isFree(connection, job, "start", nowMs) || rig.trials > 0 || connection === job.session.bound)
        continue;
      if (connection.silentUntilMs > nowMs || this.#draining(connection)) continue;
      const { standing, retrialAtMs } = rig.reputation;
      const wants =
        standing === "barred"
          ? retrialAtMs <= nowMs
          : standing !== "trusted" || nowMs - (rig.workMs ?? connection.connectedMs) >= this.#options.staleMs;
      if (wants && (best === undefined || (rig.workMs ?? -Infinity) < (best.rig.workMs ?? -Infinity)))
        best = connection;
    }
    return best;
  }

  /** The best connection for another attempt at the job, all of them considered, the reasons noted. */
  #choose(job: Job, wish: ChooseFor, nowMs: number): Choice | undefined {
    const { session } = job;
    this.#fit(job.spec.capabilities);
    const noting = wish === "start" && !job.noted;
    const note: DecisionNote = {
      atMs: nowMs,
      job: job.spec.job,
      session: session.key,
      chosen: undefined,
      reason: "",
      expectedMs: 0,
    };
    let best: Connection | undefined;
    let bestTier = Infinity;
    let bestScore = Infinity;
    let bestSteal = false;
    let bestExpectedMs = 0;
    // A rig that has not failed this job could take it, but has no place now: its opinion is worth the wait.
    let opinionAhead = false;
    const limit = wish === "start" ? Infinity : wish === "hedge" ? BARRED : FAILED_IT;
    for (const connection of this.#list) {
      const { rig } = connection;
      const hard = this.#unfit(connection, job, wish);
      if (hard !== undefined) {
        if (noting) rig.log.add(note, hard, 0);
        continue;
      }
      let tier = this.#tier(connection, job, nowMs);
      const free = this.#isFree(connection, job, wish, nowMs);
      const steal =
        !free &&
        wish !== "hedge" &&
        connection.idle > 0 &&
        connection.busyUntilMs <= nowMs &&
        !connection.uses.has(session);
      if (tier < FAILED_IT) opinionAhead ||= !free && !steal;
      if ((!free && !steal) || tier >= limit) {
        if (noting) rig.log.add(note, free || steal ? tierWord(tier) : this.#fullWord(connection, job, nowMs), 0);
        continue;
      }
      if (steal) tier += STEAL;
      const expectedMs = this.#expectedMs(rig, job);
      const load = connection.uses.size / connection.capacity;
      const home = connection === session.bound || rig === session.home ? 0.8 : 1;
      const ahead = connection.uses.get(session)?.open.length ?? 0;
      const jitter = 1 + 0.1 * this.#deps.random();
      // A second attempt is no time for experiments.
      const proven = (rig.reputation.times.get(job.spec.kind)?.count ?? 0) >= OWN_SAMPLES;
      const doubt = proven || wish === "start" ? 1 : wish === "hedge" ? 2 : 4;
      const score =
        (expectedMs * (1 + ahead) * (1 + 0.5 * load) * home * jitter * doubt) / Math.max(0.1, rig.reputation.health);
      if (noting)
        rig.log.add(note, tier === 0 ? "slower" : steal && tier === STEAL ? "full" : tierWord(tier), expectedMs);
      if (tier < bestTier || (tier === bestTier && score < bestScore)) {
        best = connection;
        bestTier = tier;
        bestScore = score;
        bestSteal = steal;
        bestExpectedMs = expectedMs;
      }
    }
    job.noted = best === undefined;
    if (best === undefined) return undefined;
    if (bestTier >= FAILED_IT) {
      const againMs = this.#againMs(job, best.rig, opinionAhead);
      if (nowMs < againMs) {
        this.#wakeAt(job, againMs);
        return undefined;
      }
    }
    const choice = { connection: best, tier: bestTier, steal: bestSteal, expectedMs: bestExpectedMs };
    note.chosen = formatRig(best.rig.name);
    note.expectedMs = bestExpectedMs;
    note.reason = this.#why(job, choice, session.bound);
    if (wish === "start") best.rig.log.add(note, "chosen", bestExpectedMs);
    return choice;
  }

  /** Lets the pump look at it again then, whatever happens before. */
  #wakeAt(job: Job, atMs: number): void {
    if (job.wake !== undefined && job.wake.atMs <= atMs) return;
    this.#timers.remove(job.wake);
    job.wake = this.#timers.add(atMs, { kind: "wake", job });
  }

  /** When a job may go again to a rig that failed it. */
  #againMs(job: Job, rig: Rig, opinionAhead: boolean): number {
    const latestMs = this.#latestMs(job);
    if (opinionAhead) return latestMs;
    const times = job.failures.filter((failure) => failure.rig === rig && failure.weight > 0).length;
    return times < 2 ? job.failedMs : Math.min(latestMs, job.failedMs + this.#options.retryPauseMs * 2 ** (times - 2));
  }

  /** Why it cannot have the job whatever else is true. */
  #unfit(connection: Connection, job: Job, wish: ChooseFor): PassedOver | undefined {
    if (!connection.group.fits || connection.refused.has(job.spec.capabilities)) return "unable";
    for (const attempt of job.attempts) {
      if (attempt.state !== "open") continue;
      if (attempt.connection === connection || (wish === "hedge" && attempt.connection.rig === connection.rig))
        return "has-it";
    }
    return undefined;
  }

  /** Reasons to prefer another connection; 0 without any. */
  #tier(connection: Connection, job: Job, nowMs: number): number {
    const { rig } = connection;
    const { standing } = rig.reputation;
    let tier = 0;
    if (standing === "probation") tier += PROBATION;
    if (standing === "barred") tier += BARRED;
    if (connection.silentUntilMs > nowMs) tier += SILENT;
    if (this.#draining(connection)) tier += DRAINING;
    if (job.failures.some((failure) => failure.rig === rig && failure.weight > 0)) tier += FAILED_IT;
    return tier;
  }

  #isFree(connection: Connection, job: Job, wish: ChooseFor, nowMs: number): boolean {
    if (!connection.group.fits || connection.busyUntilMs > nowMs || connection.refused.has(job.spec.capabilities)) {
      return false;
    }
    const use = connection.uses.get(job.session);
    if (use === undefined) return connection.uses.size < connection.capacity;
    const { length } = use.open;
    return (
      length === 0 || (length <= this.#options.queuePerSession && (wish === "rescue" || !this.#contended(job.session)))
    );
  }

  #fullWord(connection: Connection, job: Job, nowMs: number): PassedOver {
    if (connection.busyUntilMs > nowMs) return "busy";
    return connection.uses.has(job.session) ? "session-queue-full" : "full";
  }

  /** Notes a decision that was made without looking at anybody else. */
  #note(job: Job, connection: Connection, reason: string, expectedMs: number, nowMs: number): void {
    const { rig } = connection;
    const note = { atMs: nowMs, job: job.spec.job, session: job.session.key, chosen: rig.key, reason, expectedMs };
    rig.log.add(note, "chosen", expectedMs);
  }

  #assign(
    job: Job,
    connection: Connection,
    reason: string,
    how: { hedge: boolean; trial: boolean },
    nowMs: number,
  ): void {
    const { session } = job;
    let use = connection.uses.get(session);
    if (use === undefined) {
      use = { session, connection, open: [], bound: false, lastEndMs: 0 };
      connection.uses.set(session, use);
    } else if (use.open.length === 0) {
      connection.idle--;
    }
    const attempt: Attempt = {
      id: this.#deps.newAttemptId(),
      job,
      connection,
      use,
      assignedMs: nowMs,
      hedge: how.hedge,
      trial: how.trial,
      state: "open",
      late: false,
      arriving: false,
      due: undefined,
    };
    use.open.push(attempt);
    connection.open++;
    connection.rig.workMs = nowMs;
    if (how.trial) connection.rig.trials++;
    job.attempts.add(attempt);
    job.started++;
    job.open++;
    job.noted = false;
    this.#timers.remove(job.hope);
    job.hope = undefined;
    this.#attempts.set(attempt.id, attempt);
    if (!how.hedge)
      this.#hedgeTokens = Math.min(this.#options.hedgeBurst, this.#hedgeTokens + this.#options.hedgeShare);
    this.#arm(attempt, this.#lateAtMs(attempt, nowMs));
    this.#effects.push({
      kind: "assign",
      job: job.spec.job,
      attempt: attempt.id,
      connection: connection.id,
      reason,
      hedge: how.hedge,
    });
  }

  /** Lets waiting jobs start, most urgent session first, then second attempts at late ones. */
  #pump(nowMs: number): void {
    let looked = 0;
    for (const queue of this.#queues.values()) {
      if (queue.heap.size === 0) this.#queues.delete(queue.need);
      else this.#pumpQueue(queue, nowMs);
      if (++looked >= MAX_NEEDS) break;
    }
    if (looked >= MAX_NEEDS) {
      // The others come first next time.
      for (const [need, queue] of [...this.#queues].slice(0, looked)) {
        this.#queues.delete(need);
        this.#queues.set(need, queue);
      }
    }
    if (this.#hedges.size === 0) return;
    let tried = 0;
    for (const job of this.#hedges) {
      if (tried++ >= MAX_HEDGES_TRIED) break;
      this.#hedge(job, nowMs);
    }
  }

  #pumpQueue({ heap }: WaitingSessions, nowMs: number): void {
    const missed: Session[] = [];
    let patience = PATIENCE;
    for (let first = heap.peek(); first !== undefined && patience > 0; first = heap.peek()) {
      const session = first.value;
      const { waiting } = session;
      let started = false;
      for (let i = 0; i < waiting.length && patience > 0; i++) {
        const job = waiting[i]!;
        // Who failed it before narrows the choice for this job, where its session runs already for all of the session;
        // a job without any of that speaks for those behind it.
        const failed = job.failures.some((failure) => failure.weight > 0);
        if (failed && patience <= PATIENCE / 3) continue;
        started = this.#start(job, nowMs);
        if (started) {
          waiting.splice(i, 1);
          break;
        }
        patience -= failed || session.jobs.size > waiting.length ? this.#list.length + 1 : PATIENCE / 3;
        if (!failed) break;
      }
      if (started) {
        this.#enqueue(session);
      } else {
        heap.remove(first);
        missed.push(session);
      }
    }
    for (const session of missed) this.#enqueue(session);
  }

  /** Sessions wait by the deadline of their first job; what a session has running already makes it wait longer. */
  #enqueue(session: Session): void {
    this.#dequeue(session);
    const job = session.waiting[0];
    if (job === undefined) return;
    const need = job.spec.capabilities;
    let queue = this.#queues.get(need);
    if (queue === undefined) {
      queue = { need, heap: new DueHeap() };
      this.#queues.set(need, queue);
    }
    const running = session.jobs.size - session.waiting.length;
    session.queued = { queue, due: queue.heap.add(job.spec.deadlineMs + running * 2_000, session) };
    this.#waitingSessions++;
  }

  #dequeue(session: Session): void {
    if (session.queued === undefined) return;
    const { queue, due } = session.queued;
    session.queued = undefined;
    this.#waitingSessions--;
    queue.heap.remove(due);
  }

  // Lateness

  /** How long an attempt takes that has nothing before it, as far as one can know. */
  #expectedMs(rig: Rig, job: Job): number {
    const { kind, durationMs } = job.spec;
    const usual = this.#times.get(kind);
    const prior = (usual === undefined ? PRIOR_COST : usual.quantile(0.5)) * rig.reputation.relative;
    const own = rig.reputation.times.get(kind);
    const cost = own === undefined ? prior : (own.mean * own.count + prior * 2) / (own.count + 2);
    return cost * Math.max(durationMs, MIN_WORK_MS);
  }

  /** What a second attempt by somebody else would take. */
  #secondMs(job: Job): number {
    const usual = this.#times.get(job.spec.kind);
    if (usual !== undefined && usual.count >= POOL_SAMPLES) {
      return usual.quantile(0.8) * Math.max(job.spec.durationMs, MIN_WORK_MS);
    }
    return 0.4 * (job.spec.deadlineMs - job.submittedMs);
  }

  /** From here on a second attempt, and a third if they are quick, would hardly be done in time. */
  #latestMs(job: Job): number {
    const secondMs = this.#secondMs(job);
    const thirdMs = Math.min(
      3 * secondMs + 2 * this.#options.lateMinMs,
      0.35 * (job.spec.deadlineMs - job.submittedMs),
    );
    return job.spec.deadlineMs - Math.max(1.25 * secondMs, thirdMs) - 100;
  }

  #lateAtMs(attempt: Attempt, nowMs: number): number {
    const { job, connection, use } = attempt;
    const { options, rig } = { options: this.#options, rig: connection.rig };
    const latestMs = this.#latestMs(job);
    if (job.inputMs === undefined) return Math.max(latestMs, nowMs + options.lateMinMs);
    if (use.open[0] !== attempt) {
      // It waits behind another attempt of its session: nobody is slow, but half its time is enough of that.
      const halfMs = (job.submittedMs + job.spec.deadlineMs) / 2;
      return Math.max(Math.min(latestMs, halfMs), nowMs + options.lateMinMs);
    }
    const workMs = Math.max(job.spec.durationMs, MIN_WORK_MS);
    const own = rig.reputation.times.get(job.spec.kind);
    const usual = this.#times.get(job.spec.kind);
    const pool =
      usual !== undefined && usual.count >= POOL_SAMPLES ? usual.quantile(options.lateQuantile) * workMs : undefined;
    let allowedMs = (job.spec.deadlineMs - nowMs) / 2;
    if (own !== undefined && own.count >= OWN_SAMPLES) {
      allowedMs = own.quantile(options.lateQuantile) * workMs * options.lateFactor;
    } else if (pool !== undefined) {
      allowedMs = pool * options.lateFactorUnknown * Math.max(1, rig.reputation.relative);
    }
    // Whoever is tried out may cost the gateway no more than a moment, and a second attempt must leave time for a third.
    const secondMs = this.#secondMs(job);
    if ((attempt.trial || attempt.hedge) && pool !== undefined) allowedMs = Math.min(allowedMs, 2 * secondMs);
    allowedMs = Math.max(allowedMs, options.lateMinMs);
    // In a pool that is slow as a whole second attempts before a rig's usual time would only double the work, unless it
    // is the last moment for one.
    const usuallyMs = this.#usuallyDoneMs(attempt, nowMs);
    const patientMs = usuallyMs - nowMs > 2 * secondMs ? nowMs : Math.min(usuallyMs, job.spec.deadlineMs - secondMs);
    return Math.min(nowMs + allowedMs, Math.max(latestMs, patientMs, nowMs + options.lateMinMs));
  }

  /** When it would be done if it took a little longer than its rig usually does. */
  #usuallyDoneMs(attempt: Attempt, nowMs: number): number {
    const { job, connection } = attempt;
    const own = connection.rig.reputation.times.get(job.spec.kind);
    if (own === undefined) return nowMs;
    return this.#activeMs(attempt) + own.mean * Math.max(job.spec.durationMs, MIN_WORK_MS) * 1.1;
  }

  /** When its rig could begin with it: the source was there, and nothing of its session was before it. */
  #activeMs(attempt: Attempt): number {
    return Math.max(attempt.assignedMs, attempt.use.lastEndMs, attempt.job.inputMs ?? 0);
  }

  #arm(attempt: Attempt, atMs: number): void {
    this.#timers.remove(attempt.due);
    attempt.due = this.#timers.add(atMs, { kind: "late", attempt });
  }

  /** Late but perhaps alive: somebody idle gets it too. Called again when it becomes a danger to the deadline. */
  #onLate(attempt: Attempt, nowMs: number): void {
    const { job, connection } = attempt;
    this.#timers.remove(attempt.due);
    attempt.due = undefined;
    attempt.arriving = false;
    // Nobody can be faster than the gateway that sends the source.
    if (job.inputMs === undefined) return;
    if (!attempt.late) {
      attempt.late = true;
      if (job.session.bound === connection) job.session.lateInRow++;
      if ((connection.heardMs ?? -Infinity) < attempt.assignedMs) {
        const { silentPauseMs, silentPauseMaxMs } = this.#options;
        connection.silentUntilMs = nowMs + Math.min(silentPauseMs * 2 ** connection.silentInRow, silentPauseMaxMs);
      }
      // What waits behind it is held up as well.
      if (attempt.use.open[0] === attempt) {
        for (const behind of attempt.use.open) if (!behind.late && !behind.arriving) this.#onLate(behind, nowMs);
      }
    }
    const latestMs = this.#latestMs(job);
    if (latestMs > nowMs) this.#arm(attempt, latestMs);
    this.#hedge(job, nowMs);
  }

  /** A second attempt while the first goes on, if one is worth it and somebody has room. */
  #hedge(job: Job, nowMs: number): void {
    const { maxOpenAttempts, maxAttempts } = this.#options;
    this.#hedges.delete(job);
    const urgent = nowMs >= this.#latestMs(job);
    if (job.open === 0 || job.started >= 2 * maxAttempts) return;
    if (job.open >= maxOpenAttempts * (urgent ? 2 : 1)) return;
    let doneMs = Infinity;
    for (const attempt of job.attempts) {
      if (attempt.state !== "open") continue;
      if (!attempt.late) return;
      // What waits behind something else may be done at any time or never.
      const usually = attempt.use.open[0] === attempt ? this.#usuallyDoneMs(attempt, nowMs) : Infinity;
      doneMs = Math.min(doneMs, usually <= nowMs ? Infinity : usually);
    }
    const choice = this.#choose(job, urgent ? "rescue" : "hedge", nowMs);
    // Where all are slow alike, a second attempt is a luxury even if time is short.
    const needed = urgent && choice !== undefined && nowMs + choice.expectedMs < doneMs;
    const affordable = this.#hedgeTokens >= 1 || job.failures.length > 0;
    if (choice === undefined || !(needed || affordable)) {
      this.#hedges.add(job);
      if (choice !== undefined && doneMs < job.spec.deadlineMs) this.#wakeAt(job, doneMs);
      return;
    }
    if (!needed) this.#hedgeTokens = Math.max(0, this.#hedgeTokens - 1);
    if (choice.steal) this.#steal(choice.connection);
    this.#note(job, choice.connection, "the first attempt is late", choice.expectedMs, nowMs);
    this.#assign(job, choice.connection, "the first attempt is late", { hedge: true, trial: false }, nowMs);
  }

  /** A sign of work: it is not silent. */
  #heard(connection: Connection, nowMs: number): void {
    connection.heardMs = nowMs;
    connection.silentUntilMs = 0;
    connection.silentInRow = 0;
    connection.rig.seenMs = nowMs;
  }

  /** The time of an attempt since it came first in its session's stack. */
  #costOf(attempt: Attempt, nowMs: number): number {
    return Math.max(0, nowMs - this.#activeMs(attempt)) / Math.max(attempt.job.spec.durationMs, MIN_WORK_MS);
  }

  #timed(winner: Attempt, nowMs: number): void {
    const { job, connection } = winner;
    const { session } = job;
    const { kind, durationMs } = job.spec;
    const cost = this.#costOf(winner, nowMs);
    const usual = this.#rigs.size > 1 ? this.#times.get(kind) : undefined;
    const known = usual !== undefined && usual.count >= POOL_SAMPLES ? usual.quantile(0.5) : undefined;
    if (connection.rig.reputation.timed(kind, cost, known, nowMs)) this.#standing(connection.rig);
    this.#times.add(kind, cost);
    if (connection === session.bound) {
      if (!winner.late) session.lateInRow = 0;
      // A gateway leaves for another orchestrator when the whole answer takes longer than max(1.5 s, duration).
      const slow = nowMs - (job.inputMs ?? nowMs) > 0.8 * Math.max(1_500, durationMs);
      session.slowInRow = slow ? session.slowInRow + 1 : 0;
    }
  }

  // Ending attempts

  /** The worker answered, and the answer is no good. */
  #failed(
    attempt: Attempt,
    failure: { readonly kind: "worker-error" | "invalid-result"; readonly text: string },
    nowMs: number,
  ): void {
    const { job, connection } = attempt;
    const { rig } = connection;
    const errorClass = failure.kind === "worker-error" ? classifyWorkerError(failure.text) : undefined;
    const noFault = errorClass === "busy" || errorClass === "stopped" || errorClass === "unable";
    const entry: Failure = {
      rig,
      kind: failure.kind,
      text: failure.text,
      like: likeness(failure.text),
      errorClass,
      opinion: errorClass === undefined || errorClass === "input" || errorClass === "unclear",
      weight: noFault ? 0 : errorClass === "download" ? 0.5 : 1,
    };
    const lost = attempt.state === "lost";
    this.#release(attempt, nowMs);
    if (errorClass === "busy" && connection.live) {
      connection.busyUntilMs = nowMs + this.#options.busyPauseMs;
      this.#timers.add(connection.busyUntilMs, { kind: "busy" });
    }
    if (errorClass === "unable" && connection.refused.size < MAX_REFUSED) connection.refused.add(job.spec.capabilities);
    job.failures.push(entry);
    job.failedMs = nowMs;
    const verdict = entry.opinion ? this.#verdict(job, entry, nowMs) : undefined;
    if (verdict !== undefined) {
      this.#giveUp(job, { kind: "bad-input", text: verdict }, nowMs);
      return;
    }
    // Its next attempt started or waits since its connection ended.
    if (lost) return;
    if (job.open > 0) {
      // Its second attempt failed while the first is still late: there must be another one.
      this.#hedge(job, nowMs);
      return;
    }
    if (job.failures.filter((one) => one.weight > 0).length >= this.#options.maxAttempts) {
      this.#giveUp(job, this.#lastWord(job), nowMs);
      return;
    }
    this.#startOrWait(job, nowMs);
  }

  /** The text that ends the job as bad input, if this failure and earlier ones say so together. */
  #verdict(job: Job, last: Failure, nowMs: number): string | undefined {
    const agreeing = job.failures.filter((other) => other !== last && other.opinion && alike(other, last));
    if (agreeing.length === 0) return undefined;
    const said = (last.errorClass === "input" ? last : agreeing.find((one) => one.errorClass === "input")) ?? last;
    // Late in its life the job cannot wait for anybody better.
    const others = nowMs < this.#latestMs(job) ? this.#untried(job) : [];
    if (others.length === 0) return said.text;
    const rigs = new Set([last, ...agreeing].map((failure) => failure.rig));
    // Broken results look alike: only an error that a worker itself reports is worth as much as a second opinion.
    const wanted = [last, ...agreeing].every((failure) => failure.kind === "invalid-result") ? 3 : 2;
    if (rigs.size < wanted) return undefined;
    const workers = new Set(Array.from(rigs, (rig) => rig.name.worker));
    if (workers.size === 1 && others.some((rig) => !workers.has(rig.name.worker))) return undefined;
    // Strangers may be wrong together, or in league: somebody trusted is asked if there is one.
    const trusted = [...rigs].some((rig) => rig.reputation.standing === "trusted");
    if (!trusted && others.some((rig) => rig.reputation.standing === "trusted")) return undefined;
    return said.text;
  }

  /** Connected rigs that could do the job and have not said anything about it. */
  #untried(job: Job): Rig[] {
    this.#fit(job.spec.capabilities);
    const rigs = new Set<Rig>();
    for (const connection of this.#list) {
      const { group, refused, rig } = connection;
      if (!group.fits || refused.has(job.spec.capabilities)) continue;
      if (!job.failures.some((failure) => failure.rig === rig && failure.weight > 0)) rigs.add(rig);
    }
    return [...rigs];
  }

  /** What to say of a job that could not be saved. */
  #lastWord(job: Job): JobFailure {
    const opinions = job.failures.filter((failure) => failure.opinion);
    const blaming = opinions.find((failure) => failure.errorClass === "input");
    const rigs = new Set(opinions.map((failure) => failure.rig));
    const said = blaming ?? (rigs.size > 1 ? opinions.at(-1) : undefined);
    return said === undefined ? { kind: "deadline", attempts: job.started } : { kind: "bad-input", text: said.text };
  }

  /** Its connection is gone; its result may still come. The caller takes care of the place that it held. */
  #lose(attempt: Attempt): void {
    const { job } = attempt;
    this.#timers.remove(attempt.due);
    attempt.due = undefined;
    attempt.state = "lost";
    if (attempt.trial) attempt.connection.rig.trials--;
    job.open--;
    if (job.open === 0) this.#hedges.delete(job);
    job.failures.push({
      rig: attempt.connection.rig,
      kind: "disconnected",
      text: "disconnected",
      like: "",
      errorClass: undefined,
      opinion: false,
      weight: 0,
    });
  }

  #cancel(attempt: Attempt, why: string, nowMs: number): void {
    const { connection } = attempt;
    if (attempt.state === "open" && attempt.late) this.#lateLoser(attempt, nowMs);
    this.#effects.push({ kind: "cancel", attempt: attempt.id, connection: connection.id, why });
    this.#release(attempt, nowMs);
  }

  /** It ran late and was not waited for. That is no failure, but it says how slow the rig is at least. */
  #lateLoser(attempt: Attempt, nowMs: number): void {
    const { connection, job } = attempt;
    const { rig } = connection;
    const cost = this.#costOf(attempt, nowMs);
    const own = rig.reputation.times.get(job.spec.kind);
    if (attempt.use.open[0] === attempt && (own === undefined || cost > own.mean)) {
      if (rig.reputation.timed(job.spec.kind, cost, undefined, nowMs)) this.#standing(rig);
    }
    if ((connection.heardMs ?? -Infinity) >= attempt.assignedMs) return;
    connection.silentInRow++;
    if (connection.silentInRow >= 3) {
      this.#fault(rig, 1, `gave no sign of life for ${connection.silentInRow} tasks in a row`, nowMs);
    }
  }

  /** Forgets an attempt and the place that it held. */
  #release(attempt: Attempt, nowMs: number): void {
    const { job } = attempt;
    this.#attempts.delete(attempt.id);
    job.attempts.delete(attempt);
    if (attempt.state === "lost") return;
    this.#timers.remove(attempt.due);
    attempt.due = undefined;
    if (attempt.trial) attempt.connection.rig.trials--;
    job.open--;
    if (job.open === 0) this.#hedges.delete(job);
    this.#releasePlace(attempt, nowMs);
  }

  #releasePlace(attempt: Attempt, nowMs: number): void {
    const { use, connection } = attempt;
    const at = use.open.indexOf(attempt);
    use.open.splice(at, 1);
    use.lastEndMs = nowMs;
    connection.open--;
    const head = use.open[0];
    if (head === undefined) {
      connection.idle++;
      if (!use.bound || this.#draining(connection)) this.#dropUse(use);
    } else if (at === 0 && !head.late && !head.arriving) {
      this.#arm(head, this.#lateAtMs(head, nowMs));
    }
  }

  // Sessions and their places

  #session(key: string): Session {
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = {
        key,
        jobs: new Set(),
        waiting: [],
        bound: undefined,
        home: undefined,
        ended: false,
        idle: undefined,
        queued: undefined,
        lateInRow: 0,
        slowInRow: 0,
      };
      this.#sessions.set(key, session);
    }
    return session;
  }

  #bind(session: Session, connection: Connection): void {
    const before = session.bound;
    if (before === connection) return;
    session.bound = connection;
    session.home = undefined;
    session.lateInRow = 0;
    session.slowInRow = 0;
    const use = connection.uses.get(session);
    if (use !== undefined) use.bound = true;
    const old = before?.uses.get(session);
    if (old === undefined) return;
    old.bound = false;
    if (old.open.length === 0) this.#dropUse(old);
  }

  /** Who saved the job keeps the session if its own connection failed or hangs. */
  #moveToWinner(winner: Attempt, nowMs: number): void {
    const { job, connection } = winner;
    const { session } = job;
    const { bound } = session;
    if (winner.state === "lost" || bound === connection || this.#tier(connection, job, nowMs) > 0) return;
    const boundFailed =
      bound === undefined || this.#tier(bound, job, nowMs) > 0 || (winner.hedge && session.lateInRow >= 2);
    if (boundFailed) this.#bind(session, connection);
  }

  /** Gives up an idle session's place; call it only where one is idle. The longest unused one loses it. */
  #steal(connection: Connection): void {
    let victim: Use | undefined;
    for (const use of connection.uses.values()) {
      if (use.open.length === 0 && (victim === undefined || use.lastEndMs < victim.lastEndMs)) victim = use;
    }
    if (victim !== undefined) this.#dropUse(victim);
  }

  /** The use must be idle. */
  #dropUse(use: Use): void {
    const { session, connection } = use;
    if (!connection.uses.delete(session)) return;
    connection.idle--;
    use.bound = false;
    if (session.bound === connection) session.bound = undefined;
    if (connection.live) this.#effects.push({ kind: "unbind", session: session.key, connection: connection.id });
  }

  #closeSession(session: Session): void {
    this.#timers.remove(session.idle);
    session.idle = undefined;
    this.#dequeue(session);
    const use = session.bound?.uses.get(session);
    if (use !== undefined) this.#dropUse(use);
    this.#sessions.delete(session.key);
  }

  // Ending jobs

  #giveUp(job: Job, failure: JobFailure, nowMs: number): void {
    this.#effects.push({ kind: "give-up", job: job.spec.job, failure });
    const inputIsBad = failure.kind === "bad-input";
    for (const entry of job.failures) {
      // Without a result nobody knows whose fault it was: only what cannot be the input's counts.
      if (entry.weight > 0 && !entry.opinion && !inputIsBad) this.#fault(entry.rig, entry.weight, entry.text, nowMs);
    }
    for (const attempt of job.attempts) {
      if (failure.kind === "deadline" && attempt.state === "open" && attempt.late) {
        this.#fault(attempt.connection.rig, 1, "no answer before the deadline", nowMs);
      }
      this.#cancel(attempt, inputIsBad ? "the input is bad" : "the job was given up", nowMs);
    }
    this.#finish(job, nowMs);
  }

  /** Forgets the job and whatever still belongs to it. */
  #finish(job: Job, nowMs: number): void {
    const { session } = job;
    for (const attempt of job.attempts) this.#release(attempt, nowMs);
    this.#timers.remove(job.deadline);
    this.#timers.remove(job.hope);
    this.#timers.remove(job.wake);
    this.#hedges.delete(job);
    this.#jobs.delete(job.spec.job);
    session.jobs.delete(job);
    const at = session.waiting.indexOf(job);
    if (at >= 0) {
      session.waiting.splice(at, 1);
      this.#enqueue(session);
    }
    if (session.jobs.size > 0) return;
    if (session.ended) this.#closeSession(session);
    else session.idle = this.#timers.add(nowMs + this.#options.sessionIdleMs, { kind: "idle", session });
  }

  #due(timer: Timer, nowMs: number): void {
    switch (timer.kind) {
      case "deadline":
        timer.job.deadline = undefined;
        this.#giveUp(timer.job, this.#lastWord(timer.job), nowMs);
        break;
      case "late":
        timer.attempt.due = undefined;
        this.#onLate(timer.attempt, nowMs);
        break;
      case "idle":
        this.#closeSession(timer.session);
        break;
      case "hope":
        timer.job.hope = undefined;
        this.#hopeFor(timer.job, nowMs);
        break;
      case "wake":
        // The pump that follows every tick does the rest.
        timer.job.wake = undefined;
        break;
      case "busy":
        break;
    }
  }

  /** A job that nobody connected can do waits while somebody who can is expected back, else it is given up. */
  #hopeFor(job: Job, nowMs: number): void {
    if (job.open > 0 || job.hope !== undefined || !this.#jobs.has(job.spec.job)) return;
    const need = job.spec.capabilities;
    this.#fit(need);
    if (this.#list.some((connection) => connection.group.fits && !connection.refused.has(need))) return;
    let untilMs = (this.#startedMs ?? nowMs) + this.#options.startGraceMs;
    for (const rig of this.#rigs.values()) {
      if (rig.goneMs !== undefined && (rig.capabilities & need) === need) {
        untilMs = Math.max(untilMs, rig.goneMs + this.#options.returnGraceMs);
      }
    }
    if (untilMs > nowMs) job.hope = this.#timers.add(untilMs, { kind: "hope", job });
    else this.#giveUp(job, { kind: "no-capable-worker" }, nowMs);
  }

  /** The last connection of its kind is gone: waiting jobs may have nobody left. */
  #loseHope(nowMs: number): void {
    for (const session of this.#sessions.values()) {
      for (const job of session.waiting.slice()) this.#hopeFor(job, nowMs);
    }
  }

  // Rigs

  #rig(name: RigName, nowMs: number): Rig {
    const key = formatRig(name);
    let rig = this.#rigs.get(key);
    if (rig !== undefined) return rig;
    rig = {
      name,
      key,
      reputation: new Reputation(this.#options, nowMs),
      log: new DecisionLog(this.#options.decisionsKept),
      connections: new Set(),
      draining: false,
      capabilities: 0n,
      seenMs: nowMs,
      goneMs: undefined,
      workMs: undefined,
      trials: 0,
    };
    this.#rigs.set(key, rig);
    // Anybody may register under any number of names.
    if (this.#rigs.size > this.#options.rememberedRigs) {
      for (const [other, { connections }] of this.#rigs) {
        if (connections.size > 0 || other === key) continue;
        this.#rigs.delete(other);
        break;
      }
    }
    return rig;
  }

  #fault(rig: Rig, weight: number, why: string, nowMs: number): void {
    if (rig.reputation.fault(weight, why, nowMs)) this.#standing(rig);
  }

  #standing(rig: Rig): void {
    const { standing, reason } = rig.reputation;
    this.#effects.push({ kind: "standing", rig: rig.name, standing, reason });
  }

  #draining(connection: Connection): boolean {
    return connection.draining || connection.rig.draining;
  }

  #setDraining(target: RigName | ConnectionId, draining: boolean, nowMs: number): Connection[] {
    if (typeof target === "string") {
      const connection = this.#connections.get(target);
      if (connection === undefined) return [];
      connection.draining = draining;
      return [connection];
    }
    const rig = this.#rig(target, nowMs);
    rig.draining = draining;
    if (!draining) for (const connection of rig.connections) connection.draining = false;
    return [...rig.connections];
  }

  #joinGroup(bits: bigint): CapabilityGroup {
    let group = this.#groups.get(bits);
    if (group === undefined) {
      group = { bits, connections: 0, fits: false };
      this.#groups.set(bits, group);
    }
    group.connections++;
    return group;
  }

  #leaveGroup({ group }: Connection): void {
    group.connections--;
    if (group.connections === 0) this.#groups.delete(group.bits);
  }

  /** Marks the groups that have these capabilities. */
  #fit(need: bigint): void {
    for (const group of this.#groups.values()) group.fits = (group.bits & need) === need;
  }

  #view(rig: Rig, nowMs: number): RigView {
    const { reputation } = rig;
    const connections = Array.from(rig.connections, (connection): ConnectionView => {
      return {
        connection: connection.id,
        capacity: connection.capacity,
        sessions: connection.uses.size,
        inFlight: connection.open,
        draining: this.#draining(connection),
        avoided: connection.silentUntilMs > nowMs || connection.busyUntilMs > nowMs,
        connectedMs: connection.connectedMs,
        lastHeardMs: connection.heardMs,
      };
    });
    const sum = (of: (connection: ConnectionView) => number) => connections.reduce((total, c) => total + of(c), 0);
    const draining = connections.every((connection) => connection.draining);
    return {
      rig: rig.name,
      state: connections.length === 0 ? "gone" : draining ? "draining" : "connected",
      connections,
      capacity: sum((connection) => connection.capacity),
      sessions: sum((connection) => connection.sessions),
      inFlight: sum((connection) => connection.inFlight),
      draining: rig.draining,
      standing: reputation.standing,
      reason: reputation.reason,
      standingSinceMs: reputation.sinceMs,
      success: reputation.health,
      accepted: reputation.accepted,
      failed: reputation.failed,
      claimsDiffered: reputation.differed,
      claimsLied: reputation.lied,
      speeds: Array.from(reputation.times.entries(), ([kind, times]) => {
        return { kind, realTimeRatio: times.mean > 0 ? 1 / times.mean : 0, results: times.count };
      }),
      lastSeenMs: rig.seenMs,
      lastWorkMs: rig.workMs,
    };
  }

  // Effects

  #begin(nowMs: number): void {
    this.#startedMs ??= nowMs;
  }

  #end(): Effect[] {
    const effects = this.#effects;
    if (effects.length > 0) this.#effects = [];
    return effects;
  }
}

function tierWord(tier: number): PassedOver {
  if (tier >= FAILED_IT) return "failed-it";
  if (tier >= DRAINING) return "draining";
  if (tier >= BARRED) return "barred";
  if ((tier & SILENT) !== 0) return "silent";
  return "probation";
}

/** They name the same trouble: in the same words, or both blame the input, or one does and the other's result shows it. */
function alike(a: Failure, b: Failure): boolean {
  if (a.errorClass === "input" && b.errorClass === "input") return true;
  if (a.errorClass === "input" && b.kind === "invalid-result") return true;
  if (b.errorClass === "input" && a.kind === "invalid-result") return true;
  return a.kind === b.kind && a.like === b.like;
}
