import { DEFAULT_RIG, misfit, type Need, needOf, type RigName, type WorkerAddress } from "@openpool/protocol";
import {
  type AttemptId,
  type ConnectionId,
  defaultDispatchOptions,
  type DispatchJob,
  type DispatchOptions,
  Dispatcher,
  type Effect,
  type JobId,
} from "../../packages/pool/src/dispatch/index.ts";
import { seeded } from "../chance.ts";

/** How a rig behaves; probabilities are per attempt. */
export interface RigPlan {
  readonly name: RigName;
  readonly capacity: number;
  readonly capabilities: bigint;
  readonly version: string;
  /** Time of work per time of source. */
  readonly cost: number;
  /** Share by which its times vary. */
  readonly jitter: number;
  readonly hangs: number;
  readonly errors: number;
  readonly invalid: number;
  readonly lies: number;
  /** Tasks that cannot be handed over although its connection is still there. */
  readonly untaken: number;
  /** Connections end after about this long. */
  readonly staysMs: number;
  /** And come back after about this long. */
  readonly awayMs: number;
  /** Works on after its connection ended, and uploads the result. */
  readonly delivers: boolean;
  /** Segments of one session that it takes before it says that it is busy. */
  readonly queue: number;
  /** Its bad days: between the two times everything it does fails. */
  readonly illFromMs: number;
  readonly illUntilMs: number;
}

export interface StreamPlan {
  readonly session: string;
  readonly startMs: number;
  readonly segments: number;
  readonly durationMs: number;
  readonly intervalMs: number;
  readonly need: Need;
  readonly kind: string;
  /** Probabilities per segment. */
  readonly badInput: number;
  readonly abandoned: number;
  /** The gateway says when it is over; otherwise it idles out. */
  readonly ends: boolean;
  /** Sources take this long to arrive after their job was submitted. */
  readonly uploadMs: number;
}

export interface WorldPlan {
  readonly rigs: readonly RigPlan[];
  readonly streams: readonly StreamPlan[];
  /** Registrations and streams are over after this. */
  readonly endMs: number;
  /** How late the caller may be with `tick`. */
  readonly tickLagMs: number;
  /** Rigs that are told to drain now and then. */
  readonly drains: boolean;
  /** There is a rig that is always there, fast and with room: no good segment may be lost. */
  readonly angel: boolean;
  /** Each rig fails in its own words. Two that fail alike by chance are rightly taken for bad input. */
  readonly ownWords: boolean;
}

interface Place {
  readonly open: Set<AttemptId>;
}

interface WorldConnection {
  readonly id: ConnectionId;
  readonly rig: WorldRig;
  readonly capacity: number;
  readonly places: Map<string, Place>;
  /** When the last task of each session will be done: rigs work through a session one by one. */
  readonly doneMs: Map<string, number>;
  busyUntilMs: number;
}

interface WorldRig {
  readonly plan: RigPlan;
  connection: WorldConnection | undefined;
  accepted: number;
  assigned: number;
}

interface WorldAttempt {
  readonly id: AttemptId;
  readonly job: WorldJob;
  readonly connection: WorldConnection;
  readonly session: string;
  readonly atMs: number;
  lost: boolean;
}

interface WorldJob {
  readonly spec: DispatchJob;
  readonly bad: boolean;
  readonly submittedMs: number;
  readonly attempts: Map<AttemptId, WorldAttempt>;
  readonly failedBy: Set<WorldRig>;
  started: number;
  inputMs: number;
  state: "open" | "answered" | "lost" | "abandoned";
}

export interface WorldResult {
  readonly answered: number;
  readonly lost: number;
  readonly abandoned: number;
  readonly badInput: number;
  readonly events: number;
  readonly assigned: number;
  readonly hedges: number;
  /** A fingerprint of every effect, in order. */
  readonly hash: number;
  readonly rigs: ReadonlyMap<string, { readonly assigned: number; readonly accepted: number }>;
  readonly dispatcher: Dispatcher;
  readonly nowMs: number;
}

const INPUT_TEXTS = ["Invalid data found when processing input", "TranscoderInvalidVideo"];
const ERROR_TEXTS = [
  "Conversion failed!",
  "Cannot allocate memory",
  "404 Not Found",
  'Get "https://pool:8935/stream/1/a.ts": context deadline exceeded',
  "segment / profile mismatch",
  "Unknown error occurred",
];

/** What the policy did wrong. */
export class Violation extends Error {}

/**
 * A pool's surroundings, played from a plan: rigs that work, fail, hang, lie, leave and return, gateways that stream,
 * leave and send rubbish. Carries out what the dispatcher says and checks every effect against what it knows itself.
 */
export class World {
  readonly #plan: WorldPlan;
  readonly #random: () => number;
  readonly #dispatcher: Dispatcher;
  readonly #options: DispatchOptions;
  readonly #events: { atMs: number; order: number; run: () => void }[] = [];
  readonly #connections = new Map<ConnectionId, WorldConnection>();
  readonly #rigs: WorldRig[];
  readonly #attempts = new Map<AttemptId, WorldAttempt>();
  readonly #jobs = new Map<JobId, WorldJob>();
  readonly #seen = new Set<string>();
  #order = 0;
  #ids = 0;
  #nowMs = 0;
  #count = 0;
  #assigned = 0;
  #hedges = 0;
  #hash = 2_166_136_261;
  readonly #tally = { answered: 0, lost: 0, abandoned: 0, badInput: 0 };

  constructor(plan: WorldPlan, random: () => number, options: Partial<DispatchOptions> = {}) {
    this.#plan = plan;
    this.#random = random;
    this.#options = { ...defaultDispatchOptions, ...options };
    this.#rigs = plan.rigs.map((rig) => ({ plan: rig, connection: undefined, accepted: 0, assigned: 0 }));
    this.#dispatcher = new Dispatcher(this.#options, { random, newAttemptId: () => this.#id("a") as AttemptId });
    for (const rig of this.#rigs) {
      const first = rig.plan.staysMs === Infinity ? 0 : random() * rig.plan.awayMs * 0.5;
      this.#at(first, () => this.#connect(rig));
    }
    for (const stream of plan.streams) this.#stream(stream);
    if (plan.drains) this.#at(random() * plan.endMs * 0.5, () => this.#drainSomebody());
  }

  run(): WorldResult {
    for (;;) {
      const tickMs = this.#dispatcher.nextTickMs();
      const event = this.#events[0];
      if (event === undefined && tickMs === undefined) break;
      if (tickMs !== undefined && (event === undefined || tickMs <= event.atMs)) {
        const lag = this.#random() * this.#plan.tickLagMs;
        const atMs = event === undefined ? tickMs + lag : Math.min(tickMs + lag, event.atMs);
        this.#nowMs = Math.max(this.#nowMs, atMs, tickMs);
        this.#apply(this.#dispatcher.tick(this.#nowMs));
        const next = this.#dispatcher.nextTickMs();
        this.#check(next === undefined || next > this.#nowMs, `tick at ${this.#nowMs} left something due at ${next}`);
      } else if (event !== undefined) {
        this.#popEvent();
        this.#nowMs = Math.max(this.#nowMs, event.atMs);
        event.run();
      }
      this.#count++;
      this.#check(this.#count < 500_000, "no end in sight");
      this.#checkNobodyWaitsInVain();
    }
    this.#checkAllOver();
    return {
      ...this.#tally,
      events: this.#count,
      assigned: this.#assigned,
      hedges: this.#hedges,
      hash: this.#hash,
      rigs: new Map(
        this.#rigs.map((rig) => [
          `${rig.plan.name.worker}.${rig.plan.name.rig}`,
          { assigned: rig.assigned, accepted: rig.accepted },
        ]),
      ),
      dispatcher: this.#dispatcher,
      nowMs: this.#nowMs,
    };
  }

  // Gateways

  #stream(plan: StreamPlan): void {
    for (let i = 0; i < plan.segments; i++) {
      const atMs = plan.startMs + i * plan.intervalMs;
      if (atMs > this.#plan.endMs) break;
      this.#at(atMs, () => this.#submit(plan, i));
    }
    if (plan.ends) {
      // Some gateways end a session more than once, or while segments are still under way.
      const overMs = plan.startMs + plan.segments * plan.intervalMs + this.#random() * 3_000;
      this.#at(overMs, () => this.#apply(this.#dispatcher.endSession(plan.session, this.#nowMs)));
      if (this.#random() < 0.3) {
        this.#at(overMs - 2_000, () => this.#apply(this.#dispatcher.endSession(plan.session, this.#nowMs)));
      }
    }
  }

  #submit(plan: StreamPlan, seq: number): void {
    const spec: DispatchJob = {
      job: this.#id("j") as JobId,
      session: plan.session,
      seq: BigInt(seq),
      durationMs: plan.durationMs,
      need: plan.need,
      kind: plan.kind,
      deadlineMs: this.#nowMs + Math.max(8_000, 4 * plan.durationMs) - 600,
      inputArriving: plan.uploadMs > 0,
    };
    const job: WorldJob = {
      spec,
      bad: this.#random() < plan.badInput,
      submittedMs: this.#nowMs,
      attempts: new Map(),
      failedBy: new Set(),
      started: 0,
      inputMs: this.#nowMs + plan.uploadMs,
      state: "open",
    };
    this.#jobs.set(spec.job, job);
    this.#apply(this.#dispatcher.submit(spec, this.#nowMs));
    if (plan.uploadMs > 0) {
      this.#at(job.inputMs, () => this.#apply(this.#dispatcher.inputComplete(spec.job, this.#nowMs)));
    }
    if (this.#random() < plan.abandoned) {
      this.#at(this.#nowMs + this.#random() * 3_000, () => {
        if (job.state !== "open") return;
        this.#apply(this.#dispatcher.abandon(spec.job, this.#nowMs), job);
        this.#end(job, "abandoned");
      });
    }
  }

  // Rigs

  #connect(rig: WorldRig): void {
    if (this.#nowMs > this.#plan.endMs) return;
    const { plan } = rig;
    const connection: WorldConnection = {
      id: this.#id("c") as ConnectionId,
      rig,
      capacity: plan.capacity,
      places: new Map(),
      doneMs: new Map(),
      busyUntilMs: 0,
    };
    rig.connection = connection;
    this.#connections.set(connection.id, connection);
    this.#apply(
      this.#dispatcher.connect(
        {
          connection: connection.id,
          rig: plan.name,
          capacity: plan.capacity,
          capabilities: plan.capabilities,
          version: plan.version,
        },
        this.#nowMs,
      ),
    );
    if (plan.staysMs === Infinity) return;
    this.#at(this.#nowMs + this.#about(plan.staysMs), () => this.#disconnect(rig, connection));
  }

  #disconnect(rig: WorldRig, connection: WorldConnection): void {
    if (!this.#connections.delete(connection.id)) return;
    rig.connection = undefined;
    for (const attempt of this.#attempts.values()) if (attempt.connection === connection) attempt.lost = true;
    this.#apply(this.#dispatcher.disconnect(connection.id, this.#nowMs));
    this.#at(this.#nowMs + this.#about(rig.plan.awayMs), () => this.#connect(rig));
  }

  #drainSomebody(): void {
    const rig = this.#rigs[Math.floor(this.#random() * this.#rigs.length)]!;
    if (rig.plan.staysMs === Infinity) return;
    const target = this.#random() < 0.5 && rig.connection !== undefined ? rig.connection.id : rig.plan.name;
    this.#apply(this.#dispatcher.drain(target, this.#nowMs));
    this.#at(this.#nowMs + this.#random() * 20_000, () => {
      this.#apply(this.#dispatcher.undrain(target, this.#nowMs));
    });
  }

  #about(ms: number): number {
    return ms * (0.2 + 1.6 * this.#random());
  }

  /** What becomes of an attempt is decided when it starts and happens unless its connection ends first. */
  #work(attempt: WorldAttempt): void {
    const { job, connection } = attempt;
    const { plan } = connection.rig;
    const { session, durationMs } = job.spec;
    const beginMs = Math.max(this.#nowMs, job.inputMs, connection.doneMs.get(session) ?? 0);
    const workMs = plan.cost * durationMs * (1 - plan.jitter / 2 + plan.jitter * this.#random()) + 5;
    const endMs = beginMs + workMs;
    const luck = this.#random();
    if (plan.untaken > 0 && this.#random() < plan.untaken) {
      this.#at(this.#nowMs, () => this.#notTaken(attempt));
      return;
    }
    const open = connection.places.get(session)?.open.size ?? 0;
    if (open > plan.queue) {
      this.#at(this.#nowMs + 3, () => {
        if (this.#attempts.get(attempt.id) === attempt && !attempt.lost) {
          connection.busyUntilMs = this.#nowMs + this.#options.busyPauseMs;
        }
        this.#fail(attempt, "TranscoderBusy", false);
      });
      return;
    }
    connection.doneMs.set(session, endMs);
    const ill = this.#nowMs >= plan.illFromMs && this.#nowMs < plan.illUntilMs;
    if (luck < plan.hangs) return;
    if (luck < plan.hangs + plan.errors || ill) {
      const text = `${ERROR_TEXTS[Math.floor(this.#random() * ERROR_TEXTS.length)]!}${this.#accent(connection.rig)}`;
      this.#at(beginMs + workMs * this.#random(), () => this.#fail(attempt, text, false));
      return;
    }
    if (job.bad) {
      const text = INPUT_TEXTS[Math.floor(this.#random() * INPUT_TEXTS.length)]!;
      this.#at(beginMs + workMs * 0.3, () => this.#fail(attempt, text, false));
      return;
    }
    if (luck < plan.hangs + plan.errors + plan.invalid) {
      this.#at(endMs, () =>
        this.#fail(attempt, `rendition 0 has 12 frames, the source 50${this.#accent(connection.rig)}`, true),
      );
      return;
    }
    this.#at(beginMs + workMs * 0.8, () => {
      if (this.#reaches(attempt)) this.#apply(this.#dispatcher.resultArriving(attempt.id, this.#nowMs));
    });
    const lies = this.#random() < plan.lies;
    this.#at(endMs, () => this.#deliver(attempt, lies));
  }

  #accent(rig: WorldRig): string {
    return this.#plan.ownWords ? ` ${"x".repeat(1 + this.#rigs.indexOf(rig))}` : "";
  }

  #notTaken(attempt: WorldAttempt): void {
    if (this.#attempts.get(attempt.id) !== attempt || attempt.lost) return;
    const { connection } = attempt;
    attempt.lost = true;
    connection.places.get(attempt.session)?.open.delete(attempt.id);
    connection.busyUntilMs = this.#nowMs + this.#options.busyPauseMs;
    this.#apply(this.#dispatcher.attemptFailed(attempt.id, { kind: "disconnected" }, this.#nowMs));
  }

  /** The worker can still say something about it. */
  #reaches(attempt: WorldAttempt): boolean {
    return this.#attempts.get(attempt.id) === attempt && (!attempt.lost || attempt.connection.rig.plan.delivers);
  }

  #fail(attempt: WorldAttempt, text: string, invalid: boolean): void {
    if (!this.#reaches(attempt)) return;
    this.#forget(attempt);
    if (text !== "TranscoderBusy") attempt.job.failedBy.add(attempt.connection.rig);
    this.#apply(
      this.#dispatcher.attemptFailed(
        attempt.id,
        { kind: invalid ? "invalid-result" : "worker-error", text },
        this.#nowMs,
      ),
    );
  }

  #deliver(attempt: WorldAttempt, lies: boolean): void {
    const { attempts } = this.#dispatcher.size();
    this.#check(attempts === this.#attempts.size, `${attempts} attempts are wanted, ${this.#attempts.size} are open`);
    if (!this.#reaches(attempt)) return;
    const { job } = attempt;
    this.#check(job.state === "open", `a result for job ${job.spec.job} counts although it is ${job.state}`);
    this.#check(this.#nowMs <= job.spec.deadlineMs + this.#plan.tickLagMs, `job ${job.spec.job} outlives its deadline`);
    if (lies) this.#apply(this.#dispatcher.claimDiffered(attempt.id, "lies", this.#nowMs));
    this.#forget(attempt);
    attempt.connection.rig.accepted++;
    this.#apply(this.#dispatcher.resultAccepted(attempt.id, this.#nowMs), job);
    this.#end(job, "answered");
  }

  // Doing what the dispatcher says, and checking it

  #apply(effects: readonly Effect[], ending?: WorldJob): void {
    for (const effect of effects) this.#do(effect, ending);
  }

  #do(effect: Effect, ending: WorldJob | undefined): void {
    this.#mix(effect);
    switch (effect.kind) {
      case "assign": {
        const job = this.#jobs.get(effect.job);
        const connection = this.#connections.get(effect.connection);
        this.#check(job?.state === "open" && job !== ending, `${effect.attempt} assigned for a job that is over`);
        this.#check(connection !== undefined, `${effect.attempt} assigned to a connection that is gone`);
        this.#check(!this.#seen.has(effect.attempt), `${effect.attempt} assigned twice`);
        if (job === undefined || connection === undefined) return;
        this.#seen.add(effect.attempt);
        const { session, need } = job.spec;
        this.#check(misfit(connection.rig.plan, need) === undefined, `${effect.connection} cannot do ${effect.job}`);
        for (const other of job.attempts.values()) {
          this.#check(
            other.lost || other.connection !== connection,
            `${effect.job} runs twice on ${effect.connection}`,
          );
        }
        const place = connection.places.get(session) ?? { open: new Set() };
        connection.places.set(session, place);
        this.#check(connection.places.size <= connection.capacity, `${effect.connection} holds too many sessions`);
        const attempt: WorldAttempt = {
          id: effect.attempt,
          job,
          connection,
          session,
          atMs: this.#nowMs,
          lost: false,
        };
        place.open.add(attempt.id);
        this.#check(
          place.open.size <= 1 + this.#options.queuePerSession,
          `too many segments of ${session} wait on ${effect.connection}`,
        );
        this.#attempts.set(attempt.id, attempt);
        job.attempts.set(attempt.id, attempt);
        job.started++;
        connection.rig.assigned++;
        this.#assigned++;
        if (effect.hedge) {
          this.#hedges++;
          this.#check(job.attempts.size > 1, `the hedge ${effect.attempt} is the only attempt`);
        }
        this.#work(attempt);
        return;
      }
      case "cancel": {
        const attempt = this.#attempts.get(effect.attempt);
        this.#check(attempt !== undefined, `${effect.attempt} is cancelled but was not open`);
        this.#check(
          attempt?.connection.id === effect.connection,
          `${effect.attempt} is cancelled on another connection`,
        );
        if (attempt !== undefined) this.#forget(attempt);
        return;
      }
      case "give-up": {
        const job = this.#jobs.get(effect.job);
        this.#check(job?.state === "open" && job !== ending, `${effect.job} is given up but was not open`);
        if (job === undefined) return;
        if (effect.failure.kind === "bad-input") this.#tally.badInput++;
        this.#checkLoss(job, effect.failure.kind);
        this.#end(job, "lost");
        return;
      }
      case "unbind": {
        const connection = this.#connections.get(effect.connection);
        const place = connection?.places.get(effect.session);
        this.#check(place !== undefined, `${effect.session} leaves ${effect.connection}, where it is not`);
        this.#check(place?.open.size === 0, `${effect.session} leaves ${effect.connection} with work open there`);
        connection?.places.delete(effect.session);
        return;
      }
      case "stop": {
        const place = this.#connections.get(effect.connection)?.places.get(effect.session);
        this.#check(
          place?.open.size === 0,
          `${effect.session} is stopped on ${effect.connection} with work open there`,
        );
        return;
      }
      case "standing":
        return;
    }
  }

  #forget(attempt: WorldAttempt): void {
    this.#attempts.delete(attempt.id);
    attempt.job.attempts.delete(attempt.id);
    attempt.connection.places.get(attempt.session)?.open.delete(attempt.id);
  }

  #end(job: WorldJob, state: "answered" | "lost" | "abandoned"): void {
    this.#check(job.state === "open", `${job.spec.job} is ${state} after it was ${job.state}`);
    job.state = state;
    this.#tally[state]++;
    if (state !== "lost") {
      this.#check(job.attempts.size === 0, `${job.spec.job} is ${state} and left attempts behind`);
      this.#jobs.delete(job.spec.job);
    } else {
      // The cancels follow the give-up in the same breath.
      this.#at(this.#nowMs, () => {
        this.#check(job.attempts.size === 0, `${job.spec.job} is lost and left attempts behind`);
        this.#jobs.delete(job.spec.job);
      });
    }
  }

  /** With somebody always there, quick and free, only what cannot be done may be lost. */
  #checkLoss(job: WorldJob, kind: string): void {
    if (kind === "deadline") {
      this.#check(
        this.#nowMs >= job.spec.deadlineMs || job.started > 0,
        `${job.spec.job} was given up before its time`,
      );
    }
    if (!this.#plan.angel) return;
    this.#check(job.bad, `${job.spec.job} was lost (${kind}) though a good rig was free all the time`);
    this.#check(kind === "bad-input", `${job.spec.job} has bad input and was lost for another reason: ${kind}`);
  }

  /** No job may wait while somebody who could do it has a place and has not failed it before. */
  #checkNobodyWaitsInVain(): void {
    const dueMs = this.#dispatcher.nextTickMs();
    if (dueMs !== undefined && dueMs <= this.#nowMs) return;
    for (const job of this.#jobs.values()) {
      if (job.state !== "open") continue;
      let running = false;
      for (const attempt of job.attempts.values()) running ||= !attempt.lost;
      if (running) continue;
      const { session, need } = job.spec;
      for (const connection of this.#connections.values()) {
        const { plan } = connection.rig;
        if (misfit(plan, need) !== undefined || job.failedBy.has(connection.rig)) continue;
        if (connection.busyUntilMs + this.#plan.tickLagMs >= this.#nowMs) continue;
        const place = connection.places.get(session);
        const free = place === undefined ? connection.places.size < connection.capacity : place.open.size === 0;
        this.#check(!free, `${job.spec.job} waits although ${connection.id} has a place for it`);
      }
    }
  }

  #checkAllOver(): void {
    this.#check(this.#attempts.size === 0, "attempts are left over");
    this.#check(this.#jobs.size === 0, "jobs are left over");
    const size = this.#dispatcher.size();
    for (const [what, count] of Object.entries(size)) this.#check(count === 0, `${count} ${what} are left over`);
    this.#check(this.#dispatcher.load() === 0, "places are still held");
    for (const rig of this.#dispatcher.rigs(this.#nowMs)) {
      this.#check(rig.inFlight === 0 && rig.sessions === 0, `${rig.rig.rig} still holds something`);
    }
  }

  #check(good: boolean, problem: string): void {
    if (!good) throw new Violation(`at ${this.#nowMs.toFixed(1)} ms: ${problem}`);
  }

  #mix(effect: Effect): void {
    const text = JSON.stringify(effect, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
    for (let i = 0; i < text.length; i += 3) this.#hash = Math.imul(this.#hash ^ text.charCodeAt(i), 16_777_619) >>> 0;
  }

  #id(prefix: string): string {
    return `${prefix}${this.#ids++}`;
  }

  #at(atMs: number, run: () => void): void {
    const events = this.#events;
    const event = { atMs, order: this.#order++, run };
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(event, events[up]!)) break;
      events[at] = events[up]!;
      at = up;
    }
    events[at] = event;
  }

  #popEvent(): void {
    const events = this.#events;
    const last = events.pop();
    if (last === undefined || events.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && before(events[child + 1]!, events[child]!)) child++;
      if (!before(events[child]!, last)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
  }
}

function before(a: { atMs: number; order: number }, b: { atMs: number; order: number }): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

export function rigName(worker: number, rig: string = DEFAULT_RIG): RigName {
  // The policy only compares names: that the address is one was proved at registration.
  return { worker: `0x${worker.toString(16).padStart(40, "0")}` as WorkerAddress, rig };
}

export const healthy: Omit<RigPlan, "name"> = {
  capacity: 4,
  capabilities: 7n,
  version: "0.9.1",
  cost: 0.2,
  jitter: 0.3,
  hangs: 0,
  errors: 0,
  invalid: 0,
  lies: 0,
  untaken: 0,
  staysMs: Infinity,
  awayMs: 0,
  delivers: true,
  queue: 5,
  illFromMs: Infinity,
  illUntilMs: Infinity,
};

/** A world that a seed makes up: few or many rigs, mostly decent or mostly awful, crowded or idle. */
export function inventWorld(seed: number): WorldPlan {
  const random = seeded(seed);
  // What was thought of later draws from here: seeds that once failed go on meaning the same worlds.
  const later = seeded(seed ^ 0x1a7e);
  const upTo = (max: number): number => Math.floor(random() * max);
  const pick = <T>(from: readonly T[]): T => from[upTo(from.length)]!;
  const awfulness = pick([0, 0.1, 0.3, 0.7]);
  const endMs = pick([15_000, 30_000, 60_000]);
  const angel = random() < 0.5;
  const streamCount = 1 + upTo(6);
  const rigs: RigPlan[] = Array.from({ length: 1 + upTo(8) }, (_, i) => {
    const bad = (worst: number): number => (random() < awfulness ? random() * worst : 0);
    const illFromMs = random() < awfulness ? random() * endMs : Infinity;
    return {
      name: rigName(1 + upTo(6), `rig${i}`),
      capacity: 1 + upTo(4),
      capabilities: pick([7n, 7n, 3n, 1n]),
      version: "0.9.1",
      cost: pick([0.05, 0.2, 0.5, 1, 2.5]),
      jitter: random(),
      hangs: bad(0.3) + (random() < 0.1 * awfulness ? 1 : 0),
      errors: bad(0.6),
      invalid: bad(0.5),
      lies: bad(0.5),
      untaken: later() < 0.3 * awfulness ? 0.5 * later() : 0,
      staysMs: random() < 0.5 ? Infinity : 3_000 + random() * endMs,
      awayMs: 500 + random() * 8_000,
      delivers: random() < 0.5,
      queue: pick([5, 5, 1]),
      illFromMs,
      illUntilMs: illFromMs + random() * endMs,
    };
  });
  if (angel) {
    // Two of them, of different workers: bad input needs a second opinion.
    for (let i = 0; i < 2; i++) {
      rigs.push({ ...healthy, name: rigName(100 + i), capacity: 2 * streamCount, cost: 0.1 });
    }
  }
  const streams: StreamPlan[] = Array.from({ length: streamCount }, (_, i) => {
    const durationMs = pick([500, 1_000, 2_000, 4_000]);
    return {
      session: `s${i}`,
      startMs: random() * endMs * 0.5,
      segments: 1 + upTo(20),
      durationMs,
      intervalMs: pick([durationMs, durationMs, durationMs, 100, 1]),
      need: needOf(pick([1n, 1n, 3n, 7n])),
      kind: pick(["720", "1080"]),
      badInput: random() < 0.3 ? random() * 0.4 : 0,
      abandoned: random() < 0.3 ? random() * 0.3 : 0,
      ends: random() < 0.7,
      uploadMs: random() < 0.3 ? random() * 1_500 : 0,
    };
  });
  return { rigs, streams, endMs, tickLagMs: pick([0, 0, 5, 20]), drains: random() < 0.3, angel, ownWords: angel };
}

/** The same world with workers of several versions, some of none, and gateways of which some want a newer one. */
export function withVersions(plan: WorldPlan, seed: number): WorldPlan {
  const random = seeded(seed ^ 0x5e3a);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const isAngel = (rig: RigPlan): boolean => rig.name.rig === DEFAULT_RIG;
  return {
    ...plan,
    rigs: plan.rigs.map((rig) => ({
      ...rig,
      version: isAngel(rig) ? healthy.version : pick(["0.9.1", "0.9.1-2-gabc", "0.8.8", "undefined", ""]),
    })),
    streams: plan.streams.map((stream) => ({
      ...stream,
      need: needOf(stream.need.capabilities, pick(["", "", "0.9.0", "0.9.1"])),
    })),
  };
}
