import { type Profile, PTS_PER_SECOND, PTS_WRAP, type VideoTrack } from "@openpool/protocol";
import type { Clip } from "../jobs/wishes.ts";

export interface Range {
  readonly low: number;
  readonly high: number;
}

const TICKS_PER_MS = PTS_PER_SECOND / 1000;

/** First to last picture, without the length of the last one. */
export function spanMs(video: VideoTrack): number {
  return ((video.lastPts ?? 0) - (video.firstPts ?? 0)) / TICKS_PER_MS;
}

/** First to last picture of what is left after clipping. */
export function clippedSpanMs(source: VideoTrack, clip: Clip | undefined): number {
  const whole = spanMs(source);
  const from = clip?.fromMs ?? 0;
  const to = clip && clip.toMs > 0 ? Math.min(clip.toMs, whole) : whole;
  return Math.max(0, to - from);
}

/**
 * How many pictures an honest result has. Without a frame rate in the profile as many as the source; with one as many as
 * fit into its time, also where the source has gaps, which the frame rate filter fills. `dropsAtStart`: a decoder cannot
 * begin with the first picture of the source, so fewer may come out.
 */
export function expectedFrames(
  source: VideoTrack,
  profile: Profile,
  clip: Clip | undefined,
  dropsAtStart: boolean,
): Range {
  const whole = spanMs(source);
  const span = clippedSpanMs(source, clip);
  const frameMs = source.fps ? 1000 / source.fps : 0;
  let low: number;
  let high: number;
  if (profile.fps > 0) {
    const rate = profile.fps / profile.fpsDen;
    const pictures = (span / 1000) * rate;
    const lastOne = source.fps ? rate / source.fps : 2 * rate;
    low = pictures + Math.min(1, lastOne);
    high = pictures + Math.max(1, lastOne);
    low -= 2 + 0.04 * low;
    high += 2 + 0.02 * high;
  } else {
    // A varying frame rate makes more of one part of the segment than of another.
    const share = clip && whole > 0 ? (span + frameMs) / (whole + frameMs) : 1;
    const pictures = source.frames * Math.min(1, share);
    const uneven = clip ? 1 + 0.15 * pictures : 0;
    low = pictures - uneven - Math.max(2, 0.04 * pictures);
    high = Math.min(source.frames, pictures + uneven) + Math.max(2, 0.01 * pictures);
  }
  return { low: dropsAtStart ? 1 : Math.max(1, Math.floor(low)), high: Math.ceil(high) };
}

/**
 * More pictures than this no honest transcoder makes, however odd the source: the lid on what a worker can be credited
 * where nothing can be compared. `source` is undefined when our probe found no picture in it.
 */
export function mostFrames(source: VideoTrack | undefined, profile: Profile, durationMs: number): number {
  const rate = profile.fps > 0 ? profile.fps / profile.fpsDen : undefined;
  if (!source || source.frames === 0) {
    // A gateway that was not told the length says 2 s.
    return 2 * (Math.max(durationMs, 10_000) / 1000) * (rate ?? 120);
  }
  // Of several streams the transcoder may have taken another one than we looked at.
  if (rate === undefined) return 10 + 3 * source.frames;
  return 10 + 2 * rate * (1 + Math.max(spanMs(source), durationMs) / 1000);
}

/** How far timestamps may lie off: decoders, frame rate filters and muxers shift them by a few pictures. */
export function startToleranceMs(rendition: VideoTrack): number {
  return 500 + (rendition.fps ? 4000 / rendition.fps : 0);
}

/** Signed distance in milliseconds between two timestamps that may have wrapped. */
export function distanceMs(from: number, to: number): number {
  const ahead = (((to - from) % PTS_WRAP) + PTS_WRAP) % PTS_WRAP;
  return (ahead >= PTS_WRAP / 2 ? ahead - PTS_WRAP : ahead) / TICKS_PER_MS;
}

/** How much longer or shorter than the source a result may be. */
export function spanToleranceMs(source: VideoTrack, rendition: VideoTrack, profile: Profile): number {
  const rate = profile.fps > 0 ? profile.fps / profile.fpsDen : rendition.fps;
  return 300 + 0.02 * spanMs(source) + (rate ? 3000 / rate : 0) + (source.fps ? 3000 / source.fps : 0);
}
