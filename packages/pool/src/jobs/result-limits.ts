import { MAX_SEGMENT_BYTES, type MediaProbe, type Profile } from "@openpool/protocol";
import type { Work } from "./job.ts";

export interface ResultLimits {
  readonly maxParts: number;
  readonly maxBytes: number;
}

/**
 * The most that a result of a job may be. Many times what an encoder makes of it: it only keeps a hostile worker from
 * filling the memory that the results of others need.
 */
export function mostOfResult(job: Work, source: MediaProbe | undefined): ResultLimits {
  const measuredMs = source?.kind === "media" ? (source.video?.durationMs ?? 0) : 0;
  const seconds = Math.max(job.durationMs, measuredMs) / 1_000;
  const inputBytes = Math.max(job.input.bytes.length, job.input.announcedBytes ?? 0);
  return {
    maxParts: job.profiles.length * (job.perceptualHash ? 2 : 1),
    maxBytes: job.profiles.reduce((sum, profile) => sum + mostBytes(profile, inputBytes, seconds), 0),
  };
}

/** More than an encoder makes of a source for a profile, by far, with what a multipart adds to it. */
function mostBytes({ width, height, bitrate, quality }: Profile, inputBytes: number, seconds: number): number {
  const byRate = (bitrate / 8) * seconds;
  // Constant quality goes as high as the pictures ask for.
  const byQuality = quality > 0 ? (width || 1_920) * (height || 1_080) * 60 * seconds * 0.5 : 0;
  return Math.min(MAX_SEGMENT_BYTES, (4 << 20) + 4 * (inputBytes + byRate) + byQuality) + 8_192;
}
