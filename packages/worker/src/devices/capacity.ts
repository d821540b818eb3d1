import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Clock, errorText, type Logger, PoolError } from "@openpool/base";
import { plainProfile, type Profile } from "@openpool/protocol";
import type { Transcoder } from "../transcode/transcoder.ts";
import { type Device, deviceName } from "./device.ts";
import type { FfmpegBuild } from "./ffmpeg-build.ts";
import { runTool } from "./run-tool.ts";

export interface Capacity {
  /** Streams of 720p into three renditions that the device transcodes at once, with a fifth of its speed left over. */
  readonly sessions: number;
  /** Seconds of such video that it transcodes in a second, several streams together. */
  readonly realTimeFactor: number;
  readonly measuredAt: string;
}

/** Nothing could be measured. */
export type CapacityFailure = { readonly code: "worker/not-measured" };

/** Raised when what is measured changes, so that kept results of older releases are not used. */
const CACHE_VERSION = 1;
/** The speed left over: segments come in bursts, and the machine has other things to do. */
const USABLE_SHARE = 0.8;
/** No further step of the benchmark begins after this. */
const STEPS_MS = 1_500;
const STEP_TIMEOUT_MS = 20_000;
/** More streams at once must bring at least this much, or the device is full. */
const WORTHWHILE_GAIN = 1.1;
const SEGMENT_S = 1;

function benchProfile(width: number, height: number, bitrate: number): Profile {
  return plainProfile({ name: `${height}p`, width, height, bitrate, h264Profile: "main" });
}

const profiles = [benchProfile(426, 240, 250_000), benchProfile(640, 360, 800_000), benchProfile(854, 480, 1_600_000)];

/** A second of 720p that is about as hard to encode as film. */
async function makeSource(build: FfmpegBuild, dir: string, signal: AbortSignal): Promise<Buffer> {
  const graph = `testsrc2=size=1280x720:rate=25:duration=${SEGMENT_S},rotate=a=t/4:fillcolor=gray,noise=alls=12:allf=t`;
  const encode = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-crf",
    "28",
    "-pix_fmt",
    "yuv420p",
    "-f",
    "mpegts",
    "bench.ts",
  ];
  const run = await runTool(build.path, ["-y", "-v", "error", "-nostdin", "-f", "lavfi", "-i", graph, ...encode], {
    timeoutMs: STEP_TIMEOUT_MS,
    cwd: dir,
    signal,
  });
  if (run.code !== 0) {
    const why = run.stderr.trim() || `it took longer than ${STEP_TIMEOUT_MS / 1000} s, so this machine is very busy`;
    throw new PoolError<CapacityFailure>(
      { code: "worker/not-measured" },
      `FFmpeg could not make the benchmark's source: ${why}. Try again later, or name the number of streams with --max-sessions.`,
    );
  }
  return await readFile(join(dir, "bench.ts"));
}

/** Doubles the number of streams until the device gets no faster, for a couple of seconds at most. */
async function measure(transcoder: Transcoder, source: Buffer, clock: Clock, signal: AbortSignal): Promise<number> {
  const startedMs = clock.monotonicMs();
  let best = 0;
  for (let streams = 1; ; streams *= 2) {
    const stepMs = clock.monotonicMs();
    const outcomes = await Promise.all(
      Array.from({ length: streams }, (_, i) =>
        transcoder.transcode(
          {
            session: `bench-${i}`,
            source,
            durationMs: SEGMENT_S * 1000,
            profiles,
            clip: undefined,
            perceptualHash: false,
            orchId: "bench",
            deadlineMs: stepMs + STEP_TIMEOUT_MS,
          },
          signal,
        ),
      ),
    );
    let done = 0;
    for (const outcome of outcomes) {
      if (outcome.kind !== "done") continue;
      outcome.release();
      done++;
    }
    const factor = (done * SEGMENT_S * 1000) / (clock.monotonicMs() - stepMs);
    // Some of the streams failed: the device has a limit of its own (consumer cards allow few encoder sessions).
    const full = done < streams || factor < best * WORTHWHILE_GAIN;
    best = Math.max(best, factor);
    if (full || clock.monotonicMs() - startedMs > STEPS_MS || signal.aborted) return best;
  }
}

function fingerprint(build: FfmpegBuild, { path, ...device }: Device): string {
  return JSON.stringify([
    build.version,
    device.id,
    deviceName(device),
    path.frames,
    path.encoders,
    availableParallelism(),
  ]);
}

/** One without a finished segment says what went wrong then, and nothing of the device: it is measured again. */
function isMeasured(capacity: Capacity | undefined): capacity is Capacity {
  return capacity !== undefined && capacity.sessions >= 1 && capacity.realTimeFactor > 0;
}

interface Cache {
  readonly version: number;
  readonly entries: Readonly<Record<string, Capacity>>;
}

async function readCache(file: string): Promise<Cache> {
  try {
    const cache: unknown = JSON.parse(await readFile(file, "utf8"));
    // Written by ourselves; anything else is measured again.
    if (typeof cache === "object" && cache !== null && "version" in cache && cache.version === CACHE_VERSION) {
      return cache as Cache;
    }
  } catch {
    // Not there yet, or not readable: the same.
  }
  return { version: CACHE_VERSION, entries: {} };
}

export interface MeasureOptions {
  readonly ffmpeg: FfmpegBuild;
  readonly devices: readonly { readonly device: Device; readonly transcoder: Transcoder }[];
  readonly workDir: string;
  readonly tempDir: string;
}

/** How many sessions each device takes; measured once and kept until the device or FFmpeg changes. */
export async function measureCapacity(
  options: MeasureOptions,
  deps: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<ReadonlyMap<Device, Capacity>> {
  const { ffmpeg, workDir } = options;
  const { clock, logger } = deps;
  const file = join(workDir, "capacity.json");
  const cache = await readCache(file);
  const entries = { ...cache.entries };
  const capacities = new Map<Device, Capacity>();
  let source: Buffer | undefined;
  const dir = await mkdtemp(join(options.tempDir, "bench-"));
  try {
    for (const { device, transcoder } of options.devices) {
      const key = fingerprint(ffmpeg, device);
      let capacity = entries[key];
      if (!isMeasured(capacity)) {
        logger.info("measuring what the device can do", { device: device.id });
        source ??= await makeSource(ffmpeg, dir, signal);
        const factor = await measure(transcoder, source, clock, signal);
        capacity = {
          sessions: Math.max(1, Math.floor(factor * USABLE_SHARE)),
          realTimeFactor: Math.round(factor * 100) / 100,
          measuredAt: new Date(clock.now()).toISOString(),
        };
        if (isMeasured(capacity)) entries[key] = capacity;
        else
          logger.warn("no segment of the benchmark was finished; it is tried again at the next start", {
            device: device.id,
          });
      }
      capacities.set(device, capacity);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  if (source && !signal.aborted) {
    await writeFile(`${file}.new`, `${JSON.stringify({ version: CACHE_VERSION, entries }, undefined, 2)}\n`)
      .then(() => rename(`${file}.new`, file))
      .catch((error: unknown) => logger.warn("the measured capacity could not be kept", { error: errorText(error) }));
  }
  return capacities;
}
