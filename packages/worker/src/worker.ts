import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { openScope, PoolError } from "@openpool/base";
import {
  capabilitiesToWire,
  DEFAULT_CAPABILITIES,
  hexToBytes,
  LIVEPEER_VERSION,
  parseOpenSecret,
  RegisterRequestSchema,
  segmentTimeoutMs,
} from "@openpool/protocol";
import { parseFingerprint } from "./net/dial.ts";
import { openPoolLink, type LinkEnd } from "./net/pool-link.ts";
import { createUploader, type TaskResult } from "./net/results.ts";
import { createDownloader } from "./net/source.ts";
import { formatPoolAddress, parsePoolAddress, type WorkerDeps, type WorkerOptions } from "./options.ts";
import { createSessions, loadOf } from "./sessions.ts";
import { readOrder, type Task } from "./task.ts";
import { createFfmpegTranscoder } from "./transcode/ffmpeg-transcoder.ts";
import { type TranscodeOutcome, transcodeText } from "./transcode/transcoder.ts";

export interface WorkerStatus {
  readonly state: "connecting" | "registered" | "waiting" | "draining" | "stopped";
  readonly pool: string;
  readonly maxSessions: number;
  readonly sessions: number;
  readonly running: number;
  readonly done: number;
  readonly failed: number;
}

export interface Worker extends AsyncDisposable {
  /** Takes no more tasks, finishes and uploads what it has, then closes. What SIGTERM asks for. */
  drain(): Promise<void>;
  status(): WorkerStatus;
  /** Why it is over; settles once. `refused`: the pool said that no retry can help. */
  readonly closed: Promise<LinkEnd>;
}

/** After the deadline of a task its answer may still be of use for a moment: the pool's clock started later. */
const UPLOAD_GRACE_MS = 2_000;

export async function startWorker(options: WorkerOptions, deps: WorkerDeps): Promise<Worker> {
  const { clock, logger } = deps;
  const pool = parsePoolAddress(options.pool);
  if (!pool) {
    throw new PoolError({ code: "worker/bad-pool-address" }, `"${options.pool}" is no HOST:PORT to find the pool at`);
  }
  const certSha256 = options.poolCertSha256 === undefined ? undefined : parseFingerprint(options.poolCertSha256);
  if (options.poolCertSha256 !== undefined && certSha256 === undefined) {
    throw new PoolError({ code: "worker/bad-fingerprint" }, "the pool's certificate pin must be a SHA-256 in hex");
  }
  const scope = openScope();
  try {
    const tempDir = join(options.workDir, "tmp");
    await rm(tempDir, { recursive: true, force: true });
    await mkdir(tempDir, { recursive: true });
    scope.defer(() => rm(tempDir, { recursive: true, force: true }));
    const transcoder = scope.use(
      createFfmpegTranscoder(
        {
          ffmpegPath: options.ffmpegPath,
          tempDir,
          path: { frames: "software", inputArgs: [], uploadFilter: "", encoders: { h264: "libx264", h265: "libx265" } },
          dialect: { fpsModeFlag: "-fps_mode", dropsPackets: true },
        },
        deps,
      ),
    );
    const maxSessions = options.maxSessions ?? Math.max(1, Math.floor(availableParallelism() / 2));
    const capabilities = DEFAULT_CAPABILITIES;
    const sessions = createSessions([transcoder], { onEnd: (id, device) => device.endSession(id) }, deps);
    const downloader = createDownloader(clock);
    scope.defer(() => downloader[Symbol.dispose]());
    const uploader = scope.use(createUploader({ pool, certSha256, secret: options.secret }, deps));
    scope.defer(() => sessions.stop());

    const running = new Set<Promise<void>>();
    let draining = false;
    let done = 0;
    let failed = 0;

    const answer = async (taskId: bigint, result: TaskResult, deadlineMs: number): Promise<void> => {
      const outcome = await uploader.upload(taskId, result, deadlineMs + UPLOAD_GRACE_MS);
      if (outcome.kind !== "taken")
        logger.warn("the pool did not take a result", { taskId: String(taskId), ...outcome });
    };

    const transcode = async (
      task: Task,
      deadlineMs: number,
    ): Promise<TranscodeOutcome | { kind: "unavailable"; text: string }> => {
      const slot = sessions.enter(task.session, loadOf(task.profiles));
      if (slot === "busy") return { kind: "unavailable", text: transcodeText.busy };
      try {
        const [source] = await Promise.all([downloader.download(task.url, slot.signal), slot.turn]);
        if (source.kind === "stopped") return { kind: "stopped" };
        if (source.kind === "failed") return { kind: "unavailable", text: source.text };
        return await slot.device.transcode({ ...task, source: source.data, deadlineMs }, slot.signal);
      } finally {
        slot.leave();
      }
    };

    const runTask = async (task: Task): Promise<void> => {
      const startedMs = clock.monotonicMs();
      const deadlineMs = startedMs + (options.transcodeTimeoutMs ?? segmentTimeoutMs(task.durationMs));
      const outcome = await transcode(task, deadlineMs).catch((error: unknown): TranscodeOutcome => ({
        kind: "died",
        text: "the worker failed",
        stderrTail: String(error),
      }));
      const facts = {
        session: task.session,
        seq: String(task.seq),
        tookMs: Math.round(clock.monotonicMs() - startedMs),
      };
      let result: TaskResult;
      switch (outcome.kind) {
        case "done":
          done++;
          logger.debug("segment done", facts);
          result = {
            kind: "renditions",
            decodedPixels: outcome.decodedPixels,
            parts: outcome.renditions.flatMap(({ container, data, pixels, signature }) => [
              { contentType: container === "mp4" ? "video/mp4" : "video/mp2t", pixels, data },
              ...(signature ? [{ contentType: "application/octet-stream", pixels: undefined, data: signature }] : []),
            ]),
          };
          break;
        case "stopped":
          logger.debug("segment stopped", facts);
          result = { kind: "error", text: transcodeText.stopped };
          break;
        case "died":
          failed++;
          logger.warn("segment failed", { ...facts, text: outcome.text, stderr: outcome.stderrTail });
          result = { kind: "error", text: outcome.text };
          break;
        default:
          failed++;
          logger.info("segment refused", { ...facts, text: outcome.text });
          result = { kind: "error", text: outcome.text };
      }
      await answer(task.taskId, result, deadlineMs);
    };

    const track = (work: Promise<void>): void => {
      const tracked = work.finally(() => running.delete(tracked));
      running.add(tracked);
    };

    const secret = parseOpenSecret(options.secret);
    const link = scope.use(
      openPoolLink(
        { pool, certSha256 },
        create(RegisterRequestSchema, {
          secret: options.secret,
          capacity: BigInt(maxSessions),
          capabilities: capabilitiesToWire(capabilities, LIVEPEER_VERSION),
          ...(typeof secret === "string" ? {} : { ethereumAddress: hexToBytes(secret.worker.slice(2)) }),
        }),
        {
          ...deps,
          onNotify(notify) {
            const order = readOrder(notify, capabilities);
            switch (order.kind) {
              case "task":
                return track(runTask(order.task));
              case "refuse":
                logger.info("task refused", { taskId: String(order.taskId), text: order.text });
                return track(
                  answer(order.taskId, { kind: "error", text: order.text }, clock.monotonicMs() + segmentTimeoutMs(0)),
                );
              case "end-session":
                sessions.end(order.session);
                return;
              case "nothing":
                return;
            }
          },
        },
      ),
    );

    const drain = async (): Promise<void> => {
      draining = true;
      link.leave();
      while (running.size > 0) await Promise.all(running);
      await scope[Symbol.asyncDispose]();
    };
    return {
      drain,
      status: () => ({
        state: draining ? "draining" : link.state.state,
        pool: formatPoolAddress(pool),
        maxSessions,
        sessions: sessions.size,
        running: running.size,
        done,
        failed,
      }),
      closed: link.ended,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
      logger.error("could not undo start", { error }),
    );
    throw cause;
  }
}
