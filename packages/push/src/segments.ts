import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { errorCode, errorText, type Logger, PoolError } from "@openpool/base";
import { type Container, DEFAULT_SEGMENT_DURATION_MS } from "@openpool/protocol";

const run = promisify(execFile);

export interface SegmentFileOptions {
  /** A media file that FFmpeg reads, or a folder of ready `.ts` or `.mp4` segments, taken in the order of their names. */
  readonly source: string;
  /** Container of the segments that are cut from a file. Default: MPEG-TS. */
  readonly container?: Container | undefined;
  /** Aimed-at length, in ms. A segment starts at a keyframe, so sources with rare keyframes give longer ones. */
  readonly segmentMs?: number | undefined;
  /** The programs to run. */
  readonly ffmpeg?: string | undefined;
  readonly ffprobe?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SourceSegment {
  readonly data: Buffer;
  readonly durationMs: number;
}

/** The segments of a source, in order. Disposing removes what was cut. */
export interface SegmentSource extends AsyncDisposable {
  readonly container: Container;
  readonly count: number;
  /** Reads the segment with that index, 0 to `count` - 1. */
  read(index: number): Promise<SourceSegment>;
}

export class SourceError extends PoolError<
  | { readonly code: "push/no-ffmpeg"; readonly program: string }
  | { readonly code: "push/bad-source"; readonly source: string }
> {}

const extensions: Readonly<Record<Container, string>> = { mpegts: ".ts", mp4: ".mp4" };

/** Makes segments of a file or a folder. Throws {@link SourceError} when there is nothing in it to send. */
export async function segmentFile(
  options: SegmentFileOptions,
  dependencies: { readonly logger: Logger },
): Promise<SegmentSource> {
  const { source } = options;
  const found = await stat(source).catch((error: unknown) => {
    throw new SourceError({ code: "push/bad-source", source }, `cannot read ${source}: ${errorText(error)}`);
  });
  return found.isDirectory() ? openFolder(options) : cutFile(options, dependencies.logger);
}

async function openFolder(options: SegmentFileOptions): Promise<SegmentSource> {
  const { source } = options;
  const names = await readdir(source);
  const inOrder = names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const ofKind = (kind: Container): string[] => inOrder.filter((name) => name.endsWith(extensions[kind]));
  const container = options.container ?? (ofKind("mpegts").length > 0 ? "mpegts" : "mp4");
  const files = ofKind(container).map((name) => path.join(source, name));
  if (files.length === 0) {
    throw new SourceError(
      { code: "push/bad-source", source },
      `${source} holds no segments: it should have files whose names end in .ts or .mp4`,
    );
  }
  const durations = new Map<number, number>();
  return {
    container,
    count: files.length,
    async read(index) {
      const file = files[index]!; // the caller stays below `count`
      const durationMs = durations.get(index) ?? (await probeDurationMs(file, options));
      durations.set(index, durationMs);
      return { data: await readFile(file), durationMs };
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** Segments may come out longer than asked for by this factor before their keyframes count as too rare. */
const MAX_STRETCH = 2;

/**
 * Cuts at keyframes without touching the streams where that gives segments that orchestrators can read, else encodes to
 * H.264 and AAC with keyframes in the right places.
 */
async function cutFile(options: SegmentFileOptions, logger: Logger): Promise<SegmentSource> {
  const { source, container = "mpegts", segmentMs = DEFAULT_SEGMENT_DURATION_MS } = options;
  const codecs = await probeCodecs(options);
  if (codecs.video === undefined) {
    throw new SourceError({ code: "push/bad-source", source }, `${source} has no video stream`);
  }
  const audio = codecs.audio === undefined || ["aac", "mp3"].includes(codecs.audio) ? ["copy"] : ["aac"];
  const folder = await mkdtemp(path.join(tmpdir(), "openpool-push-"));
  const cut = (video: readonly string[]): Promise<CutSegment[]> =>
    runSegmenter(options, container, folder, ["-c:v", ...video, "-c:a", ...audio]);
  const keyframes = ["-force_key_frames", `expr:gte(t,n_forced*${segmentMs / 1000})`];
  const encode = ["libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", ...keyframes];
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    let segments = await cut(codecs.video === "h264" ? ["copy"] : encode);
    const longestMs = Math.max(...segments.map((segment) => segment.durationMs));
    if (codecs.video === "h264" && longestMs > MAX_STRETCH * segmentMs) {
      logger.info("keyframes are too rare to cut at, encoding the source first", { source, longestMs, segmentMs });
      segments = await cut(encode);
    }
    return {
      container,
      count: segments.length,
      async read(index) {
        const { file, durationMs } = segments[index]!; // the caller stays below `count`
        return { data: await readFile(file), durationMs };
      },
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

interface CutSegment {
  readonly file: string;
  readonly durationMs: number;
}

async function runSegmenter(
  options: SegmentFileOptions,
  container: Container,
  folder: string,
  codecs: readonly string[],
): Promise<CutSegment[]> {
  const { source, segmentMs = DEFAULT_SEGMENT_DURATION_MS } = options;
  const listFile = path.join(folder, "list.csv");
  const args = ["-v", "error", "-nostdin", "-y", "-i", source, "-map", "0:v:0", "-map", "0:a:0?", ...codecs];
  args.push("-f", "segment", "-segment_time", String(segmentMs / 1000), "-segment_format", container);
  // Each MP4 is a file of its own; MPEG-TS keeps the time of the stream, as a live publisher's segments do.
  if (container === "mp4") args.push("-segment_format_options", "movflags=+faststart", "-reset_timestamps", "1");
  args.push("-segment_list_type", "csv", "-segment_list", listFile);
  args.push(path.join(folder, `%06d${extensions[container]}`));
  await runTool(options.ffmpeg ?? "ffmpeg", options, args);
  const segments = (await readFile(listFile, "utf8")).split("\n").flatMap((line) => {
    const [name, from, to] = line.split(",");
    if (!name || from === undefined || to === undefined) return [];
    const durationMs = Math.max(1, Math.round((Number(to) - Number(from)) * 1000));
    return [{ file: path.join(folder, name), durationMs }];
  });
  if (segments.length > 0) return segments;
  throw new SourceError({ code: "push/bad-source", source }, `FFmpeg made no segments of ${source}`);
}

async function probeCodecs(options: SegmentFileOptions): Promise<Record<"video" | "audio", string | undefined>> {
  const args = ["-v", "error", "-show_entries", "stream=codec_type,codec_name", "-of", "csv=p=0", options.source];
  const lines = (await runTool(options.ffprobe ?? "ffprobe", options, args)).split("\n");
  const codec = (type: string): string | undefined => lines.find((line) => line.endsWith(`,${type}`))?.split(",")[0];
  return { video: codec("video"), audio: codec("audio") };
}

/** A segment that ffprobe cannot measure (damaged, or no ffprobe here) is taken for one of usual length. */
async function probeDurationMs(file: string, options: SegmentFileOptions): Promise<number> {
  const args = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file];
  const text = await runTool(options.ffprobe ?? "ffprobe", options, args).catch((error: unknown) => {
    options.signal?.throwIfAborted();
    if (error instanceof SourceError) return "";
    throw error;
  });
  const seconds = Number.parseFloat(text);
  return seconds > 0 && seconds <= 300 ? Math.round(seconds * 1000) : DEFAULT_SEGMENT_DURATION_MS;
}

async function runTool(program: string, options: SegmentFileOptions, args: readonly string[]): Promise<string> {
  try {
    const limits = { maxBuffer: 16 << 20, ...(options.signal ? { signal: options.signal } : {}) };
    return (await run(program, args, limits)).stdout;
  } catch (error) {
    options.signal?.throwIfAborted();
    if (errorCode(error) === "ENOENT") {
      throw new SourceError(
        { code: "push/no-ffmpeg", program },
        `${program} was not found: install FFmpeg, or give a folder of ready segments`,
      );
    }
    const stderr = typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
    throw new SourceError(
      { code: "push/bad-source", source: options.source },
      `${program} could not read ${options.source}: ${stderr.split("\n").at(-1) || errorText(error)}`,
    );
  }
}
