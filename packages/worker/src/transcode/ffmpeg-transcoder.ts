import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Logger } from "@openpool/base";
import { LIVEPEER_VERSION, MIN_RENDITION_BYTES } from "@openpool/protocol";
import { type EncodingPath, type FfmpegDialect, type PlannedOutput, planTranscode } from "./arguments.ts";
import { type ChildEnd, type FfmpegChild, startFfmpeg } from "./ffmpeg-child.ts";
import type { FfmpegLog } from "./ffmpeg-log.ts";
import { refusalOf } from "./refusal.ts";
import {
  type Rendition,
  type Transcoder,
  type TranscodeOutcome,
  type TranscodeRequest,
  transcodeText,
} from "./transcoder.ts";

export interface FfmpegTranscoderOptions {
  readonly ffmpegPath: string;
  /** Exists, and belongs to this transcoder alone. */
  readonly tempDir: string;
  readonly path: EncodingPath;
  readonly dialect: FfmpegDialect;
}

/** Frames that no honest segment has: far more than its length at its rate gives. */
function maxFramesOf(request: TranscodeRequest): number {
  const fps = Math.max(60, ...request.profiles.map((profile) => profile.fps / profile.fpsDen));
  return Math.ceil(4 * fps * Math.max(2, request.durationMs / 1000)) + 500;
}

function isMp4(data: Uint8Array): boolean {
  // Its first box is ftyp, styp or, in old files, moov or the like: a size, then four letters.
  return data.length >= 8 && /^(?:ftyp|styp|moov|mdat|free|wide|skip|sidx|moof)$/.test(latin1(data, 4, 8));
}

function latin1(data: Uint8Array, from: number, to: number): string {
  return Buffer.from(data.buffer, data.byteOffset + from, to - from).toString("latin1");
}

/** One FFmpeg child a segment: as fast as anything in-process here, and a crash costs one segment. */
export function createFfmpegTranscoder(
  options: FfmpegTranscoderOptions,
  deps: { readonly clock: Clock; readonly logger: Logger },
): Transcoder {
  const { clock, logger } = deps;
  let nextJob = 0;
  const children = new Set<FfmpegChild>();

  const collect = async (
    dir: string,
    outputs: readonly PlannedOutput[],
    log: FfmpegLog,
    maxFrames: number,
  ): Promise<TranscodeOutcome> => {
    const died = (text: string): TranscodeOutcome => ({ kind: "died", text, stderrTail: log.tail.join("\n") });
    if (log.decodedFrames === 0) return { kind: "refused", text: transcodeText.noKeyframes };
    const renditions: Rendition[] = [];
    for (const [i, { file, signatureFile, profile }] of outputs.entries()) {
      const data = await readFile(join(dir, file)).catch(() => undefined);
      const frames = log.encodedFrames.get(i) ?? 0;
      const size = log.outputSizes.get(i);
      if (frames >= maxFrames) return { kind: "refused", text: transcodeText.runaway };
      if (!data || data.length < MIN_RENDITION_BYTES || !size || frames === 0)
        return died(`rendition ${i} came out empty`);
      renditions.push({
        container: profile.container,
        data,
        frames,
        pixels: BigInt(frames) * BigInt(size.width) * BigInt(size.height),
        signature:
          signatureFile === undefined
            ? undefined
            : await readFile(join(dir, signatureFile)).catch(() => Buffer.alloc(0)),
      });
    }
    const source = log.sourceSize;
    const decodedPixels = source ? BigInt(log.decodedFrames ?? 0) * BigInt(source.width) * BigInt(source.height) : 0n;
    return { kind: "done", renditions, decodedPixels };
  };

  const judge = (end: ChildEnd, log: FfmpegLog): TranscodeOutcome | undefined => {
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

  return {
    async transcode(request, signal) {
      if (signal.aborted) return { kind: "stopped" };
      if (request.source.length === 0) return { kind: "refused", text: transcodeText.invalidVideo };
      if (request.profiles.length === 0) return { kind: "done", renditions: [], decodedPixels: 0n };
      const maxFrames = maxFramesOf(request);
      const fromFile = isMp4(request.source);
      const plan = planTranscode(
        { ...request, livepeerVersion: LIVEPEER_VERSION, input: fromFile ? "source.mp4" : "pipe:0", maxFrames },
        options.path,
        options.dialect,
      );
      if (plan.kind === "refused") return plan;

      const dir = join(options.tempDir, String(nextJob++));
      let timedOut = false;
      try {
        await mkdir(dir);
        if (fromFile) await writeFile(join(dir, "source.mp4"), request.source);
        const child = startFfmpeg({
          ffmpegPath: options.ffmpegPath,
          args: plan.args,
          cwd: dir,
          onDecodeError: () => child.stop(),
        });
        children.add(child);
        const onAbort = (): void => child.stop();
        signal.addEventListener("abort", onAbort);
        if (signal.aborted) onAbort();
        const forget = clock.after(request.deadlineMs - clock.monotonicMs(), () => {
          timedOut = true;
          child.stop();
        });
        child.feed(fromFile ? new Uint8Array() : request.source);
        const end = await child.ended;
        forget();
        signal.removeEventListener("abort", onAbort);
        children.delete(child);
        if (timedOut && !signal.aborted) {
          return { kind: "died", text: "transcoding took too long", stderrTail: child.log.tail.join("\n") };
        }
        return judge(end, child.log) ?? (await collect(dir, plan.outputs, child.log, maxFrames));
      } finally {
        await rm(dir, { recursive: true, force: true }).catch((error: unknown) =>
          logger.warn("temporary files stay behind", { dir, error: String(error) }),
        );
      }
    },
    endSession() {},
    async [Symbol.asyncDispose]() {
      const all = [...children];
      for (const child of all) child.stop();
      await Promise.all(all.map((child) => child.ended));
    },
  };
}
