import { INVALID_VIDEO, type MediaProbe, type Profile } from "@openpool/protocol";

/** A source in a few words: `h264 1280x720@25`. Undefined: not looked at yet. */
export function sourceShape(source: MediaProbe | undefined): string {
  if (!source || source.kind === "unreadable") return "unknown";
  const video = source.video;
  if (!video) return "no video";
  const size = video.width > 0 ? `${video.width}x${video.height}` : "unknown size";
  // Whole numbers: measured rates scatter, and what 29.97 pictures cost is what 30 cost.
  const rate = video.fps === undefined ? "" : `@${Math.round(video.fps)}`;
  const chroma = video.chroma === undefined || video.chroma === "4:2:0" ? "" : ` ${video.chroma}`;
  const depth = video.bitDepth === undefined || video.bitDepth === 8 ? "" : ` ${video.bitDepth} bit`;
  return `${video.codec} ${size}${rate}${chroma}${depth}`;
}

/**
 * Names the kind of work of a job: equal names cost about equally per second of source.
 * `h264 1280x720@25 → 3 × h264 (426x240,640x360,854x480)`
 */
export function kindOfWork(source: MediaProbe | undefined, profiles: readonly Profile[]): string {
  const codecs = [...new Set(profiles.map((profile) => profile.codec))].sort();
  const outputs = profiles.map(({ width, height, fps, fpsDen }) => {
    const rate = fps > 0 ? `@${Math.round(fps / fpsDen)}` : "";
    return `${width}x${height}${rate}`;
  });
  return `${sourceShape(source)} → ${profiles.length} × ${codecs.join("+")} (${outputs.sort().join(",")})`;
}

export type InputVerdict =
  | { readonly kind: "ok" }
  /** Nobody can transcode it. `text` is the answer that costs the gateway nothing but this segment. */
  | { readonly kind: "hopeless"; readonly text: string };

/**
 * Recognises input that certainly cannot be transcoded, so that it need not tour the pool. When in doubt it is fine: a
 * transcoder reads more formats than our probe.
 */
export function judgeInput(source: MediaProbe): InputVerdict {
  const hopeless: InputVerdict = { kind: "hopeless", text: INVALID_VIDEO };
  if (source.kind === "unreadable") return source.foreign ? { kind: "ok" } : hopeless;
  if (source.video) return { kind: "ok" };
  // Sound and nothing else, in an undamaged file that says what its streams are.
  return source.problems.length === 0 ? hopeless : { kind: "ok" };
}
