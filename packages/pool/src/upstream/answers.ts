import { type Clock, type HostPort, type Logger, plainText } from "@openpool/base";
import { INVALID_VIDEO } from "@openpool/protocol";
import { type Answer, createUploader, type Uploader, type UploadOrder, type UploadOutcome } from "@openpool/transcoder";
import type { JobId } from "../dispatch/types.ts";
import type { OrchestratorLives } from "./life.ts";
import type { NotifiedBy } from "./part.ts";

/** A task that waits for its answer. */
export interface OpenTask {
  readonly from: NotifiedBy;
  /** Of the orchestrator: its ids are its own. */
  readonly life: number;
  readonly id: bigint;
  /** From then on (monotonic) an answer is late, and its orchestrator ejects who was to give it. */
  readonly dueMs: number;
  /** Nothing of it is wanted any more. */
  readonly ended: AbortController;
  /** An answer is on its way, or was sent, or given up. There is no other. */
  answer?: Promise<void> | undefined;
}

export interface AnswersDeps {
  readonly lives: Pick<OrchestratorLives, "takesAnswer">;
  readonly logger: Logger;
  readonly clock: Clock;
  /** What an orchestrator's faults may put into logs. */
  readonly budget: (key: string) => boolean;
  readonly record: (type: string, data: Readonly<Record<string, unknown>>) => void;
}

/** To an orchestrator; each carries what its flow control lets through. */
const MAX_UPLOAD_CONNECTIONS = 8;
/**
 * Renditions that are not taken so long before the end are given up, and an error goes up after them. It goes over a connection
 * of its own: a reset would wait behind what was written before it, and tells gateways to try the segment again.
 */
const GIVE_UP_MARGIN_MS = 600;
/** That connection may be many milliseconds away: it is opened so long before it may be needed. */
const PREPARE_MS = 1_400;
/** What is still under way so long before the end is broken off, as the last resort: that is an error, not a death. */
const LAST_MARGIN_MS = 300;

/** An orchestrator's own refusals are 401 and 500; these come from what stands before it. */
const PROXY_REFUSALS: ReadonlySet<number> = new Set([400, 403, 404, 405, 411, 413, 414, 415, 429]);

/** Brings answers to one orchestrator, in time whatever happens, and counts what became of them. */
export class Answers implements AsyncDisposable {
  readonly #upstream: string;
  readonly #deps: AnswersDeps;
  readonly #uploader: Uploader;
  #answered = 0;
  #failed = 0;
  #lost = 0;

  constructor(options: { readonly upstream: string; readonly address: HostPort }, deps: AnswersDeps) {
    this.#upstream = options.upstream;
    this.#deps = deps;
    this.#uploader = createUploader({ address: options.address, maxConnections: MAX_UPLOAD_CONNECTIONS }, deps);
  }

  /** Tasks by what became of their answers: taken, taken and an error, not got through as far as we know. */
  get counts(): { readonly answered: number; readonly failed: number; readonly lost: number } {
    return { answered: this.#answered, failed: this.#failed, lost: this.#lost };
  }

  /** Answers a task, once: whoever comes second waits for the first. `job` made the renditions. */
  give(task: OpenTask, answer: Answer, job: JobId | undefined): Promise<void> {
    // The orchestrator that asked is gone.
    if (task.ended.signal.aborted) return Promise.resolve();
    task.answer ??= this.#give(task, answer, job).catch((error: unknown) => {
      // What cannot even be written was not sent.
      task.answer = undefined;
      throw error;
    });
    return task.answer;
  }

  /** So many tasks were forgotten by an orchestrator that began anew, before there was an answer. */
  forgotten(tasks: number): void {
    this.#lost += tasks;
    const why = "the orchestrator was restarted, its tasks are gone";
    this.#deps.logger.warn(why, { upstream: this.#upstream, tasks });
    this.#deps.record("upstream.answer-lost", { why, tasks });
  }

  async #give(task: OpenTask, answer: Answer, job: JobId | undefined): Promise<void> {
    const outcome =
      answer.kind === "renditions" ? await this.#bringRenditions(task, answer) : await this.#bring(task, answer);
    const ofJob = job === undefined ? {} : { job };
    if (outcome.kind === "taken") {
      if (answer.kind === "error") this.#failed++;
      else {
        this.#answered++;
        const why = "it broke off once: the orchestrator may have taken that for an error, and dropped what came again";
        if (outcome.doubtful) this.#deps.record("upstream.answer-lost", { why, ...ofJob });
      }
      return;
    }
    this.#lost++;
    if (outcome.kind === "replaced") this.#failed++;
    const why =
      outcome.kind === "refused" ? `it was answered with ${outcome.status} ${plainText(outcome.text)}` : outcome.why;
    if (this.#deps.budget("lost")) {
      this.#deps.logger.warn("an answer did not reach the orchestrator", { upstream: this.#upstream, why, job });
      this.#deps.record("upstream.answer-lost", { why, ...ofJob });
    }
    // A proxy that takes no large bodies: a small one costs this segment, and silence would cost the registration.
    if (outcome.kind === "refused" && PROXY_REFUSALS.has(outcome.status) && answer.kind === "renditions") {
      await this.#give(task, { kind: "error", text: INVALID_VIDEO }, job);
    }
  }

  /**
   * The first answer to a task counts: what comes after it is dropped, by the orchestrator too, which says the same to both. So
   * when an error went up after renditions that nobody acknowledged, which of the two counts is not known here.
   */
  async #bringRenditions(
    task: OpenTask,
    renditions: Answer,
  ): Promise<UploadOutcome | { readonly kind: "replaced"; readonly why: string }> {
    const { clock } = this.#deps;
    const giveUpInMs = task.dueMs - GIVE_UP_MARGIN_MS - clock.monotonicMs();
    const settled = new AbortController();
    const { signal } = settled;
    let instead: Promise<UploadOutcome> | undefined;
    const bringError = (): void => {
      const error: Answer = { kind: "error", text: INVALID_VIDEO };
      instead = this.#bring(task, error, { urgent: true, signal, deadlineMs: task.dueMs });
      void instead.then(({ kind }) => kind === "taken" && settled.abort());
    };
    const cancelPrepare = clock.after(giveUpInMs - PREPARE_MS, () => this.#uploader.prepare());
    const cancelGiveUp = clock.after(giveUpInMs, bringError);
    const outcome = await this.#bring(task, renditions, { signal }).finally(() => {
      cancelPrepare();
      cancelGiveUp();
    });
    // The last try may end before they would be given up, when there is no time for another. Silence costs the registration.
    if (outcome.kind === "lost" && !instead && !task.ended.signal.aborted) bringError();
    if (outcome.kind === "taken") settled.abort();
    else if ((await instead)?.kind === "taken") {
      return {
        kind: "replaced",
        why: "it was not taken in time: an error went up after it, and whichever the orchestrator had first counts",
      };
    }
    return outcome;
  }

  #bring(
    { id, from, life, dueMs }: OpenTask,
    answer: Answer,
    how: Partial<Pick<UploadOrder, "urgent" | "signal" | "deadlineMs">> = {},
  ): Promise<UploadOutcome> {
    return this.#uploader.upload({
      taskId: id,
      answer,
      secret: from.secret,
      accepts: (fingerprint) => this.#deps.lives.takesAnswer(from.opening, life, fingerprint),
      deadlineMs: dueMs - LAST_MARGIN_MS,
      ...how,
    });
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#uploader[Symbol.asyncDispose]();
  }
}
