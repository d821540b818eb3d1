import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, errorText, type Logger } from "@openpool/base";
import {
  LIVEPEER_VERSION,
  MAX_SEGMENT_DURATION_MS,
  type MediaProbe,
  MIN_RENDITION_BYTES,
  probeMedia,
  PTS_PER_SECOND,
} from "@openpool/protocol";
import { type EncodingPath, type FfmpegDialect, type PlannedOutput, planTranscode } from "./arguments.ts";
import type { ByteBudget } from "../byte-budget.ts";
import { type ChildEnd, type FfmpegChild, startFfmpeg } from "./ffmpeg-child.ts";
import type { FfmpegLog } from "./ffmpeg-log.ts";
import { refusalOf } from "./refusal.ts";
import { type ClipRange, type Rendition, type Transcoder, type TranscodeOutcome, transcodeText } from "./transcoder.ts";

export interface FfmpegTranscoderOptions {
  readonly ffmpegPath: string;
  /** Exists; in it this transcoder makes directories whose names start with the prefix. */
  readonly tempDir: string;
  readonly namePrefix: string;
  readonly path: EncodingPath;
  /** For sources that the decoder of `path` does not take: another codec, not 4:2:0, not 8 bits. Undefined: it takes all. */
  readonly anySourcePath: EncodingPath | undefined;
  readonly dialect: FfmpegDialect;
  /** Keep a started child ready for the next segment of a session. */
  readonly keepsSpares: boolean;
}

export interface FfmpegTranscoderDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of renditions held in memory, of all transcoders together. */
  readonly resultBudget: ByteBudget;
}

/**
 * A child that waits for the next segment of a session: loading FFmpeg's libraries takes 40 ms, opening a GPU some
 * hundreds, and both can be over before the segment comes.
 */
interface Spare {
  readonly key: string;
  readonly run: Run;
  /** Stops the timer that ends it. */
  forget(): void;
}

/** A child and the directory that it runs in. */
interface Run {
  readonly dir: string;
  readonly child: FfmpegChild;
}

/** A session whose next segment does not come within this time gets a cold start again. */
const SPARE_IDLE_MS = 10_000;
/** Sources are probed up to this size; a longer walk through memory would hold up everything else. */
const MAX_PROBED_BYTES = 64_000_000;

/**
 * Seconds that no honest segment has: where frames are far apart, the filter that makes a frame rate fills the gap. In
 * large steps, so that arguments repeat and segments whose duration nobody told are not cut.
 */
function maxSecondsOf(durationMs: number): number {
  return 120 * Math.ceil(durationMs / 60_000);
}

/** Whether FFmpeg must be able to seek in it: MP4 may keep its index at the end. */
function isMp4(data: Uint8Array): boolean {
  const type = Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1", 4, 8);
  return /^(?:ftyp|styp|moov|mdat|free|wide|skip|sidx|moof)$/.test(type);
}

/** A sound track that was announced and never came cannot be copied: muxers want its sample rate. */
function hasSound(probe: MediaProbe | undefined): boolean {
  return !(probe?.kind === "media" && probe.audio && probe.audio.firstPts === undefined);
}

/** The last piece of a stream may be a frame or two; how long they last. */
function momentOf(probe: MediaProbe | undefined): number | undefined {
  const video = probe?.kind === "media" ? probe.video : undefined;
  return video && video.frames <= 2 ? video.durationMs : undefined;
}

const keyOf = (args: readonly string[]): string => args.join("\0");

/** One FFmpeg child a segment: as fast as anything in-process here, and a crash costs one segment. */
export function createFfmpegTranscoder(options: FfmpegTranscoderOptions, deps: FfmpegTranscoderDeps): Transcoder {
  const { clock, logger, resultBudget } = deps;
  const children = new Set<FfmpegChild>();
  const spares = new Map<string, Spare>();
  /** What goes on behind the caller's back. */
  const pending = new Set<Promise<void>>();
  let nextRun = 0;
  let closed = false;

  const start = async (
    args: readonly string[],
    wrapper: readonly string[],
    files?: Record<string, Uint8Array>,
  ): Promise<Run> => {
    const dir = join(options.tempDir, `${options.namePrefix}-${nextRun++}`);
    await mkdir(dir);
    try {
      for (const [name, data] of Object.entries(files ?? {})) await writeFile(join(dir, name), data);
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
    const child = startFfmpeg({ ffmpegPath: options.ffmpegPath, wrapper, args, cwd: dir });
    children.add(child);
    void child.ended.then(() => children.delete(child));
    return { dir, child };
  };
  /** Ends the child and removes its files, behind the caller's back: results do not wait for it. */
  const discard = ({ dir, child }: Run): void => {
    child.stop();
    const cleaned = child.ended
      .then(() => rm(dir, { recursive: true, force: true }))
      .catch((error: unknown) => logger.warn("temporary files stay behind", { dir, error: errorText(error) }))
      .finally(() => pending.delete(cleaned));
    pending.add(cleaned);
  };
  const dropSpare = (session: string): void => {
    const spare = spares.get(session);
    if (!spare) return;
    spares.delete(session);
    spare.forget();
    discard(spare.run);
  };
  const takeSpare = (session: string, key: string): Run | undefined => {
    const spare = spares.get(session);
    if (!spare || spare.key !== key || spare.run.child.over) {
      dropSpare(session);
      return undefined;
    }
    spares.delete(session);
    spare.forget();
    return spare.run;
  };
  const keepSpare = (
    session: string,
    plan: { readonly args: readonly string[] },
    path: EncodingPath,
    signal: AbortSignal,
  ): void => {
    const unwanted = (): boolean => closed || signal.aborted || spares.has(session);
    if (!options.keepsSpares || unwanted()) return;
    const kept = start(plan.args, path.wrapper)
      .then((run) => {
        if (unwanted()) return discard(run);
        const forget = clock.after(SPARE_IDLE_MS, () => dropSpare(session));
        spares.set(session, { key: keyOf(plan.args), run, forget });
      })
      .catch((error: unknown) => logger.warn("no FFmpeg kept ready", { error: errorText(error) }))
      .finally(() => pending.delete(kept));
    pending.add(kept);
  };

  /** What a run that ended by itself or by a signal means; undefined: its files decide. */
  const judgeEnd = (end: ChildEnd, log: FfmpegLog): TranscodeOutcome | undefined => {
    const stderrTail = log.tail.join("\n");
    if (log.decodeErrors > 0) return { kind: "refused", text: transcodeText.invalidData };
    switch (end.kind) {
      case "stopped":
        return { kind: "stopped" };
      case "not-started":
        return { kind: "died", text: "FFmpeg does not start", stderrTail: end.why };
      case "died":
        return { kind: "died", text: `FFmpeg was ended by ${end.signal}`, stderrTail };
      case "exited": {
        if (end.code === 0) return undefined;
        const text = refusalOf(log.tail);
        return text === undefined
          ? { kind: "died", text: `FFmpeg ended with code ${end.code}`, stderrTail }
          : { kind: "refused", text };
      }
    }
  };

  /** The renditions that a run left, each counted: FFmpeg exits with 0 on much that went wrong. */
  const collect = async (
    { dir, child: { log } }: Run,
    outputs: readonly PlannedOutput[],
    source: MediaProbe | undefined,
    clip: ClipRange | undefined,
    signal: AbortSignal,
  ): Promise<TranscodeOutcome> => {
    if (log.decodedFrames === 0) return { kind: "refused", text: transcodeText.noKeyframes };
    const died = (text: string): TranscodeOutcome => ({ kind: "died", text, stderrTail: log.tail.join("\n") });
    const sizes = await Promise.all(outputs.map(({ file }) => stat(join(dir, file)).catch(() => undefined)));
    const release = await resultBudget.take(
      sizes.reduce((sum, file) => sum + (file?.size ?? 0), 0),
      signal,
    );
    if (!release) return { kind: "stopped" };
    let kept = false;
    try {
      const renditions: Rendition[] = [];
      for (const [i, { file, signatureFile, profile, maxFrames }] of outputs.entries()) {
        const data = sizes[i] ? await readFile(join(dir, file)) : Buffer.alloc(0);
        const encoded = log.encodedFrames.get(i);
        if (maxFrames !== undefined && encoded !== undefined && encoded >= maxFrames)
          return { kind: "refused", text: transcodeText.runaway };
        if (encoded === 0 && clip) return { kind: "refused", text: transcodeText.invalidClip };
        const probe = probeMedia(data);
        if (data.length < MIN_RENDITION_BYTES || probe.kind === "unreadable" || !probe.video?.frames) {
          return died(`rendition ${i} came out without video`);
        }
        const { frames, width, height } = probe.video;
        if (encoded !== undefined && frames !== encoded) {
          return died(`rendition ${i} has ${frames} of ${encoded} encoded frames`);
        }
        const signature = signatureFile && (await readFile(join(dir, signatureFile)).catch(() => Buffer.alloc(0)));
        // A gateway that asked for it fails a segment without: better that another worker makes one.
        if (signature && signature.length === 0) return died(`rendition ${i} came out without its signature`);
        renditions.push({
          container: profile.container,
          data,
          frames,
          pixels: BigInt(frames) * BigInt(width) * BigInt(height),
          signature: signature || undefined,
        });
      }
      kept = true;
      const video = source?.kind === "media" ? source.video : undefined;
      const size = log.sourceSize ?? video ?? { width: 0, height: 0 };
      const decodedFrames = log.decodedFrames ?? video?.frames ?? 0;
      const decodedPixels = BigInt(decodedFrames) * BigInt(size.width) * BigInt(size.height);
      return { kind: "done", renditions, decodedPixels, release };
    } finally {
      if (!kept) release();
    }
  };

  /** What can be said of a source without starting anything. */
  const judgeSource = (probe: MediaProbe | undefined): string | undefined => {
    if (probe?.kind !== "media") return undefined;
    if (!probe.video && !probe.problems.includes("no-pmt")) return transcodeText.invalidVideo;
    const { firstPts = 0, lastPts = 0 } = probe.video ?? {};
    if (lastPts - firstPts > (MAX_SEGMENT_DURATION_MS * PTS_PER_SECOND) / 1000) return transcodeText.invalidDuration;
    return undefined;
  };
  const pathFor = (probe: MediaProbe | undefined): EncodingPath => {
    const { path, anySourcePath } = options;
    if (!anySourcePath) return path;
    const video = probe?.kind === "media" ? probe.video : undefined;
    const decodes = video && (path.decodes?.includes(video.codec) ?? true);
    return decodes && video.chroma === "4:2:0" && video.bitDepth === 8 ? path : anySourcePath;
  };

  return {
    async transcode(request, signal) {
      const { session, source, profiles } = request;
      if (signal.aborted) return { kind: "stopped" };
      if (source.length === 0) return { kind: "refused", text: transcodeText.invalidVideo };
      if (profiles.length === 0) return { kind: "done", renditions: [], decodedPixels: 0n, release() {} };
      const probe = source.length <= MAX_PROBED_BYTES ? probeMedia(source) : undefined;
      const refusal = judgeSource(probe);
      if (refusal !== undefined) return { kind: "refused", text: refusal };
      const fromFile = isMp4(source);
      const path = pathFor(probe);
      const input = fromFile ? "source.mp4" : "pipe:0";
      const plan = planTranscode(
        {
          ...request,
          audio: hasSound(probe),
          momentMs: momentOf(probe),
          livepeerVersion: LIVEPEER_VERSION,
          input,
          maxSeconds: maxSecondsOf(request.durationMs),
        },
        path,
        options.dialect,
      );
      if (plan.kind === "refused") return plan;

      const run =
        takeSpare(session, keyOf(plan.args)) ??
        (await start(plan.args, path.wrapper, fromFile ? { [input]: source } : undefined));
      const { child } = run;
      let timedOut = false;
      const onAbort = (): void => child.stop();
      signal.addEventListener("abort", onAbort);
      if (signal.aborted || closed) onAbort();
      // The first error tells that the input is damaged; what the decoder makes of the rest is not worth the time.
      child.onDecodeError(() => child.stop());
      const forget = clock.after(request.deadlineMs - clock.monotonicMs(), () => {
        timedOut = true;
        child.stop();
      });
      try {
        if (fromFile) child.feed(new Uint8Array());
        // By the time that this one is done, the next one has loaded its libraries.
        else child.feed(source, () => keepSpare(session, plan, path, signal));
        const end = await child.ended;
        forget();
        if (timedOut && !signal.aborted) {
          return { kind: "died", text: "transcoding took too long", stderrTail: child.log.tail.join("\n") };
        }
        const verdict = judgeEnd(end, child.log);
        if (verdict) return verdict;
        return await collect(run, plan.outputs, probe, request.clip, signal);
      } finally {
        forget();
        signal.removeEventListener("abort", onAbort);
        discard(run);
      }
    },
    endSession: dropSpare,
    async [Symbol.asyncDispose]() {
      closed = true;
      for (const session of spares.keys()) dropSpare(session);
      // A child that is being started sees that it is not wanted and goes by itself.
      for (const child of children) child.stop();
      while (pending.size > 0 || children.size > 0)
        await Promise.all([...pending, ...[...children].map((child) => child.ended)]);
    },
  };
}
