import {
  type MediaProbe,
  type MediaProblem,
  MIN_RENDITION_BYTES,
  probeMedia,
  type Profile,
  PTS_PER_SECOND,
  PTS_WRAP,
  type VideoTrack,
} from "@openpool/protocol";
import type { Clip } from "../jobs/wishes.ts";
import { expectedSizes, isExpectedSize, knownSize, type Size } from "./expected-size.ts";
import {
  clippedSpanMs,
  distanceMs,
  expectedFrames,
  mostFrames,
  spanMs,
  spanToleranceMs,
  startToleranceMs,
} from "./expected-timing.ts";

/** One rendition as a worker uploaded it. */
interface UploadedRendition {
  readonly data: Uint8Array;
  /** Encoded pixels, by the worker's own count. */
  readonly claimedPixels: bigint;
  readonly perceptualHash?: Uint8Array | undefined;
}

export interface ResultToVerify {
  readonly source: MediaProbe;
  /** What the gateway says of the source's length. */
  readonly durationMs: number;
  readonly profiles: readonly Profile[];
  readonly clip?: Clip | undefined;
  /** Every rendition needs one: a gateway that asked for them fails a segment that comes without. */
  readonly perceptualHash?: boolean | undefined;
  readonly renditions: readonly UploadedRendition[];
}

/** What a rendition really contains. */
interface MeasuredRendition {
  /** Pictures × width × height, as a gateway that decodes the rendition counts them: what is answered and billed. */
  readonly pixels: bigint;
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly durationMs: number;
  readonly claimedPixels: bigint;
}

/** How the worker's counts compare with ours: a difference of more than 1 % is no rounding any more. */
type Claims = "exact" | "differs" | "lies";

export type Verdict =
  | {
      readonly kind: "valid";
      readonly renditions: readonly MeasuredRendition[];
      readonly claims: Claims;
    }
  | {
      readonly kind: "invalid";
      /** Counted from 0; undefined when it is about the result as a whole. */
      readonly rendition: number | undefined;
      /** In words that an operator understands. */
      readonly reason: string;
    };

/** Damage that no encoder produces: the file was cut or altered after it was written. */
const damage: ReadonlyMap<MediaProblem, string> = new Map([
  ["truncated", "it is cut off"],
  ["sound-truncated", "its sound is cut off"],
  ["lost-sync", "bytes are missing or inserted in the middle"],
  ["continuity", "video packets are missing"],
  ["transport-error", "packets are marked as damaged"],
  ["scrambled", "the video is encrypted"],
  ["no-pmt", "it has no programme table"],
  ["no-parameters", "the video has no readable parameter sets"],
  ["size-change", "the picture size changes on the way"],
  ["bad-index", "the index points outside the file"],
  ["malformed", "its structure is damaged"],
]);

/** Sources with these are decoded differently from one transcoder to the next. */
const unreliable: ReadonlySet<MediaProblem> = new Set([
  "truncated",
  "lost-sync",
  "continuity",
  "transport-error",
  "scrambled",
  "several-videos",
  "size-change",
  "no-pmt",
  "no-parameters",
  "time-jump",
  "no-timestamps",
  "bad-index",
  "malformed",
]);

/** Below this many bytes two honest encodings of an empty picture can be alike. */
const COPY_MIN_BYTES = 50_000;

/** FFmpeg looks this far ahead for a wrap, and rounds. */
const WRAP_WINDOW_MS = 61_000;

/** What is known of the source, and how far it can be relied upon. */
interface Source {
  readonly video: VideoTrack | undefined;
  readonly size: Size | undefined;
  /** Counts and times can be compared. */
  readonly reliable: boolean;
}

function judgeSource(probe: MediaProbe): Source {
  const video = probe.kind === "media" ? probe.video : undefined;
  const reliable =
    probe.kind === "media" &&
    video !== undefined &&
    video.frames > 0 &&
    video.firstPts !== undefined &&
    !probe.problems.some((problem) => unreliable.has(problem));
  return { video, size: video && knownSize(video, reliable), reliable };
}

/**
 * Checks a worker's result against what the job asked for, and counts its pixels. Everything is measured from the bytes;
 * nothing the worker says decides anything. Where the source is odd the checks are wider: an honest worker is never
 * refused, and what an unusual source lets through is still counted by us.
 */
export function verifyResult(result: ResultToVerify): Verdict {
  const { profiles, renditions } = result;
  if (renditions.length !== profiles.length) {
    return {
      kind: "invalid",
      rendition: undefined,
      reason: `${renditions.length} renditions for ${profiles.length} profiles`,
    };
  }
  const source = judgeSource(result.source);
  const measured: MeasuredRendition[] = [];
  for (const [index, profile] of profiles.entries()) {
    const uploaded = renditions[index];
    if (!uploaded) continue;
    const name = profiles.length > 1 ? `rendition ${index + 1} of ${profiles.length}` : "the rendition";
    const checked = checkRendition(uploaded, profile, source, result);
    if (typeof checked === "string") {
      return { kind: "invalid", rendition: index, reason: `${name} (${requestOf(profile)}): ${checked}` };
    }
    if (result.perceptualHash && !uploaded.perceptualHash?.length) {
      return { kind: "invalid", rendition: index, reason: `${name}: the perceptual hash is missing` };
    }
    measured.push(checked);
  }
  return { kind: "valid", renditions: measured, claims: compareClaims(measured) };
}

function requestOf(profile: Profile): string {
  return `${profile.codec} ${profile.width}x${profile.height}`;
}

function compareClaims(renditions: readonly MeasuredRendition[]): Claims {
  let claims: Claims = "exact";
  for (const { pixels, claimedPixels } of renditions) {
    if (pixels === claimedPixels) continue;
    const off = pixels > claimedPixels ? pixels - claimedPixels : claimedPixels - pixels;
    if (off * 100n > pixels) return "lies";
    claims = "differs";
  }
  return claims;
}

/** A picture is shown for no longer: timestamps that lie far apart are no time that was worked on. */
const PICTURE_MAX_MS = 1_000;

/**
 * The time of the source that was worked on, in whole milliseconds: as measured, or, where its time cannot be read, what the
 * gateway says and no more than what came out. What a gateway says alone is never paid for.
 */
export function workedMs(
  source: MediaProbe,
  { durationMs, clip }: { readonly durationMs: number; readonly clip?: Clip | undefined },
  renditions: readonly Pick<MeasuredRendition, "durationMs" | "frames">[],
): number {
  const out = renditions.map((one) => Math.min(one.durationMs, one.frames * PICTURE_MAX_MS));
  const longestMs = out.reduce((a, b) => Math.max(a, b), 0);
  const video = source.kind === "media" ? source.video : undefined;
  if (!video || video.frames === 0 || video.durationMs <= 0) return Math.round(Math.min(durationMs, longestMs));
  const measuredMs = Math.min(video.durationMs, video.frames * PICTURE_MAX_MS);
  return Math.round(clip ? Math.min(measuredMs, longestMs) : measuredMs);
}

/** The rendition as measured, or why it is refused. */
function checkRendition(
  { data, claimedPixels }: UploadedRendition,
  profile: Profile,
  source: Source,
  { source: sourceProbe, clip, durationMs }: ResultToVerify,
): MeasuredRendition | string {
  if (data.length < MIN_RENDITION_BYTES) return `it has only ${data.length} bytes`;
  const probe = probeMedia(data);
  if (probe.kind === "unreadable") return probe.why;
  if (probe.container !== profile.container) {
    return `it is ${nameOf(probe.container)} instead of ${nameOf(profile.container)}`;
  }
  const video = probe.video;
  if (!video) return "it has no video";
  const codec = profile.codec === "h265" ? "hevc" : profile.codec;
  if (video.codec !== codec) return `the video is ${video.codec} instead of ${codec}`;
  for (const problem of probe.problems) {
    const words = damage.get(problem);
    if (words) return words;
  }
  if (video.frames === 0) return "it has no pictures";
  if (video.width === 0 || video.height === 0) return "the video does not tell its size";
  if (!video.keyframeFirst) return "it does not start with a keyframe";

  const refused =
    checkSize(video, profile, source) ??
    checkCopy(probe.container, video, sourceProbe) ??
    (source.reliable && source.video
      ? (checkFrames(video, profile, source.video, clip) ?? checkTimes(video, profile, source.video, clip))
      : checkPlausible(video, profile, source.video, durationMs));
  if (refused !== undefined) return refused;
  return {
    pixels: BigInt(video.frames) * BigInt(video.width * video.height),
    width: video.width,
    height: video.height,
    frames: video.frames,
    durationMs: video.durationMs,
    claimedPixels,
  };
}

function nameOf(container: "mpegts" | "mp4"): string {
  return container === "mp4" ? "MP4" : "MPEG-TS";
}

function checkSize(video: VideoTrack, profile: Profile, source: Source): string | undefined {
  if (isExpectedSize(profile, source.size, video)) return undefined;
  const expected = source.size ? expectedSizes(profile, source.size)[0] : undefined;
  return expected
    ? `the picture is ${video.width}x${video.height} instead of ${expected.width}x${expected.height}`
    : `the picture is ${video.width}x${video.height}, which fits no side of the request`;
}

function checkCopy(container: "mpegts" | "mp4", video: VideoTrack, source: MediaProbe): string | undefined {
  const original = source.kind === "media" && source.container === container ? source.video : undefined;
  if (!original || video.bytes < COPY_MIN_BYTES) return undefined;
  return video.bytes === original.bytes && video.fingerprint === original.fingerprint
    ? "it is the source, not a transcode of it"
    : undefined;
}

function checkFrames(
  video: VideoTrack,
  profile: Profile,
  source: VideoTrack,
  clip: Clip | undefined,
): string | undefined {
  const { low, high } = expectedFrames(source, profile, clip, !source.keyframeFirst);
  if (video.frames < low) return `it has ${video.frames} pictures, at least ${low} were expected`;
  if (video.frames > high) return `it has ${video.frames} pictures, at most ${high} were expected`;
  return undefined;
}

/** What can still be said where the source is unknown or damaged. */
function checkPlausible(
  video: VideoTrack,
  profile: Profile,
  source: VideoTrack | undefined,
  durationMs: number,
): string | undefined {
  // A frame rate filter fills a jump in time with pictures, as many as it takes.
  if (profile.fps > 0 && source && spanMs(source) > 60_000) return undefined;
  const most = mostFrames(source, profile, durationMs);
  return video.frames > most ? `it has ${video.frames} pictures, at most ${Math.floor(most)} are plausible` : undefined;
}

function checkTimes(
  video: VideoTrack,
  profile: Profile,
  source: VideoTrack,
  clip: Clip | undefined,
): string | undefined {
  if (video.firstPts === undefined || source.firstPts === undefined) return "its pictures have no timestamps";
  const toleranceMs = startToleranceMs(video);
  const startMs = distanceMs(source.firstPts, video.firstPts);
  const fromMs = clip?.fromMs ?? 0;
  // Clips and MP4 files may count from zero instead; and shortly before its clock wraps FFmpeg takes a stream's times for
  // negative ones, which no muxer writes.
  const untilWrapMs = (PTS_WRAP - source.firstPts) / (PTS_PER_SECOND / 1000);
  const mayBeZero = fromMs > 0 || profile.container === "mp4" || untilWrapMs < WRAP_WINDOW_MS;
  const fromZero = mayBeZero && Math.abs(distanceMs(0, video.firstPts)) <= toleranceMs;
  // A source that no decoder can begin with starts later.
  const late = source.keyframeFirst ? 0 : spanMs(source);
  const early = startMs < fromMs - toleranceMs;
  if ((early || startMs > fromMs + late + toleranceMs) && !fromZero) {
    return `its first picture lies ${Math.round(Math.abs(startMs - fromMs))} ms ${early ? "before" : "behind"} the source's`;
  }
  const expectedMs = clippedSpanMs(source, clip);
  const offMs = spanMs(video) - expectedMs;
  const spanTolerance = spanToleranceMs(source, video, profile);
  if (offMs > spanTolerance || (offMs < -spanTolerance && source.keyframeFirst)) {
    return `it spans ${Math.round(spanMs(video))} ms instead of ${Math.round(expectedMs)}`;
  }
  return undefined;
}
