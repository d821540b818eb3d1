import type { Profile } from "@openpool/protocol";

export interface Rendition {
  readonly profile: Profile;
  readonly data: Buffer;
  /** What the orchestrator says it encoded, in pixels: what it bills. */
  readonly pixels: bigint;
  readonly url: string;
  /** The MPEG-7 signature, where one was asked for. */
  readonly phash: Buffer | undefined;
}

/** In milliseconds, all but `sessionMs` from the start of the POST. */
export interface SegmentTimings {
  /** Time spent on GetOrchestrator before the POST; 0 when the session was there already. */
  readonly sessionMs: number;
  /** To the headers of the answer: the upload, as a gateway counts it. */
  readonly headersMs: number;
  /** To the end of the answer: the transcode, as a gateway counts it. */
  readonly answerMs: number;
  /** To the last byte of the last rendition. */
  readonly totalMs: number;
}

/** How a segment went, from a gateway's point of view. Everything but `done` is a lost segment. */
export type SegmentOutcome =
  | { readonly kind: "done"; readonly renditions: readonly Rendition[]; readonly timings: SegmentTimings }
  /** No session was to be had: GetOrchestrator was refused with `text`. */
  | { readonly kind: "no-session"; readonly text: string }
  /** `/segment` answered with another status than 200. */
  | { readonly kind: "refused"; readonly status: number; readonly text: string }
  /** `/segment` answered 200 and then with an error instead of renditions. */
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "timeout"; readonly waitedFor: "session" | "headers" | "answer" | "rendition" }
  /** The network or the peer broke the exchange, or its answer makes no sense. */
  | { readonly kind: "broken"; readonly during: "segment" | "answer" | "rendition"; readonly text: string };

/** The outcome in one line, for people. */
export function describeOutcome(outcome: SegmentOutcome): string {
  switch (outcome.kind) {
    case "done":
      return `${outcome.renditions.length} renditions in ${outcome.timings.totalMs.toFixed(0)} ms`;
    case "no-session":
      return `no session: ${outcome.text}`;
    case "refused":
      return `refused with ${outcome.status}: ${outcome.text}`;
    case "failed":
      return `failed: ${outcome.text}`;
    case "timeout":
      return `timed out waiting for the ${outcome.waitedFor}`;
    case "broken":
      return `broken off during the ${outcome.during}: ${outcome.text}`;
  }
}
