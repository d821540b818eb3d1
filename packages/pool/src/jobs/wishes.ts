import { MAX_SEGMENT_DURATION_MS, type Profile, type SegData } from "@openpool/protocol";

/** The part of a segment that is wanted, in milliseconds from its start. 0 at either end: no limit there. */
export interface Clip {
  readonly fromMs: number;
  readonly toMs: number;
}

export function clipOf({ segmentParameters: clip }: SegData): Clip | undefined {
  return clip && (clip.from || clip.to) ? { fromMs: Number(clip.from), toMs: endOfClip(clip.to) } : undefined;
}

/** No segment is longer than this; a later end is its own. */
function endOfClip(to: bigint): number {
  return to > MAX_SEGMENT_DURATION_MS ? MAX_SEGMENT_DURATION_MS : Number(to);
}

/** H.264 goes no further, and neither does any encoder. */
const MAX_SIDE = 16_384;
const MAX_FPS = 1_000;
const MAX_OUTPUTS = 32;
const MAX_QUALITY = 63;

/**
 * What no transcoder can do, in the words of one: gateways neither retry these nor hold them against the session. Found
 * here, because every worker that was asked would fail and look bad for it.
 */
export function impossibleWish(profiles: readonly Profile[], { segmentParameters: clip }: SegData): string | undefined {
  if (profiles.length === 0) return "Invalid argument";
  if (profiles.length > MAX_OUTPUTS) return "Too many outputs";
  for (const { width, height, fps, fpsDen, bitrate, gopMs, quality } of profiles) {
    if (width < 0 || height < 0 || width > MAX_SIDE || height > MAX_SIDE) return "TranscoderInvalidResolution";
    if (gopMs < -1) return "TranscoderInvalidGOP";
    if (bitrate < 0 || quality > MAX_QUALITY || fps / fpsDen > MAX_FPS) return "Invalid argument";
  }
  if (clip && (clip.from >= MAX_SEGMENT_DURATION_MS || (clip.to !== 0n && clip.to <= clip.from))) {
    return "Invalid argument";
  }
  return undefined;
}
