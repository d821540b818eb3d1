import { PoolError } from "@openpool/base";
import type { FfmpegDialect } from "../transcode/arguments.ts";
import { runTool } from "./run-tool.ts";

/** What an FFmpeg was built with: what it lists, not what works. */
export interface FfmpegBuild {
  readonly path: string;
  /** `5.1.9-0+deb12u1`, as it names itself. */
  readonly version: string;
  readonly dialect: FfmpegDialect;
  readonly encoders: ReadonlySet<string>;
  readonly decoders: ReadonlySet<string>;
  readonly filters: ReadonlySet<string>;
  readonly hwaccels: ReadonlySet<string>;
}

export type FfmpegFailure =
  | { readonly code: "worker/ffmpeg-missing"; readonly path: string }
  | { readonly code: "worker/ffmpeg-unusable"; readonly path: string };

const TIMEOUT_MS = 20_000;

/** Names in a table of FFmpeg's: flags, a name, a description a line. */
function names(table: string, line: RegExp): Set<string> {
  const found = new Set<string>();
  for (const text of table.split("\n")) {
    const match = line.exec(text);
    if (match?.[1]) found.add(match[1]);
  }
  return found;
}

/** `5.1.9-0+deb12u1` → [5, 1]; builds from git (`N-109468-…`) count as newest. */
function versionNumbers(version: string): readonly [number, number] {
  const match = /^n?(\d+)\.(\d+)/.exec(version);
  return match ? [Number(match[1]), Number(match[2])] : [Number.POSITIVE_INFINITY, 0];
}

/** Asks an FFmpeg what it is. Throws when there is none, with what to do. */
export async function inspectFfmpeg(path: string, signal?: AbortSignal): Promise<FfmpegBuild> {
  const options = { timeoutMs: TIMEOUT_MS, ...(signal ? { signal } : {}) };
  const ask = (...args: string[]): Promise<{ readonly stdout: string }> =>
    runTool(path, ["-hide_banner", ...args], options);
  const about = await runTool(path, ["-version"], options);
  if (about.startError !== undefined) {
    throw new PoolError<FfmpegFailure>(
      { code: "worker/ffmpeg-missing", path },
      `FFmpeg does not start (${path}: ${about.startError}). Install it (Debian, Ubuntu: apt install ffmpeg) or name its path.`,
    );
  }
  const version = /^ffmpeg version (\S+)/m.exec(about.stdout)?.[1];
  if (version === undefined) {
    throw new PoolError<FfmpegFailure>(
      { code: "worker/ffmpeg-unusable", path },
      `${path} does not answer -version as FFmpeg does: ${(about.stderr || about.stdout).trim().split("\n").at(-1) ?? ""}`,
    );
  }
  const [encoders, decoders, filters, hwaccels] = await Promise.all([
    ask("-encoders"),
    ask("-decoders"),
    ask("-filters"),
    ask("-hwaccels"),
  ]);
  const [major, minor] = versionNumbers(version);
  return {
    path,
    version,
    dialect: {
      fpsModeFlag: major > 5 || (major === 5 && minor >= 1) ? "-fps_mode" : "-vsync",
      dropsPackets: major >= 5,
    },
    encoders: names(encoders.stdout, /^ [VAS][A-Z.]{5} (\S+) /),
    decoders: names(decoders.stdout, /^ [VAS][A-Z.]{5} (\S+) /),
    filters: names(filters.stdout, /^ [A-Z.]{2,3} (\S+) /),
    hwaccels: names(hwaccels.stdout, /^([a-z0-9]+)$/),
  };
}
