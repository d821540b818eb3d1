import type { CapabilitySet, NotifySegment, Profile, SegData } from "@openpool/protocol";
import {
  capabilityWords,
  DEFAULT_SEGMENT_DURATION_MS,
  LIVEPEER_VERSION,
  MAX_SEGMENT_DURATION_MS,
  misfit,
  needFromWire,
  profilesOfSegment,
  segmentText,
} from "@openpool/protocol";
import type { ClipRange } from "./transcode/transcoder.ts";

/** What a message of the pool asks for. */
export type Order =
  | { readonly kind: "task"; readonly task: Task }
  /** A task that cannot be taken; the text is the answer to upload. */
  | { readonly kind: "refuse"; readonly taskId: bigint; readonly text: string }
  | { readonly kind: "end-session"; readonly session: string }
  | { readonly kind: "nothing" };

export interface Task {
  /** Any 64-bit number, 0 among them. */
  readonly taskId: bigint;
  readonly url: string;
  readonly session: string;
  readonly seq: bigint;
  readonly durationMs: number;
  readonly profiles: readonly Profile[];
  readonly clip: ClipRange | undefined;
  readonly perceptualHash: boolean;
  /** Its session is to begin anew. */
  readonly reinit: boolean;
  readonly orchId: string;
}

/** The rules of a stock transcoder: a subset of what we announced, no longer word list, and our version is new enough. */
function compatible(segment: SegData, offered: CapabilitySet): boolean {
  const needed = segment.capabilities;
  if (!needed) return true;
  return (
    needed.bitstring.length <= capabilityWords(offered).length &&
    misfit({ capabilities: offered, version: LIVEPEER_VERSION }, needFromWire(needed)) === undefined
  );
}

function clipOf(segment: SegData): ClipRange | undefined {
  const range = segment.segmentParameters;
  if (!range || (range.from === 0n && range.to === 0n)) return undefined;
  return { fromMs: Number(range.from), toMs: Number(range.to) };
}

/** Reads a NotifySegment. Nothing in it ever becomes a file name. */
export function readOrder(notify: NotifySegment, offered: CapabilitySet): Order {
  const { taskId, url, segData: segment } = notify;
  const session = segment?.authToken?.sessionId ?? "";
  if (url === "") return session === "" ? { kind: "nothing" } : { kind: "end-session", session };
  if (!segment) return { kind: "refuse", taskId, text: "missing segment data" };
  const { duration } = segment;
  if (duration < 0 || duration > MAX_SEGMENT_DURATION_MS) return { kind: "refuse", taskId, text: segmentText.duration };
  const profiles = profilesOfSegment(segment);
  if (typeof profiles === "string") return { kind: "refuse", taskId, text: profiles };
  if (!compatible(segment, offered)) return { kind: "refuse", taskId, text: "incompatible segment capabilities" };
  return {
    kind: "task",
    task: {
      taskId,
      url,
      // Without a token the stream's name must do: its segments still belong on one device.
      session: session || Buffer.from(segment.manifestId).toString("latin1"),
      seq: segment.seq,
      durationMs: duration || DEFAULT_SEGMENT_DURATION_MS,
      profiles,
      clip: clipOf(segment),
      perceptualHash: segment.calcPerceptualHash,
      reinit: segment.ForceSessionReinit,
      orchId: notify.orchId || "offchain",
    },
  };
}
