import { createHash } from "node:crypto";
import {
  type Clock,
  createEventBudget,
  errorText,
  formatHostPort,
  type Logger,
  openScope,
  plainText,
  type Price,
} from "@openpool/base";
import {
  INVALID_VIDEO,
  type NotifySegment,
  type ResultPart,
  segmentTimeoutMs,
  SESSION_IDLE_MS,
} from "@openpool/protocol";
import { type Answer, createUploader, type Uploader } from "@openpool/transcoder";
import type { BodyMemory } from "../bodies/body-memory.ts";
import type { JobId } from "../dispatch/types.ts";
import type { JobDesk } from "../jobs/desk.ts";
import type { Job, JobOutcome, JobRendition, JobSource } from "../jobs/job.ts";
import { Sessions } from "../jobs/sessions.ts";
import { createUuidV7 } from "../store/index.ts";
import type { UpstreamOptions } from "../options.ts";
import type { Store } from "../store/types.ts";
import { OrchestratorLives } from "./life.ts";
import { type Link, type LinkState, openLink } from "./link.ts";
import type { NotifiedBy, Offer } from "./part.ts";
import { createPriceReader, type PriceReader, type Quote } from "./price.ts";
import { createSourceDownloader, type Downloader, sourceUrl } from "./source.ts";
import { readNotify, type Task } from "./task.ts";

export interface UpstreamDoorOptions extends UpstreamOptions {
  readonly secret: () => Promise<string>;
  readonly price: Price;
  /** What it charged when it was last asked. */
  readonly lastPrice: Price | undefined;
  /** It charges something else now. */
  readonly onPrice: (price: Price) => void;
  readonly allowedHosts: ReadonlySet<string>;
}

export interface UpstreamDoorDeps {
  readonly desk: JobDesk;
  readonly memory: BodyMemory;
  readonly store: Store;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** What the operator is told of one orchestrator. */
export interface UpstreamStatus {
  readonly name: string;
  readonly address: string;
  readonly state: LinkState["kind"] | "drained";
  /** Why it is not registered, in words; undefined while it is. */
  readonly why: string | undefined;
  /** As registered now; 0 while it is not. */
  readonly capacity: number;
  readonly sessions: number;
  readonly tasksInFlight: number;
  readonly answered: number;
  /** Tasks that were answered with an error. */
  readonly failed: number;
  /** Answers that did not get through. */
  readonly lost: number;
  readonly price: Price;
  readonly priceSource: Quote["source"];
  /** Of its go-livepeer, where its CLI port says so. */
  readonly version: string | undefined;
}

/**
 * An orchestrator ejects a transcoder that is late, as a whole. So there is time set aside for bringing the answer there, …
 */
const ANSWER_MARGIN_MS = 1_200;
/** … and what is still under way so long before the end is broken off: that is an error, not a death. */
const LAST_MARGIN_MS = 300;
/** No answer although the job's deadline has passed: then it is made here. */
const OVERDUE_MS = 150;
/** To an orchestrator; each carries what its flow control lets through. */
const MAX_UPLOAD_CONNECTIONS = 8;
/** A worker is asked once so much of the source is here. */
const CUT_THROUGH_FROM_BYTES = 8 * 1024;
/** Tasks at once for each session that was offered: an orchestrator runs a session's segments one by one. */
const TASKS_PER_SESSION = 4;
const LEAST_TASKS = 64;
/**
 * Live streams come again much sooner. An orchestrator tells of a session's end only where it sent the last segment: of one
 * that ended when that registration was gone nothing is ever heard.
 */
const MOVED_IDLE_MS = 10_000;
/** Over which the most sessions at once are remembered: who ends one stream and begins the next still has its place. */
const PEAK_WINDOW_MS = 5_000;
/** A stream whose session id changed goes on with one of the next segments. */
const MAX_SEQ_STEP = 4n;

const CONTENT_TYPES = { mpegts: "video/mp2t", mp4: "video/mp4" } as const;

interface RunningTask {
  readonly from: NotifiedBy;
  /** Nothing of it is wanted any more. */
  readonly ended: AbortController;
}

interface Stream {
  readonly manifest: string;
  quote: Quote;
  lastSeq: bigint;
  /** The registration that its last task came on: the orchestrator sends the next one there too, and says there that it ended. */
  on: NotifiedBy;
}

/** The pool as one transcoder of one orchestrator. */
export class UpstreamDoor implements AsyncDisposable {
  readonly name: string;
  readonly #options: UpstreamDoorOptions;
  readonly #deps: UpstreamDoorDeps;
  readonly #source: JobSource;
  readonly #scope = openScope();
  readonly #newJobId: () => string;
  readonly #sessions: Sessions;
  readonly #streams = new Map<string, Stream>();
  /** The newest stream of each manifest id that one began with. */
  readonly #byManifest = new Map<string, string>();
  readonly #tasks = new Map<bigint, RunningTask>();
  readonly #price: PriceReader;
  readonly #downloader: Downloader;
  readonly #uploader: Uploader;
  readonly #link: Link;
  /** What its faults may put into logs and events. */
  readonly #budget: (key: string) => boolean;
  /** The most sessions at once in the window that runs, and in the one before it. */
  #peak = { sessions: 0, before: 0, sinceMs: 0 };
  #registered = false;
  #offered = 0;
  readonly #lives = new OrchestratorLives();
  #answered = 0;
  #failed = 0;
  #lost = 0;
  #drained = false;

  constructor(options: UpstreamDoorOptions, deps: UpstreamDoorDeps) {
    const { clock, logger } = deps;
    this.name = options.name;
    this.#options = options;
    this.#deps = deps;
    this.#source = `upstream:${options.name}`;
    this.#newJobId = createUuidV7(() => clock.now());
    this.#budget = createEventBudget({ burst: 60, perMinute: 30 }, clock);
    this.#sessions = new Sessions(clock, SESSION_IDLE_MS, (key) => this.#streamEnded(key));
    this.#price = this.#scope.use(
      createPriceReader(
        { name: options.name, cli: options.cli, configured: options.price, last: options.lastPrice },
        { clock, logger, onChange: (quote) => this.#priceChanged(quote) },
      ),
    );
    this.#downloader = this.#scope.use(createSourceDownloader(deps));
    this.#uploader = this.#scope.use(
      createUploader({ address: options.address, maxConnections: MAX_UPLOAD_CONNECTIONS }, deps),
    );
    this.#link = this.#scope.use(
      openLink(
        {
          name: options.name,
          address: options.address,
          secret: options.secret,
        },
        {
          clock,
          logger,
          sessionsOn: (registration) => this.#sessionsOn(registration),
          opening: (fingerprint) => this.#lives.opening(fingerprint),
          onNotify: (notify, from) => this.#onNotify(notify, from),
          onState: (state) => this.#onState(state),
        },
      ),
    );
  }

  /** Streams that run now. */
  get sessions(): number {
    return this.#sessions.count;
  }

  /** The most at once in the last seconds: an orchestrator may have bound another one in the place of one that ended. */
  get sessionsLately(): number {
    return Math.max(this.sessions, this.#peak.sessions, this.#peak.before);
  }

  get tasksInFlight(): number {
    return this.#tasks.size;
  }

  get registered(): boolean {
    return this.#link.state.kind === "registered";
  }

  /** The operator took the pool out of this orchestrator. */
  get drained(): boolean {
    return this.#drained;
  }

  set drained(drained: boolean) {
    this.#drained = drained;
    if (drained) this.offer(undefined);
  }

  /** What to be registered with; undefined: not at all. Running tasks are answered whatever happens. */
  offer(offer: Offer | undefined): void {
    const effective = this.#drained ? undefined : offer;
    if (effective) this.#offered = effective.capacity;
    this.#link.offer(effective);
  }

  /** Ends streams that have been silent for too long. Call it every now and then. */
  expire(): void {
    this.#sessions.expire();
    const now = this.#deps.clock.monotonicMs();
    if (now - this.#peak.sinceMs >= PEAK_WINDOW_MS) {
      this.#peak = { sessions: this.sessions, before: this.#peak.sessions, sinceMs: now };
    }
    if (this.registered) this.#sessions.expire(MOVED_IDLE_MS, (key) => this.#streams.get(key)?.on.gone === true);
  }

  status(): UpstreamStatus {
    const { state } = this.#link;
    const { quote } = this.#price;
    return {
      name: this.name,
      address: formatHostPort(this.#options.address),
      state: this.#drained ? "drained" : state.kind,
      why: this.#drained ? "taken out by the operator" : whyNot(state),
      capacity: state.kind === "registered" ? state.offer.capacity : 0,
      sessions: this.#sessions.count,
      tasksInFlight: this.#tasks.size,
      answered: this.#answered,
      failed: this.#failed,
      lost: this.#lost,
      price: quote.price,
      priceSource: quote.source,
      version: this.#price.status?.version,
    };
  }

  // ---- registration

  #onState(state: LinkState): void {
    const { logger } = this.#deps;
    const registered = state.kind === "registered";
    if (registered && !this.#registered) {
      const { capacity } = state.offer;
      logger.info("registered with the orchestrator", { upstream: this.name, capacity });
      this.#record("upstream.joined", { capacity, capabilities: state.offer.capabilities.toString() });
      void this.#price.refresh();
    }
    if (!registered && this.#registered) {
      const why = whyNot(state) ?? "the connection was lost";
      logger.info("no longer registered with the orchestrator", { upstream: this.name, why });
      this.#record("upstream.left", { why });
    }
    if (state.kind === "refused") this.#record("upstream.refused", { text: state.text });
    this.#registered = registered;
  }

  #priceChanged({ price, source }: Quote): void {
    const { pricePerUnitWei, pixelsPerUnit } = price;
    this.#deps.logger.info("price of the orchestrator", {
      upstream: this.name,
      pricePerUnitWei: String(pricePerUnitWei),
      pixelsPerUnit: String(pixelsPerUnit),
    });
    this.#options.onPrice(price);
    this.#record("upstream.price", {
      price: { pricePerUnitWei: String(pricePerUnitWei), pixelsPerUnit: String(pixelsPerUnit) },
      source,
    });
  }

  // ---- tasks

  #onNotify(notify: NotifySegment, from: NotifiedBy): void {
    const notified = readNotify(notify);
    if (notified.kind === "noise") return;
    if (notified.kind === "teardown") return this.#sessions.end(notified.sessionId);
    const { taskId } = notified;
    const life = this.#lives.ofTask(from.opening, taskId, this.#tasks.has(taskId));
    if (life === "over") return;
    if (life === "new") this.#forgetTasks();
    const receivedMs = this.#deps.clock.monotonicMs();
    const running: RunningTask = { from, ended: new AbortController() };
    this.#tasks.set(taskId, running);
    const tooMany = this.#tasks.size > Math.max(LEAST_TASKS, TASKS_PER_SESSION * this.#offered);
    const refusal =
      notified.kind === "refused"
        ? { text: notified.text, reason: notified.text }
        : tooMany
          ? { text: INVALID_VIDEO, reason: "more tasks at once than the pool offered to take" }
          : undefined;
    const served =
      refusal || notified.kind === "refused"
        ? this.#fail(taskId, running, refusal?.text ?? "", refusal?.reason ?? "", receivedMs + segmentTimeoutMs(0))
        : this.#serve(notified, running, receivedMs);
    served
      .catch((error: unknown) => {
        this.#deps.logger.error("a task failed by a fault of ours", {
          upstream: this.name,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
      })
      .finally(() => {
        if (this.#tasks.get(taskId) === running) this.#tasks.delete(taskId);
      });
  }

  /** The orchestrator that gave them is gone: the next one counts from 0 again, and would take their answers for its own. */
  #forgetTasks(): void {
    if (this.#tasks.size > 0) {
      const tasks = this.#tasks.size;
      this.#deps.logger.warn("the orchestrator was restarted, its tasks are gone", { upstream: this.name, tasks });
    }
    for (const task of this.#tasks.values()) task.ended.abort();
    this.#tasks.clear();
  }

  /** From the task to its answer. Never longer than the orchestrator waits. */
  async #serve(task: Task, running: RunningTask, receivedMs: number): Promise<void> {
    const { clock, desk } = this.#deps;
    const timeoutMs = segmentTimeoutMs(task.durationMs);
    const deadlineMs = receivedMs + timeoutMs - ANSWER_MARGIN_MS;
    const lastMs = receivedMs + timeoutMs - LAST_MARGIN_MS;
    const session = this.#streamOf(task, running.from);
    this.#sessions.enter(session);
    let worked = false;
    try {
      const url = sourceUrl(task.url, this.#options);
      if (!url) {
        const reason = `its source is at ${hostOf(task.url)}, where nobody said the pool may go: see --upstream-allow`;
        return await this.#fail(task.taskId, running, INVALID_VIDEO, reason, lastMs);
      }
      let received = 0;
      let startEarly = (): void => {};
      const download = await this.#downloader.open(url, running.ended.signal, (bytes) => {
        received = bytes;
        if (received >= CUT_THROUGH_FROM_BYTES) startEarly();
      });
      if (running.ended.signal.aborted) {
        if (typeof download !== "string") void download.filled.then(() => download.body.release());
        return;
      }
      if (typeof download === "string") return await this.#fail(task.taskId, running, INVALID_VIDEO, download, lastMs);
      const { body: input, filled } = download;
      const job = this.#jobOf(task, session, input, deadlineMs);
      const abandon = (): void => desk.abandon(job.id);
      running.ended.signal.addEventListener("abort", abandon, { once: true });
      const overdue = clock.after(deadlineMs + OVERDUE_MS - clock.monotonicMs(), abandon);
      try {
        let early: Promise<JobOutcome> | undefined;
        if (input.announcedBytes !== undefined) startEarly = () => (early ??= desk.run(job));
        if (received >= CUT_THROUGH_FROM_BYTES) startEarly();
        const problem = await filled;
        if (problem !== undefined) {
          desk.abandon(job.id);
          return await this.#fail(task.taskId, running, INVALID_VIDEO, problem, lastMs);
        }
        input.confirm();
        const running_ = early ?? desk.run(job);
        desk.inputComplete(job.id);
        const outcome = await running_;
        worked = outcome.kind === "done";
        await this.#answerOutcome(task, running, job, outcome, lastMs);
      } finally {
        overdue();
        running.ended.signal.removeEventListener("abort", abandon);
        input.release();
      }
    } finally {
      this.#sessions.leave(session, worked);
    }
  }

  async #answerOutcome(task: Task, running: RunningTask, job: Job, outcome: JobOutcome, lastMs: number): Promise<void> {
    if (outcome.kind !== "done") {
      const [text, reason] =
        outcome.kind === "failed" ? [outcome.text, outcome.reason] : [INVALID_VIDEO, "it was not done in time"];
      return this.#fail(task.taskId, running, text, reason, lastMs);
    }
    try {
      const parts = outcome.renditions.flatMap(partsOf);
      const answer: Answer = { kind: "renditions", decodedPixels: outcome.sourcePixels, parts };
      await this.#upload(task.taskId, running, answer, lastMs, job.id);
    } finally {
      outcome.release();
    }
  }

  async #fail(taskId: bigint, running: RunningTask, text: string, reason: string, lastMs: number): Promise<void> {
    if (running.ended.signal.aborted) return;
    const level = this.#budget("failed") ? "warn" : "debug";
    this.#deps.logger[level]("a task was answered with an error", {
      upstream: this.name,
      task: taskId.toString(),
      reason,
    });
    await this.#upload(taskId, running, { kind: "error", text }, lastMs, undefined);
  }

  async #upload(
    taskId: bigint,
    running: RunningTask,
    answer: Answer,
    lastMs: number,
    job: JobId | undefined,
  ): Promise<void> {
    // The orchestrator that asked is gone.
    if (running.ended.signal.aborted) return;
    const { opening, secret } = running.from;
    const order = { taskId, answer, secret, fingerprint: opening.fingerprint, deadlineMs: lastMs };
    const outcome = await this.#uploader.upload(order);
    if (outcome.kind === "taken") {
      if (answer.kind === "error") this.#failed++;
      else this.#answered++;
      return;
    }
    this.#lost++;
    const why =
      outcome.kind === "lost" ? outcome.why : `it was answered with ${outcome.status} ${plainText(outcome.text)}`;
    if (!this.#budget("lost")) return;
    this.#deps.logger.warn("an answer did not reach the orchestrator", { upstream: this.name, why, job });
    this.#record("upstream.answer-lost", { why, ...(job === undefined ? {} : { job }) });
  }

  #jobOf(task: Task, session: string, input: Job["input"], deadlineMs: number): Job {
    const quote = this.#streams.get(session)?.quote ?? this.#price.quote;
    return {
      id: this.#newJobId() as JobId,
      source: this.#source,
      sender: this.#source,
      session,
      seq: task.seq,
      durationMs: task.durationMs,
      profiles: task.profiles,
      need: task.need,
      clip: task.clip,
      perceptualHash: task.perceptualHash,
      forceSessionReinit: task.forceSessionReinit,
      input,
      price: quote.price,
      priceSource: quote.source,
      deadlineMs,
    };
  }

  // ---- streams

  /**
   * The stream of a task. A gateway that takes a new auth token sends the same stream under a new session id; the worker's
   * encoder must not be restarted for that. But two gateways may well use one manifest id: only a stream that goes on
   * where the other stopped is the same.
   */
  #streamOf(task: Task, on: NotifiedBy): string {
    const manifest = createHash("sha256").update(task.manifestId).digest("hex").slice(0, 24);
    const sessionId = task.sessionId === "" ? `manifest ${manifest}` : task.sessionId;
    let key = this.#sessions.keyOf(sessionId);
    if (key === undefined) {
      const candidate = this.#byManifest.get(manifest);
      const step = task.seq - (this.#streams.get(candidate ?? "")?.lastSeq ?? task.seq);
      key = candidate !== undefined && step > 0n && step <= MAX_SEQ_STEP ? candidate : undefined;
    }
    key ??= createHash("sha256").update(this.#source).update("\0").update(sessionId).digest("hex").slice(0, 24);
    const known = this.#streams.get(key);
    if (known) {
      known.on = on;
      known.lastSeq = task.seq > known.lastSeq ? task.seq : known.lastSeq;
      // It began before anybody could say what it pays.
      if (known.quote.source === "configured") known.quote = this.#price.quote;
    } else this.#streams.set(key, { manifest, quote: this.#price.quote, lastSeq: task.seq, on });
    // One each: a session that goes on under ever new ids must not be remembered under all of them.
    this.#byManifest.set(known?.manifest ?? manifest, key);
    const session = this.#sessions.of(sessionId, key);
    this.#peak.sessions = Math.max(this.#peak.sessions, this.sessions);
    return session;
  }

  #streamEnded(key: string): void {
    const stream = this.#streams.get(key);
    if (stream && this.#byManifest.get(stream.manifest) === key) this.#byManifest.delete(stream.manifest);
    this.#streams.delete(key);
    this.#deps.desk.endSession(key);
    if (this.#streams.size === 0) this.#link.onEmpty();
  }

  #sessionsOn(registration: NotifiedBy): number {
    let sessions = 0;
    for (const { on } of this.#streams.values()) sessions += on === registration ? 1 : 0;
    return sessions;
  }

  #record(type: string, data: Readonly<Record<string, unknown>>): void {
    if (!this.#budget(type)) return;
    this.#deps.store.append([{ type, data: { upstream: this.name, ...data } }]).catch((error: unknown) => {
      this.#deps.logger.warn("an event was not recorded", { type, error: errorText(error) });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const task of this.#tasks.values()) task.ended.abort();
    await this.#scope[Symbol.asyncDispose]();
  }
}

/** Parts in the order of the profiles, each rendition followed by its signature. */
function partsOf({ profile, data, pixels, perceptualHash }: JobRendition): ResultPart[] {
  const rendition = { contentType: CONTENT_TYPES[profile.container], pixels, data };
  if (!perceptualHash) return [rendition];
  return [rendition, { contentType: "application/octet-stream", pixels: undefined, data: perceptualHash }];
}

function whyNot(state: LinkState): string | undefined {
  switch (state.kind) {
    case "registered":
      return undefined;
    case "idle":
      return "no rig is connected, so there is nothing to offer";
    case "connecting":
      return "connecting";
    case "waiting":
      return state.why;
    case "refused":
      return `the orchestrator says: ${state.text}`;
  }
}

/** For logs: a URL may carry a key. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host.slice(0, 100) : "no address at all";
}
