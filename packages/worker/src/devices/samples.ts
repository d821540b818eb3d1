import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Capability } from "@openpool/protocol";
import type { FfmpegBuild } from "./ffmpeg-build.ts";
import { runTool } from "./run-tool.ts";

/** A few frames of one kind of source, made by the FFmpeg at hand. */
export interface Sample {
  readonly name: SampleName;
  readonly file: string;
  readonly data: Buffer;
}

export type SampleName =
  "h264" | "h264-444" | "h264-422" | "h264-444-10" | "h264-422-10" | "h264-420-10" | "hevc" | "vp8" | "vp9";

interface SampleKind {
  readonly encoder: string;
  readonly args: readonly string[];
  readonly format: string;
  /** What a device can announce that decodes it; undefined: that goes without saying. */
  readonly capability: number | undefined;
}

const h264 = (pixelFormat: string, capability: number | undefined): SampleKind => ({
  encoder: "libx264",
  args: ["-preset", "ultrafast", "-pix_fmt", pixelFormat],
  format: "mpegts",
  capability,
});

const kinds: Readonly<Record<SampleName, SampleKind>> = {
  h264: h264("yuv420p", undefined),
  "h264-444": h264("yuv444p", Capability.h264Decode444),
  "h264-422": h264("yuv422p", Capability.h264Decode422),
  "h264-444-10": h264("yuv444p10le", Capability.h264Decode444TenBit),
  "h264-422-10": h264("yuv422p10le", Capability.h264Decode422TenBit),
  "h264-420-10": h264("yuv420p10le", Capability.h264Decode420TenBit),
  hevc: {
    encoder: "libx265",
    args: ["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params", "log-level=error"],
    format: "mpegts",
    capability: Capability.hevcDecode,
  },
  vp8: {
    encoder: "libvpx",
    args: ["-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"],
    format: "matroska",
    capability: Capability.vp8Decode,
  },
  vp9: {
    encoder: "libvpx-vp9",
    args: ["-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"],
    format: "matroska",
    capability: Capability.vp9Decode,
  },
};

export const SAMPLE_FRAMES = 5;
const TIMEOUT_MS = 20_000;

export function decodeCapability(name: SampleName): number | undefined {
  return kinds[name].capability;
}

/** Makes a sample of every kind that this FFmpeg can make, in one run where all goes well. */
export async function makeSamples(build: FfmpegBuild, dir: string, signal?: AbortSignal): Promise<Sample[]> {
  const possible = (Object.keys(kinds) as SampleName[]).filter((name) => build.encoders.has(kinds[name].encoder));
  const source = `testsrc2=size=320x240:rate=25:duration=${SAMPLE_FRAMES / 25}`;
  const make = async (names: readonly SampleName[]): Promise<boolean> => {
    const outputs = names.flatMap((name) => {
      const { encoder, args, format } = kinds[name];
      return ["-map", "0:v", "-c:v", encoder, ...args, "-f", format, name];
    });
    const run = await runTool(build.path, ["-y", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, ...outputs], {
      timeoutMs: TIMEOUT_MS,
      cwd: dir,
      ...(signal ? { signal } : {}),
    });
    return run.code === 0;
  };
  const made: SampleName[] = [];
  if (await make(possible)) made.push(...possible);
  else for (const name of possible) if (await make([name])) made.push(name);
  return await Promise.all(made.map(async (name) => ({ name, file: name, data: await readFile(join(dir, name)) })));
}

/** How a device decodes, as `EncodingPath` has it. */
interface DecodingPath {
  readonly wrapper: readonly string[];
  readonly deviceArgs: readonly string[];
  readonly decodeArgs: readonly string[];
}

/**
 * Which samples decode completely on a path; in one run where all goes well. `filter` is one that only takes frames of
 * the device: FFmpeg falls back to its software decoder without a word, and that would pass too.
 */
export async function decodableSamples(
  build: FfmpegBuild,
  dir: string,
  samples: readonly Sample[],
  path: DecodingPath,
  filter: string | undefined,
  signal?: AbortSignal,
): Promise<Set<SampleName>> {
  const decoded = async (some: readonly Sample[]): Promise<SampleName[]> => {
    const inputs = some.flatMap(({ file }) => [...path.decodeArgs, "-i", file]);
    const filters = filter === undefined ? [] : ["-vf", filter];
    const outputs = some.flatMap((_, i) => ["-map", `${i}:v:0`, ...filters, "-f", "null", "-"]);
    const quiet = ["-v", "verbose", "-nostats", "-nostdin"];
    const [program = build.path, ...args] = [
      ...path.wrapper,
      build.path,
      ...quiet,
      ...path.deviceArgs,
      ...inputs,
      ...outputs,
    ];
    const run = await runTool(program, args, { timeoutMs: TIMEOUT_MS, cwd: dir, ...(signal ? { signal } : {}) });
    if (run.code !== 0) return [];
    return some.flatMap(({ name }, i) => {
      const frames = new RegExp(`Input stream #${i}:0 \\(video\\): .*; (\\d+) frames decoded`).exec(run.stderr)?.[1];
      return Number(frames) === SAMPLE_FRAMES ? [name] : [];
    });
  };
  const all = await decoded(samples);
  if (all.length > 0) return new Set(all);
  const one = await Promise.all(samples.map((sample) => decoded([sample])));
  return new Set(one.flat());
}
