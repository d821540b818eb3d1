import {
  type Clock,
  createEventBudget,
  errorText,
  formatHostPort,
  type Logger,
  openScope,
  type Price,
} from "@openpool/base";
import { type Ability, INVALID_VIDEO, type NotifySegment, type ResultPart, segmentTimeoutMs } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import type { PriceRule } from "../ledger/terms.ts";
import type { JobId } from "../dispatch/types.ts";
import type { JobDesk } from "../jobs/desk.ts";
import type { Job, JobOutcome, JobRendition, JobSource } from "../jobs/job.ts";
import { createUuidV7 } from "../store/index.ts";
import type { UpstreamOptions } from "../options.ts";
import type { Store } from "../store/types.ts";
import { Answers, type OpenTask } from "./answers.ts";
import { type Heartbeat, startHeartbeat } from "./heartbeat.ts";
import { OrchestratorLives } from "./life.ts";
import { type Link, type LinkState, openLink } from "./link.ts";
import { capacityFor, capacityOf, type Offer, sameAbility } from "./offers.ts";
import { MostLately } from "./most-lately.ts";
import type { NotifiedBy } from "./part.ts";
import { createPriceReader, type PriceReader, type Quote } from "./price.ts";
import { createSourceDownloader, type Downloader, sourceUrl } from "./source.ts";
import { Streams } from "./streams.ts";
import { readNotify, type Refused, type Task } from "./task.ts";

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
  readonly desk: Pick<JobDesk, "run" | "inputComplete" | "abandon" | "endSession">;
  readonly memory: BodyMemory;
  readonly store: Pick<Store, "append">;
  readonly logger: Logger;
  readonly clock: Clock;
  /** What the terms say now of where prices come from. */
  readonly priceRule: () => PriceRule;
  /** Of this process: beside it another one may be registered with the same orchestrator. */
  readonly generation: number;
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
 * An orchestrator ejects a transcoder that is late, as a whole. So there is time set aside for bringing the answer there.
 */
const ANSWER_MARGIN_MS = 1_200;
/** No answer although the job's deadline has passed: then it is made here. */
const OVERDUE_MS = 150;
/** A worker is asked once so much of the source is here. */
const CUT_THROUGH_FROM_BYTES = 8 * 1024;
/** Tasks at once for each session that was offered: an orchestrator runs a session's segments one by one. */
const TASKS_PER_SESSION = 4;
const LEAST_TASKS = 64;
/**
 * So long, at least, the orchestrator may still give what it was offered before: it hears of fewer places when another registration
 * has been taken, and what it sent until then is under way.
 */
const SHRINK_GRACE_MS = 15_000;
/** So long a process that ends waits until orchestrators have taken what it says of tasks that it does not do any more. */
const LAST_WORDS_MS = 500;
const CONTENT_TYPES = { mpegts: "video/mp2t", mp4: "video/mp4" } as const;

/** Why the pool is not registered with an orchestrator that the operator took it out of. */
export const TAKEN_OUT = "taken out by the operator";

interface RunningTask extends OpenTask {
  readonly seq: bigint;
}

/** The pool as one transcoder of one orchestrator. */
export class UpstreamDoor implements AsyncDisposable {
  readonly name: string;
  readonly #options: UpstreamDoorOptions;
  readonly #deps: UpstreamDoorDeps;
  readonly #source: JobSource;
  readonly #scope = openScope();
  readonly #newJobId: () => string;
  readonly #streams: Streams;
  readonly #tasks = new Map<string, RunningTask>();
  readonly #price: PriceReader;
  readonly #downloader: Downloader;
  readonly #answers: Answers;
  readonly #heartbeat: Heartbeat;
  readonly #link: Link;
  /** What its faults may put into logs and events. */
  readonly #budget: (key: string) => boolean;
  #registered = false;
  #offered: readonly Offer[] = [];
  /** Sessions that it may have by right. */
  readonly #granted: MostLately;
  readonly #lives = new OrchestratorLives();
  #drained = false;
  /** Why the pool takes no more from it. */
  #leaving: string | undefined;

  constructor(options: UpstreamDoorOptions, deps: UpstreamDoorDeps) {
    const { clock, logger } = deps;
    this.name = options.name;
    this.#options = options;
    this.#deps = deps;
    this.#source = `upstream:${options.name}`;
    this.#newJobId = createUuidV7(() => clock.now());
    this.#budget = createEventBudget({ burst: 60, perMinute: 30 }, clock);
    this.#granted = new MostLately(clock, SHRINK_GRACE_MS);
    this.#streams = new Streams(this.#source, clock, (key) => this.#streamEnded(key));
    this.#price = this.#scope.use(
      createPriceReader(
        { name: options.name, cli: options.cli, configured: options.price, last: options.lastPrice },
        { clock, logger, onChange: (quote) => this.#priceChanged(quote) },
      ),
    );
    this.#downloader = this.#scope.use(createSourceDownloader(deps));
    this.#answers = this.#scope.use(
      new Answers(
        { upstream: options.name, address: options.address },
        {
          lives: this.#lives,
          logger,
          clock,
          budget: this.#budget,
          record: (type, data) => this.#record(type, data),
        },
      ),
    );
    this.#heartbeat = this.#scope.use(startHeartbeat(clock));
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
          sessionsOn: (registration) => this.#streams.countOn((one) => one === registration),
          opening: (fingerprint, answers) => this.#lives.opening(fingerprint, answers),
          ended: (opening) => this.#lives.ended(opening),
          onNotify: (notify, from) => this.#onNotify(notify, from),
          onState: (state) => this.#onState(state),
        },
      ),
    );
  }

  /** Streams that run now, of an ability if one is given. */
  sessions(ability?: Ability): number {
    return ability ? this.#streams.countOn(({ offer }) => sameAbility(offer, ability)) : this.#streams.count;
  }

  /** The most at once in the last seconds. */
  get sessionsLately(): number {
    return this.#streams.countLately;
  }

  get tasksInFlight(): number {
    return this.#tasks.size;
  }

  /** A registration is open: it may be one that was left and whose orchestrator has not heard of it. */
  get listening(): boolean {
    return this.#lives.anyOpen;
  }

  get registered(): boolean {
    return this.#link.state.kind === "registered";
  }

  /** Everything that is offered is registered. */
  get complete(): boolean {
    return this.#link.complete;
  }

  /** Whether something of that ability is registered. */
  has(ability: Ability): boolean {
    const { state } = this.#link;
    return state.kind === "registered" && capacityFor(ability, state.offers) > 0;
  }

  /** The operator took the pool out of this orchestrator. */
  get drained(): boolean {
    return this.#drained;
  }

  set drained(drained: boolean) {
    this.#drained = drained;
    if (drained) this.offer([]);
  }

  /** Nothing is offered any more. `why` is what its event says. */
  leave(why: string): void {
    this.#leaving = why;
    this.offer([]);
  }

  /** What to be registered with; nothing: not at all. Running tasks are answered whatever happens. */
  offer(offers: readonly Offer[]): void {
    this.#offered = this.#drained ? [] : offers;
    this.#grant();
    // The first sessions come with the registration, and are paid at the price of that moment.
    void this.#price.asked.then(() => this.#link.offer(this.#offered));
  }

  /** What is registered counts until it is not any more, whatever is offered by now. */
  #grant(): void {
    const { state } = this.#link;
    const registered = state.kind === "registered" ? capacityOf(state.offers) : 0;
    this.#granted.current = Math.max(capacityOf(this.#offered), registered);
  }

  /** Ends streams that have been silent for too long. Call it every now and then. */
  expire(): void {
    this.#streams.expire(this.registered);
  }

  status(): UpstreamStatus {
    const { state } = this.#link;
    const quote = this.#quote();
    return {
      name: this.name,
      address: formatHostPort(this.#options.address),
      state: this.#drained ? "drained" : state.kind,
      why: this.#drained ? TAKEN_OUT : this.#whyNot(state),
      capacity: state.kind === "registered" ? capacityOf(state.offers) : 0,
      sessions: this.#streams.count,
      tasksInFlight: this.#tasks.size,
      ...this.#answers.counts,
      price: quote.price,
      priceSource: quote.source,
      version: this.#price.status?.version,
    };
  }

  // ---- registration

  #onState(state: LinkState): void {
    const { logger, generation } = this.#deps;
    this.#grant();
    const registered = state.kind === "registered";
    if (registered && !this.#registered) {
      const capacity = capacityOf(state.offers);
      const capabilities = state.offers.reduce((all, one) => all | one.capabilities, 0n).toString();
      logger.info("registered with the orchestrator", { upstream: this.name, capacity });
      this.#record("upstream.joined", { generation, capacity, capabilities });
      void this.#price.refresh();
    }
    if (!registered && this.#registered) this.#left(this.#whyNot(state) ?? "the connection was lost");
    if (state.kind === "refused") this.#record("upstream.refused", { text: state.text });
    this.#registered = registered;
  }

  #left(why: string): void {
    const { logger, generation } = this.#deps;
    logger.info("no longer registered with the orchestrator", { upstream: this.name, why });
    this.#record("upstream.left", { generation, why, ...(this.#drained ? { drained: true } : {}) });
  }

  #whyNot(state: LinkState): string | undefined {
    switch (state.kind) {
      case "registered":
        return undefined;
      case "idle":
        if (this.#drained) return TAKEN_OUT;
        return this.#leaving ?? "no rig is connected, so there is nothing to offer";
      case "connecting":
        return "connecting";
      case "waiting":
        return state.why;
      case "refused":
        return `the orchestrator says: ${state.text}`;
    }
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
    if (notified.kind === "teardown") return this.#streams.end(notified.sessionId);
    const { taskId: id, seq } = notified;
    const before = this.#lives.current;
    const life = this.#lives.ofTask(from.opening, id, this.#tasks.has(`${before} ${id}`));
    if (life > before) this.#forgetTasks();
    const receivedMs = this.#heartbeat.arrivedMs();
    const dueMs = receivedMs + segmentTimeoutMs(notified.kind === "task" ? notified.durationMs : 0);
    const running: RunningTask = { from, life, id, seq, dueMs, ended: new AbortController() };
    const key = `${life} ${id}`;
    this.#tasks.set(key, running);
    this.#answer(notified, running, dueMs - ANSWER_MARGIN_MS)
      .catch((error: unknown) => {
        this.#deps.logger.error("a task failed by a fault of ours", {
          upstream: this.name,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
        // Silence costs the whole registration.
        return this.#lose(running, INVALID_VIDEO, `a fault of the pool: ${errorText(error)}`);
      })
      .finally(() => {
        if (this.#tasks.get(key) === running) this.#tasks.delete(key);
      });
  }

  /** The orchestrator that gave them is gone: the next one counts from 0 again, and would take their answers for its own. */
  #forgetTasks(): void {
    let forgotten = 0;
    for (const [key, task] of this.#tasks) {
      if (this.#lives.isOpen(task.from.opening)) continue;
      // One that is being answered says itself that nobody takes it.
      if (!task.answer) forgotten++;
      task.ended.abort();
      this.#tasks.delete(key);
    }
    if (forgotten > 0) this.#answers.forgotten(forgotten);
  }

  /** From the task to its answer. Never longer than the orchestrator waits. */
  async #answer(notified: Task | Refused, running: RunningTask, deadlineMs: number): Promise<void> {
    if (notified.kind === "refused") {
      const reason = `nobody can do what it asks for: ${notified.text}`;
      return this.#lose(running, notified.text, reason);
    }
    if (this.#tasks.size > Math.max(LEAST_TASKS, TASKS_PER_SESSION * this.#granted.most)) {
      return this.#lose(running, INVALID_VIDEO, "more tasks at once than the pool offered to take");
    }
    const session = this.#streams.of(notified, running.from, this.#quote());
    this.#streams.enter(session);
    let worked = false;
    try {
      worked = await this.#serve(notified, session, running, deadlineMs);
    } finally {
      this.#streams.leave(session, worked);
    }
  }

  /** True: with renditions. */
  async #serve(task: Task, session: string, running: RunningTask, deadlineMs: number): Promise<boolean> {
    const { clock, desk } = this.#deps;
    const lost = async (reason: string): Promise<false> => {
      await this.#lose(running, INVALID_VIDEO, reason);
      return false;
    };
    const url = sourceUrl(task.url, this.#options);
    if (!url) {
      return lost(`its source is at ${hostOf(task.url)}, where nobody said the pool may go: see --upstream-allow`);
    }
    let received = 0;
    let startEarly = (): void => {};
    const download = await this.#downloader.open(url, running.ended.signal, (bytes) => {
      received = bytes;
      if (received >= CUT_THROUGH_FROM_BYTES) startEarly();
    });
    if (typeof download === "string") return lost(download);
    const { body: input, filled } = download;
    if (running.ended.signal.aborted) {
      void filled.then(() => input.release());
      return false;
    }
    const job = this.#jobOf(task, session, input, deadlineMs);
    const abandon = (): void => desk.abandon(job.id);
    running.ended.signal.addEventListener("abort", abandon, { once: true });
    const overdue = clock.after(deadlineMs + OVERDUE_MS - clock.monotonicMs(), abandon);
    try {
      let early: Promise<JobOutcome> | undefined;
      if (input.announcedBytes !== undefined) {
        startEarly = () => {
          early ??= desk.run(job);
          // It is awaited below, unless the source turns out to be none.
          early.catch(() => {});
        };
      }
      if (received >= CUT_THROUGH_FROM_BYTES) startEarly();
      const problem = await filled;
      if (problem !== undefined) {
        desk.abandon(job.id);
        return await lost(problem);
      }
      input.confirm();
      const outcome = early ?? desk.run(job);
      desk.inputComplete(job.id);
      return await this.#answerOutcome(running, job, await outcome);
    } finally {
      overdue();
      running.ended.signal.removeEventListener("abort", abandon);
      input.release();
    }
  }

  async #answerOutcome(running: RunningTask, job: Job, outcome: JobOutcome): Promise<boolean> {
    switch (outcome.kind) {
      case "failed":
        await this.#fail(running, outcome.text, outcome.reason);
        return false;
      case "abandoned":
        await this.#lose(running, INVALID_VIDEO, "it was not done in time");
        return false;
      case "done":
        try {
          const parts = outcome.renditions.flatMap(partsOf);
          await this.#answers.give(running, { kind: "renditions", decodedPixels: outcome.sourcePixels, parts }, job.id);
        } finally {
          outcome.release();
        }
        return true;
    }
  }

  /** Answers with an error that no job's record tells of: it never became one, or nobody waited for it any more. */
  async #lose(running: RunningTask, text: string, reason: string): Promise<void> {
    if (running.ended.signal.aborted || running.answer) return;
    this.#record("job.failed", { source: this.#source, seq: running.seq.toString(), reason, text });
    await this.#fail(running, text, reason);
  }

  async #fail(running: RunningTask, text: string, reason: string): Promise<void> {
    if (running.ended.signal.aborted || running.answer) return;
    const task = running.id.toString();
    const level = this.#budget("failed") ? "warn" : "debug";
    this.#deps.logger[level]("a task was answered with an error", { upstream: this.name, task, reason });
    await this.#answers.give(running, { kind: "error", text }, undefined);
  }

  /** What a stream that begins now is paid by: what the orchestrator charges, unless the terms say that the settings count. */
  #quote(): Quote {
    const { price } = this.#options;
    return this.#deps.priceRule() === "configured" ? { price, source: "configured" } : this.#price.quote;
  }

  #jobOf(task: Task, session: string, input: Job["input"], deadlineMs: number): Job {
    const quote = this.#streams.quoteOf(session) ?? this.#quote();
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

  #streamEnded(key: string): void {
    this.#deps.desk.endSession(key);
    if (this.#streams.count === 0) this.#link.onEmpty();
  }

  #record(type: string, data: Readonly<Record<string, unknown>>): void {
    if (!this.#budget(type)) return;
    this.#deps.store.append([{ type, data: { upstream: this.name, ...data } }]).catch((error: unknown) => {
      this.#deps.logger.warn("an event was not recorded", { type, error: errorText(error) });
    });
  }

  /** Answers what nobody does any more: in silence the orchestrator would wait for it to its end. */
  async #sayLastWords(): Promise<void> {
    const answers = [...this.#tasks.values()].map(
      (task) => task.answer ?? this.#lose(task, INVALID_VIDEO, "the pool was stopped"),
    );
    if (answers.length === 0) return;
    let forget = (): void => {};
    const enough = new Promise<void>((resolve) => (forget = this.#deps.clock.after(LAST_WORDS_MS, resolve)));
    await Promise.race([Promise.allSettled(answers), enough]);
    forget();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sayLastWords();
    for (const task of this.#tasks.values()) task.ended.abort();
    // One that fails to start goes without more ado, and the one that stays must not seem to be two.
    if (this.#registered) this.#left(this.#leaving ?? "its process of the pool has ended");
    this.#registered = false;
    await this.#scope[Symbol.asyncDispose]();
  }
}

/** Parts in the order of the profiles, each rendition followed by its signature. */
function partsOf({ profile, data, pixels, perceptualHash }: JobRendition): ResultPart[] {
  const rendition = { contentType: CONTENT_TYPES[profile.container], pixels, data };
  if (!perceptualHash) return [rendition];
  return [rendition, { contentType: "application/octet-stream", pixels: undefined, data: perceptualHash }];
}

/** For logs: a URL may carry a key. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host.slice(0, 100) : "no address at all";
}
