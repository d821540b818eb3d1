import { INVALID_VIDEO, isNonRetryable, type Profile, segmentText } from "@openpool/protocol";

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
  /** There is no orchestrator, or none that speaks as one; `text` says why. */
  | { readonly kind: "unreachable"; readonly text: string }
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
    case "unreachable":
      return `no orchestrator: ${outcome.text}`;
    case "no-session":
      return outcome.text.includes(segmentText.capped)
        ? `no session: all places of the orchestrator are taken (${segmentText.capped})`
        : `no session: ${outcome.text}`;
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

/** What somebody who pushes can do about a lost segment; undefined where the description says all there is. */
export function adviceFor(outcome: SegmentOutcome): string | undefined {
  switch (outcome.kind) {
    case "done":
      return undefined;
    case "unreachable":
      return "check --orchestrator, and that an orchestrator (`openpool pool`) runs there and its port can be reached from here";
    case "no-session":
      return outcome.text.includes(segmentText.capped)
        ? "push fewer streams at once, try again when others have ended, or connect more workers: `openpool rigs list` on the pool's machine shows their places"
        : "the orchestrator's log says more";
    case "refused":
      if (/payment|ticket|balance|price/i.test(outcome.text)) {
        return "the orchestrator wants to be paid, and this command pays nothing: push to one that is off-chain, or send through a gateway of your own";
      }
      return outcome.status === 404
        ? "what answers there is no orchestrator: check --orchestrator, and the service address that it announces"
        : "the next segment asks for a new session; if that is refused too, the orchestrator's log says why";
    case "failed":
      return adviceForFailure(outcome.text);
    case "timeout":
      if (outcome.waitedFor === "session") return "check --orchestrator: what listens there does not answer";
      return outcome.waitedFor === "rendition"
        ? unreachableRenditions
        : "the workers, or the way to the orchestrator, are too slow for this: push fewer streams, or ask for fewer or smaller --profiles";
    case "broken":
      return outcome.during === "rendition"
        ? unreachableRenditions
        : "the connection broke or the answer made no sense: if it happens again, the orchestrator's log says more";
  }
}

const unreachableRenditions =
  "renditions are fetched from the address that the orchestrator announces (--service-uri of a pool): check that it can be reached from here";

function adviceForFailure(text: string): string {
  if (text === segmentText.noTranscoders || text === segmentText.busy) {
    return "no worker had time: `openpool rigs list` on the pool's machine shows who is connected";
  }
  if (text === segmentText.noCapableTranscoder || text === segmentText.capabilities) {
    return "no worker that is connected can make these --profiles, or read this source: `openpool rigs list` on the pool's machine";
  }
  if (text === INVALID_VIDEO) {
    return "nobody could make anything of this segment: play it, or look at it with `ffprobe`; other segments are not affected";
  }
  return isNonRetryable(text)
    ? "it is about this segment or these --profiles: others are not affected"
    : "the orchestrator's log says more";
}
