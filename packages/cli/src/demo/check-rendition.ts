import { probeMedia } from "@openpool/protocol";
import type { PushedSegment, Rendition } from "@openpool/push";

/** What is wrong with what came back for a segment; undefined: it is what was asked for. */
export function wrongWith(segment: PushedSegment): string | undefined {
  if (segment.outcome.kind !== "done") return undefined;
  for (const rendition of segment.outcome.renditions) {
    const problem = wrongRendition(rendition, segment.durationMs);
    if (problem !== undefined) return `${rendition.profile.name} ${problem}`;
  }
  return undefined;
}

function wrongRendition({ profile, data }: Rendition, durationMs: number): string | undefined {
  const media = probeMedia(data);
  if (media.kind === "unreadable") return `cannot be read: ${media.why}`;
  if (media.problems.length > 0) return `is damaged: ${media.problems.join(", ")}`;
  const { video } = media;
  if (!video || video.codec !== profile.codec) return `is not ${profile.codec}`;
  if (Math.abs(video.width - profile.width) > 2 || Math.abs(video.height - profile.height) > 2) {
    return `is ${video.width}×${video.height}`;
  }
  return Math.abs(video.durationMs - durationMs) > 100 + durationMs / 10 ? `lasts ${video.durationMs} ms` : undefined;
}
