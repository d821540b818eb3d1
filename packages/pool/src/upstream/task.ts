import {
  DEFAULT_SEGMENT_DURATION_MS,
  MAX_SEGMENT_DURATION_MS,
  type Need,
  needFromWire,
  type NotifySegment,
  type Profile,
  profilesOfSegment,
  segmentText,
} from "@openpool/protocol";
import { type Clip, clipOf, impossibleWish } from "../jobs/wishes.ts";

/** A task as an orchestrator gives it. */
export interface Task {
  readonly kind: "task";
  /** From 0 on; 0 is absent on the wire. */
  readonly taskId: bigint;
  readonly url: string;
  /** Any bytes at all, perhaps a stream key. */
  readonly manifestId: Uint8Array;
  readonly sessionId: string;
  readonly seq: bigint;
  readonly durationMs: number;
  readonly profiles: readonly Profile[];
  readonly need: Need;
  readonly clip: Clip | undefined;
  readonly perceptualHash: boolean;
  readonly forceSessionReinit: boolean;
}

/** A task that nobody can do; the text is what a stock transcoder answers. */
export interface Refused {
  readonly kind: "refused";
  readonly taskId: bigint;
  readonly seq: bigint;
  readonly text: string;
}

export type Notified =
  | Task
  | Refused
  /** The session is over: its encoder can go. */
  | { readonly kind: "teardown"; readonly sessionId: string }
  /** Nothing that means anything. */
  | { readonly kind: "noise" };

/** A session id is 8 hex digits; whoever sends more does not mean us well. */
const MAX_SESSION_ID = 256;

/** What a message on the registration stream says. */
export function readNotify(notify: NotifySegment): Notified {
  const { segData, url, taskId } = notify;
  const sessionId = segData?.authToken?.sessionId ?? "";
  if (url === "") {
    return sessionId === "" || sessionId.length > MAX_SESSION_ID ? { kind: "noise" } : { kind: "teardown", sessionId };
  }
  const refuse = (text: string): Notified => ({ kind: "refused", taskId, seq: segData?.seq ?? 0n, text });
  if (!segData) return refuse("missing segment data");
  if (sessionId.length > MAX_SESSION_ID) return refuse(segmentText.invalidToken);
  const profiles = profilesOfSegment(segData);
  if (typeof profiles === "string") return refuse(profiles);
  if (segData.duration < 0 || segData.duration > MAX_SEGMENT_DURATION_MS) return refuse(segmentText.duration);
  const impossible = impossibleWish(profiles, segData);
  if (impossible !== undefined) return refuse(impossible);
  return {
    kind: "task",
    taskId,
    url,
    manifestId: segData.manifestId,
    sessionId,
    seq: segData.seq,
    durationMs: segData.duration || DEFAULT_SEGMENT_DURATION_MS,
    profiles,
    need: needFromWire(segData.capabilities),
    clip: clipOf(segData),
    perceptualHash: segData.calcPerceptualHash,
    forceSessionReinit: segData.ForceSessionReinit,
  };
}
