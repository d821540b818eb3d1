import { type Clock, errorText, type Logger } from "@openpool/base";
import { type NotifySegment, segmentTimeoutMs } from "@openpool/protocol";
import type { CapabilitySet } from "@openpool/protocol";
import type { Answer, Uploader } from "@openpool/transcoder";
import type { Downloader } from "./net/source.ts";
import { loadOf, type Sessions } from "./sessions.ts";
import { readOrder, type Task } from "./task.ts";
import { type Rendition, type Transcoder, type TranscodeOutcome, transcodeText } from "./transcode/transcoder.ts";

export interface TaskCounts {
  readonly done: number;
  readonly failed: number;
  readonly stopped: number;
  readonly resultsLost: number;
  readonly pixelsEncoded: bigint;
  readonly lastSegment: { readonly tookMs: number; readonly durationMs: number } | undefined;
}

export interface TaskRunner {
  /** Carries out a message of the pool. */
  onNotify(notify: NotifySegment): void;
  readonly counts: TaskCounts;
  /** Tasks that are not answered yet. */
  readonly running: number;
  /** Resolves when there is none. */
  idle(): Promise<void>;
  /** Stops all work and answers nothing any more. */
  close(): void;
}

export interface TaskRunnerDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sessions: Sessions<{ readonly transcoder: Transcoder }>;
  readonly downloader: Downloader;
  readonly uploader: Uploader;
}

/** No work was done, and it was not the input: what to upload. */
interface Unavailable {
  readonly kind: "unavailable";
  readonly text: string;
}

/** After the deadline of a task its answer may still be of use for a moment: the pool's clock started later. */
const UPLOAD_GRACE_MS = 2_000;

function partsOf(renditions: readonly Rendition[]) {
  return renditions.flatMap(({ container, data, pixels, signature }) => [
    { contentType: container === "mp4" ? "video/mp4" : "video/mp2t", pixels, data },
    ...(signature ? [{ contentType: "application/octet-stream", pixels: undefined, data: signature }] : []),
  ]);
}

/** From a pool's message to an uploaded answer. Every task gets exactly one. */
export function createTaskRunner(
  options: {
    readonly capabilities: CapabilitySet;
    /** Of this worker: it goes with every result. */
    readonly secret: string;
    readonly transcodeTimeoutMs: number | undefined;
  },
  deps: TaskRunnerDeps,
): TaskRunner {
  const { clock, logger, sessions, downloader, uploader } = deps;
  const running = new Set<Promise<void>>();
  const counts = {
    done: 0,
    failed: 0,
    stopped: 0,
    resultsLost: 0,
    pixelsEncoded: 0n,
    lastSegment: undefined as TaskCounts["lastSegment"],
  };
  let closed = false;

  const bring = async (taskId: bigint, answer: Answer, deadlineMs: number): Promise<void> => {
    if (closed) return;
    const order = { taskId, answer, secret: options.secret, deadlineMs: deadlineMs + UPLOAD_GRACE_MS };
    const outcome = await uploader.upload(order);
    if (outcome.kind === "taken" || closed) return;
    if (outcome.kind === "lost") counts.resultsLost++;
    logger.warn("the pool did not take a result", { taskId: taskId.toString(), ...outcome });
  };

  /** Fetches at once, transcodes when the segments before it in its session are done. */
  const transcode = async (task: Task, deadlineMs: number): Promise<TranscodeOutcome | Unavailable> => {
    const slot = sessions.enter(task.session, loadOf(task.profiles), task.reinit);
    if (slot === "busy") return { kind: "unavailable", text: transcodeText.busy };
    const release: (() => void)[] = [];
    try {
      const source = await downloader.download(task.url, slot.signal);
      // Said at once, whoever is before it: the pool can still give the segment to another worker.
      if (source.kind === "stopped") return source;
      if (source.kind === "failed") return { kind: "unavailable", text: source.text };
      release.push(source.release);
      await slot.turn;
      const outcome = await slot.device.transcoder.transcode({ ...task, source: source.data, deadlineMs }, slot.signal);
      // What is the input's fault says nothing about the device.
      if (outcome.kind === "done" || outcome.kind === "died") {
        sessions.report(task.session, slot.device, outcome.kind === "done");
      }
      return outcome;
    } finally {
      for (const free of release) free();
      slot.leave();
    }
  };

  const runTask = async (task: Task): Promise<void> => {
    const startedMs = clock.monotonicMs();
    const deadlineMs = startedMs + (options.transcodeTimeoutMs ?? segmentTimeoutMs(task.durationMs));
    const outcome = await transcode(task, deadlineMs).catch((error: unknown): TranscodeOutcome => ({
      kind: "died",
      text: "the worker failed",
      stderrTail: errorText(error),
    }));
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    const facts = { session: task.session, seq: task.seq.toString(), tookMs };
    switch (outcome.kind) {
      case "done": {
        counts.done++;
        counts.lastSegment = { tookMs, durationMs: task.durationMs };
        for (const { pixels } of outcome.renditions) counts.pixelsEncoded += pixels;
        logger.debug("segment done", facts);
        const { decodedPixels, renditions, release } = outcome;
        try {
          await bring(task.taskId, { kind: "renditions", decodedPixels, parts: partsOf(renditions) }, deadlineMs);
        } finally {
          release();
        }
        return;
      }
      case "stopped":
        counts.stopped++;
        logger.debug("segment stopped", facts);
        return await bring(task.taskId, { kind: "error", text: transcodeText.stopped }, deadlineMs);
      case "died":
        counts.failed++;
        logger.warn("segment failed", { ...facts, text: outcome.text, stderr: outcome.stderrTail });
        return await bring(task.taskId, { kind: "error", text: outcome.text }, deadlineMs);
      case "refused":
      case "unavailable":
        counts.failed++;
        logger.info("segment refused", { ...facts, text: outcome.text });
        return await bring(task.taskId, { kind: "error", text: outcome.text }, deadlineMs);
    }
  };

  const track = (work: Promise<void>): void => {
    const tracked = work
      .catch((error: unknown) => logger.error("a task ended without an answer", { error: errorText(error) }))
      .finally(() => running.delete(tracked));
    running.add(tracked);
  };

  return {
    onNotify(notify) {
      const order = readOrder(notify, options.capabilities);
      switch (order.kind) {
        case "task":
          return track(runTask(order.task));
        case "refuse":
          counts.failed++;
          logger.info("task refused", { taskId: order.taskId.toString(), text: order.text });
          return track(
            bring(order.taskId, { kind: "error", text: order.text }, clock.monotonicMs() + segmentTimeoutMs(0)),
          );
        case "end-session":
          logger.debug("session ended by the pool", { session: order.session, known: sessions.end(order.session) });
          return;
        case "nothing":
          return;
      }
    },
    counts,
    get running() {
      return running.size;
    },
    async idle() {
      while (running.size > 0) await Promise.all(running);
    },
    close() {
      closed = true;
      sessions.stop();
    },
  };
}
