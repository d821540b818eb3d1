import { type Clock, createEventBudget, errorText, type Logger, plainText } from "@openpool/base";
import {
  formatRig,
  INVALID_VIDEO,
  type MediaProbe,
  probeMedia,
  type RigName,
  type WorkerAddress,
} from "@openpool/protocol";
import type { Body } from "../bodies/body.ts";
import type { Dispatcher } from "../dispatch/index.ts";
import type { AttemptFailure, AttemptId, ConnectionId, Effect, JobId } from "../dispatch/types.ts";
import { creditFor } from "../ledger/credit-for.ts";
import type { Store } from "../store/types.ts";
import { judgeInput, kindOfWork, verifyResult, workedMs } from "../verify/index.ts";
import type { Connection, Connections } from "../workers/connections.ts";
import { newAttemptId } from "./attempt-id.ts";
import type { Job, JobOutcome, JobRendition, Work } from "./job.ts";
import { failureOutcome, lostCheck } from "./lost-outcomes.ts";
import { randomView } from "./random-bytes.ts";
import { mostOfResult, type ResultLimits } from "./result-limits.ts";
import { taskOf, teardownOf } from "./task-message.ts";

export interface DeskOptions {
  readonly generation: number;
  /** What gateways dial; workers that dialled nothing usable are sent here for their source. */
  readonly serviceUri: string;
}

export interface DeskDeps {
  readonly dispatcher: Dispatcher;
  readonly connections: Connections;
  readonly store: Store;
  /** What a worker is promised at this moment. */
  readonly termsOf: (worker: WorkerAddress) => { readonly version: number; readonly commissionPpm: bigint };
  readonly logger: Logger;
  readonly clock: Clock;
  /** Told of every answered or lost job, for metrics. */
  readonly onJobEnd?: (end: { readonly outcome: JobOutcome; readonly job: Job; readonly tookMs: number }) => void;
}

/** One attempt in progress: the task as the worker knows it. */
interface Attempt {
  readonly id: AttemptId;
  readonly job: RunningJob;
  readonly rig: RigName;
  readonly connection: ConnectionId;
  readonly urlToken: string;
  readonly startedMs: number;
  readonly hedge: boolean;
  /** The worker asked for the source: it knows of its task. */
  known: boolean;
  /** What to do when the attempt ends: cut off what the worker is still downloading. */
  readonly onClosed: Set<() => void>;
}

interface RunningJob {
  readonly job: Work;
  /** Undefined: a check, which nobody pays for. */
  readonly paid: Job | undefined;
  readonly startedMs: number;
  readonly attempts: Map<AttemptId, Attempt>;
  source: MediaProbe | undefined;
  /** A valid result is in: nothing else counts any more. */
  decided: boolean;
  finish(outcome: JobOutcome): void;
}

/** A result as it was uploaded: views into `body`. */
export interface UploadedResult {
  readonly body: Body;
  readonly parts: readonly {
    readonly data: Uint8Array;
    readonly claimedPixels: bigint;
    readonly perceptualHash: Uint8Array | undefined;
  }[];
}

/** A task crossed its worker's goodbye on the way: nobody who has one takes longer to ask for the source. */
const ASKED_WITHIN_MS = 1_000;
/** Attempts that are remembered after their end: those whose worker may still say that it stopped. */
const REMEMBERED_ATTEMPTS = 4_096;
/** Time between polls of a policy that has nothing planned; new facts wake it anyway. */
const IDLE_TICK_MS = 5_000;

/**
 * Where jobs meet workers: asks the dispatcher what to do, does it, and carries what happens back to it. A job leaves
 * here answered once, with its credit durable, or lost with a reason.
 */
export class JobDesk {
  readonly #options: DeskOptions;
  readonly #deps: DeskDeps;
  readonly #jobs = new Map<JobId, RunningJob>();
  readonly #attempts = new Map<AttemptId, Attempt>();
  readonly #byUrlToken = new Map<string, Attempt>();
  /** Running checks, one a connection at most. */
  readonly #checks = new Map<ConnectionId, RunningJob>();
  /** The newest that have ended. */
  readonly #ended = new Set<AttemptId>();
  /** Connections that take no more tasks and have some still. */
  readonly #finishing = new Set<ConnectionId>();
  /** The source of each running stream, as last seen. */
  readonly #shapes = new Map<string, MediaProbe>();
  /** How many lost jobs, and how many failures of one rig, may fill the event log. */
  readonly #lostBudget: (key: string) => boolean;
  readonly #rigBudget: (key: string) => boolean;
  #cancelTick = (): void => {};
  #tickAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(options: DeskOptions, deps: DeskDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#lostBudget = createEventBudget({ burst: 600, perMinute: 120 }, deps.clock);
    this.#rigBudget = createEventBudget({ burst: 60, perMinute: 60 }, deps.clock);
  }

  get jobsInFlight(): number {
    return this.#jobs.size - this.#checks.size;
  }

  /** Some job has no worker at the moment. */
  get hasWaitingJobs(): boolean {
    // An attempt whose connection is gone is kept, for its result may still come: nobody works on it here.
    const isOpen = ({ connection }: Attempt): boolean => this.#deps.connections.get(connection) !== undefined;
    for (const running of this.#jobs.values()) {
      if (!running.decided && ![...running.attempts.values()].some(isOpen)) return true;
    }
    return false;
  }

  /** Attempts that are open on a connection. */
  attemptsOn(connection: ConnectionId): number {
    let count = 0;
    for (const attempt of this.#attempts.values()) if (attempt.connection === connection) count++;
    return count;
  }

  #now(): number {
    return this.#deps.clock.monotonicMs();
  }

  /**
   * Runs a job to its end. The input may still be arriving; whoever started it calls `inputComplete` once it is proved,
   * or `abandon`.
   */
  run(job: Job): Promise<JobOutcome> {
    return new Promise((resolve) => {
      const { startedMs } = this.#enter(job, job, (outcome) => {
        this.#deps.onJobEnd?.({ outcome, job, tookMs: this.#now() - startedMs });
        // Anybody can send what cannot be transcoded, as fast as they like.
        if (outcome.kind === "failed" && this.#lostBudget("")) {
          this.#record("job.failed", undefined, {
            job: job.id,
            source: job.source,
            seq: job.seq.toString(),
            reason: outcome.reason,
            text: outcome.text,
          });
        }
        resolve(outcome);
      });
      this.#apply(
        this.#deps.dispatcher.submit(
          {
            job: job.id,
            session: job.session,
            seq: job.seq,
            durationMs: job.durationMs,
            need: job.need,
            // Of a source that is still arriving nobody knows the shape yet; a stream seldom changes it.
            kind: kindOfWork(this.#shapes.get(job.session), job.profiles),
            deadlineMs: job.deadlineMs,
            inputArriving: job.input.state !== "confirmed",
          },
          startedMs,
        ),
      );
    });
  }

  /**
   * Gives one connection work that nobody asked for, to see whether it can: delivered and verified as any task, and neither
   * credited nor weighed by dispatch. It holds no place: work that is paid ends it (`abandoned`), and so does a second check.
   */
  check(work: Work, connection: ConnectionId): Promise<JobOutcome> {
    return new Promise((resolve) => {
      this.#checks.get(connection)?.finish({ kind: "abandoned" });
      const running = this.#enter(work, undefined, (outcome) => {
        cancel();
        if (this.#checks.get(connection) === running) this.#checks.delete(connection);
        // The transcoder frees its encoder.
        this.#deps.connections.get(connection)?.notify(teardownOf(work.session));
        resolve(outcome);
      });
      this.#checks.set(connection, running);
      const cancel = this.#deps.clock.after(work.deadlineMs - this.#now(), () =>
        running.finish(lostCheck("no answer in time")),
      );
      this.#assign(running, { attempt: newAttemptId(this.#options.generation), connection, hedge: false });
    });
  }

  #enter(job: Work, paid: Job | undefined, onEnd: (outcome: JobOutcome) => void): RunningJob {
    const letGo = job.input.hold();
    let finished = false;
    const running: RunningJob = {
      job,
      paid,
      startedMs: this.#now(),
      attempts: new Map(),
      source: undefined,
      decided: false,
      finish: (outcome) => {
        if (finished) {
          if (outcome.kind === "done") outcome.release();
          return;
        }
        finished = true;
        for (const attempt of running.attempts.values()) this.#close(attempt);
        this.#jobs.delete(job.id);
        letGo();
        onEnd(outcome);
      },
    };
    this.#jobs.set(job.id, running);
    return running;
  }

  /** The source is whole and is what was promised. Input that nobody can transcode ends its job here, at once. */
  inputComplete(id: JobId): void {
    const running = this.#jobs.get(id);
    if (!running) return;
    running.source = probeMedia(running.job.input.bytes);
    const judged = judgeInput(running.source);
    if (judged.kind === "hopeless") {
      this.#apply(this.#deps.dispatcher.abandon(id, this.#now()));
      running.finish({ kind: "failed", text: judged.text, reason: `the source cannot be transcoded: ${judged.text}` });
      return;
    }
    this.#shapes.set(running.job.session, running.source);
    this.#apply(this.#deps.dispatcher.inputComplete(id, this.#now()));
  }

  /** Nobody waits for the answer any more. */
  abandon(id: JobId): void {
    const running = this.#jobs.get(id);
    if (!running || running.decided) return;
    this.#apply(this.#deps.dispatcher.abandon(id, this.#now()));
    running.finish({ kind: "abandoned" });
  }

  endSession(session: string): void {
    this.#shapes.delete(session);
    this.#apply(this.#deps.dispatcher.endSession(session, this.#now()));
  }

  // ---- workers

  connected(connection: Connection): void {
    this.#apply(this.#deps.dispatcher.connect(connection, this.#now()));
  }

  disconnected(connection: ConnectionId): void {
    this.#finishing.delete(connection);
    this.#checks.get(connection)?.finish(lostCheck("its connection ended"));
    this.#apply(this.#deps.dispatcher.disconnect(connection, this.#now()));
  }

  /**
   * The worker takes no more tasks on a connection, which is still there: what it has it finishes, and nobody does it a
   * second time. It is let go when nothing is open on it.
   */
  finishing(connection: ConnectionId): void {
    this.#finishing.add(connection);
    // Nobody waits for it: a worker that leaves need not stay for it.
    this.#checks.get(connection)?.finish({ kind: "abandoned" });
    this.#apply(this.#deps.dispatcher.finishUp(connection, this.#now()));
    this.#letGo(connection);
    this.#deps.clock.after(ASKED_WITHIN_MS, () => {
      if (this.#closed) return;
      for (const attempt of this.#attempts.values()) {
        if (attempt.connection !== connection || attempt.known) continue;
        this.#apply(this.#deps.dispatcher.attemptFailed(attempt.id, { kind: "disconnected" }, this.#now()));
      }
    });
  }

  #letGo(connection: ConnectionId): void {
    if (!this.#finishing.has(connection) || this.attemptsOn(connection) > 0) return;
    this.#deps.connections.get(connection)?.end("it has finished what it had");
  }

  drainRig(rig: RigName): void {
    this.#apply(this.#deps.dispatcher.drain(rig, this.#now()));
  }

  undrainRig(rig: RigName): void {
    this.#apply(this.#deps.dispatcher.undrain(rig, this.#now()));
  }

  /** The source behind an input URL, while its attempt is open; `onClosed` hears of its end. */
  sourceOf(urlToken: string): { readonly input: Body; readonly onClosed: Set<() => void> } | undefined {
    const attempt = this.#byUrlToken.get(urlToken);
    if (attempt) attempt.known = true;
    return attempt ? { input: attempt.job.job.input, onClosed: attempt.onClosed } : undefined;
  }

  /** The open attempt with a task id, and who has it. */
  attemptOf(taskId: bigint): { readonly id: AttemptId; readonly rig: RigName } | undefined {
    return this.#attempts.get(taskId.toString() as AttemptId);
  }

  /** Whether a task id was that of an attempt that ended lately. */
  wasGivenOut(taskId: bigint): boolean {
    return this.#ended.has(taskId.toString() as AttemptId);
  }

  /** A result began to arrive: the worker is not hung. */
  resultArriving(id: AttemptId): void {
    if (this.#attempts.has(id)) this.#apply(this.#deps.dispatcher.resultArriving(id, this.#now()));
  }

  /** The most that a result of this attempt may be, while it is open. */
  limitsOf(id: AttemptId): (ResultLimits & { readonly onClosed: Set<() => void> }) | undefined {
    const attempt = this.#attempts.get(id);
    if (!attempt) return undefined;
    const { job, source } = attempt.job;
    return { ...mostOfResult(job, source), onClosed: attempt.onClosed };
  }

  /** The worker could not do it, in its own words. */
  attemptFailed(id: AttemptId, said: AttemptFailure): void {
    const attempt = this.#attempts.get(id);
    if (!attempt) return;
    // From here on it stands in reasons, logs and events.
    const failure = "text" in said ? { ...said, text: plainText(said.text) } : said;
    const text = "text" in failure ? failure.text : failure.kind;
    if (!attempt.job.paid) return attempt.job.finish(lostCheck(text));
    this.#deps.logger.debug("attempt failed", {
      job: attempt.job.job.id,
      rig: formatRig(attempt.rig),
      kind: failure.kind,
      text,
    });
    if (this.#rigBudget(formatRig(attempt.rig))) {
      this.#record("attempt.failed", attempt.rig, {
        job: attempt.job.job.id,
        attempt: id,
        kind: failure.kind,
        text,
        tookMs: Math.round(this.#now() - attempt.startedMs),
      });
    }
    this.#apply(this.#deps.dispatcher.attemptFailed(id, failure, this.#now()));
    if (failure.kind !== "late") this.#close(attempt);
  }

  /** A result arrived whole. It counts if it is valid and the first. */
  result(id: AttemptId, uploaded: UploadedResult): void {
    const attempt = this.#attempts.get(id);
    const running = attempt?.job;
    if (!attempt || !running || running.decided) return;
    const { job } = running;
    if (job.input.state !== "confirmed") {
      // The last byte was kept back: nobody can have transcoded it.
      this.attemptFailed(id, { kind: "invalid-result", text: "it came before its source was complete" });
      return;
    }
    running.source ??= probeMedia(job.input.bytes);
    const verdict = verifyResult({
      source: running.source,
      durationMs: job.durationMs,
      profiles: job.profiles,
      ...(job.clip ? { clip: job.clip } : {}),
      perceptualHash: job.perceptualHash,
      renditions: uploaded.parts,
    });
    if (verdict.kind === "invalid") {
      this.attemptFailed(id, { kind: "invalid-result", text: verdict.reason });
      return;
    }
    running.decided = true;
    const renditions: JobRendition[] = verdict.renditions.map((one, i) => ({
      profile: job.profiles[i]!,
      data: uploaded.parts[i]!.data,
      pixels: one.pixels,
      perceptualHash: uploaded.parts[i]!.perceptualHash,
    }));
    const done = {
      kind: "done",
      renditions,
      earner: attempt.rig,
      sourcePixels: pixelsOf(running.source),
      release: uploaded.body.hold(),
    } as const;
    if (!running.paid) return running.finish({ ...done, creditMs: 0 });
    const now = this.#now();
    this.#apply(this.#deps.dispatcher.resultAccepted(id, now));
    if (verdict.claims !== "exact") {
      this.#apply(this.#deps.dispatcher.claimDiffered(id, verdict.claims, now));
      if (this.#rigBudget(formatRig(attempt.rig))) {
        this.#record("claim.differed", attempt.rig, {
          job: job.id,
          degree: verdict.claims,
          claimedPixels: verdict.renditions.map((one) => one.claimedPixels.toString()),
          measuredPixels: verdict.renditions.map((one) => one.pixels.toString()),
        });
      }
    }
    void this.#settle(running, running.paid, attempt, done, {
      renditions: verdict.renditions.map((one) => ({
        width: one.width,
        height: one.height,
        frames: one.frames,
        pixels: one.pixels.toString(),
        claimedPixels: one.claimedPixels.toString(),
      })),
      tookMs: Math.round(now - attempt.startedMs),
      durationMs: workedMs(running.source, job, verdict.renditions),
    });
  }

  /** Books the work, then lets the answer out: nothing is answered without its record. */
  async #settle(
    running: RunningJob,
    job: Job,
    attempt: Attempt,
    done: Omit<JobOutcome & { kind: "done" }, "creditMs">,
    measured: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const pixels = done.renditions.reduce((sum, one) => sum + one.pixels, 0n);
    const terms = this.#deps.termsOf(attempt.rig.worker);
    const deadline = new AbortController();
    const verifiedMs = this.#now();
    const cancel = this.#deps.clock.after(job.deadlineMs - verifiedMs, () => deadline.abort());
    try {
      await this.#deps.store.credit(
        {
          job: job.id,
          earner: attempt.rig,
          segments: 1,
          ...creditFor({ pixels, price: job.price, commissionPpm: terms.commissionPpm }),
          data: {
            ...measured,
            termsVersion: terms.version,
            source: job.source,
            priceSource: job.priceSource,
            seq: job.seq.toString(),
            attempts: running.attempts.size,
            hedged: attempt.hedge,
          },
        },
        deadline.signal,
      );
      running.finish({ ...done, creditMs: this.#now() - verifiedMs });
    } catch (error) {
      done.release();
      this.#deps.logger.warn("a result could not be recorded in time and is not answered", {
        job: job.id,
        rig: formatRig(attempt.rig),
        error: errorText(error),
      });
      running.finish({
        kind: "failed",
        text: INVALID_VIDEO,
        reason: `the credit could not be made durable: ${errorText(error)}`,
      });
    } finally {
      cancel();
    }
  }

  #close(attempt: Attempt): void {
    if (!this.#attempts.delete(attempt.id)) return;
    this.#byUrlToken.delete(attempt.urlToken);
    this.#ended.add(attempt.id);
    const [oldest] = this.#ended;
    if (this.#ended.size > REMEMBERED_ATTEMPTS && oldest !== undefined) this.#ended.delete(oldest);
    for (const callback of attempt.onClosed) callback();
    // Later: who closes it is in the middle of deciding.
    if (this.#finishing.has(attempt.connection)) queueMicrotask(() => this.#letGo(attempt.connection));
  }

  // ---- doing what the policy says

  #apply(effects: readonly Effect[]): void {
    for (const effect of effects) this.#do(effect);
    this.#schedule();
  }

  #do(effect: Effect): void {
    switch (effect.kind) {
      case "assign": {
        const running = this.#jobs.get(effect.job);
        // The policy believes in something that is gone: tell it, or the job would wait for nobody.
        if (running && this.#deps.connections.get(effect.connection)) this.#assign(running, effect);
        else queueMicrotask(() => this.#neverStarted(effect.attempt));
        return;
      }
      case "cancel": {
        const attempt = this.#attempts.get(effect.attempt);
        if (attempt) this.#close(attempt);
        return;
      }
      case "give-up": {
        const running = this.#jobs.get(effect.job);
        if (running) running.finish(failureOutcome(effect.failure));
        return;
      }
      case "unbind":
      case "stop":
        this.#deps.connections.get(effect.connection)?.notify(teardownOf(effect.session));
        return;
      case "standing":
        this.#deps.logger.info("standing of a rig changed", {
          rig: formatRig(effect.rig),
          standing: effect.standing,
          reason: effect.reason,
        });
        this.#record("rig.standing", effect.rig, { standing: effect.standing, reason: effect.reason });
        return;
    }
  }

  #neverStarted(id: AttemptId): void {
    this.#apply(this.#deps.dispatcher.attemptFailed(id, { kind: "disconnected" }, this.#now()));
  }

  #assign(
    running: RunningJob,
    { attempt: id, connection: to, hedge }: Pick<Effect & { kind: "assign" }, "attempt" | "connection" | "hedge">,
  ): void {
    const connection = this.#deps.connections.get(to);
    if (!connection) return running.finish(lostCheck("its connection ended"));
    if (running.paid) this.#checks.get(to)?.finish({ kind: "abandoned" });
    const attempt: Attempt = {
      id,
      job: running,
      rig: connection.rig,
      connection: to,
      urlToken: randomView(16).toString("base64url"),
      startedMs: this.#now(),
      hedge,
      known: false,
      onClosed: new Set(),
    };
    this.#attempts.set(attempt.id, attempt);
    this.#byUrlToken.set(attempt.urlToken, attempt);
    running.attempts.set(attempt.id, attempt);
    const base = /^[^/\s@?#]+:\d{1,5}$/.test(connection.authority)
      ? `https://${connection.authority}`
      : this.#options.serviceUri;
    const url = `${base}/stream/${this.#options.generation}/source/${attempt.urlToken}.ts`;
    let told = false;
    try {
      told = connection.notify(taskOf(running.job, attempt.id, url));
    } catch (error) {
      // One job must not stop the others that wait in the same round.
      this.#deps.logger.error("a task could not be sent", { job: running.job.id, error: errorText(error) });
    }
    if (!told) queueMicrotask(() => this.attemptFailed(attempt.id, { kind: "disconnected" }));
  }

  /** Sets the one timer of the policy. */
  #schedule(): void {
    if (this.#closed) return;
    const now = this.#now();
    const at = this.#deps.dispatcher.nextTickMs() ?? now + IDLE_TICK_MS;
    if (this.#tickAtMs <= at && this.#tickAtMs > now) return;
    this.#cancelTick();
    this.#tickAtMs = at;
    this.#cancelTick = this.#deps.clock.after(at - now, () => {
      this.#tickAtMs = Number.POSITIVE_INFINITY;
      this.#apply(this.#deps.dispatcher.tick(this.#now()));
    });
  }

  #record(type: string, rig: RigName | undefined, data: Readonly<Record<string, unknown>>): void {
    this.#deps.store.append([{ type, worker: rig?.worker, rig: rig?.rig, data }]).catch((error: unknown) => {
      this.#deps.logger.warn("an event was not recorded", { type, error: errorText(error) });
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancelTick();
    for (const running of this.#jobs.values()) running.finish({ kind: "abandoned" });
  }
}

function pixelsOf(source: MediaProbe | undefined): bigint {
  const video = source?.kind === "media" ? source.video : undefined;
  return video ? BigInt(video.width) * BigInt(video.height) * BigInt(video.frames) : 0n;
}
