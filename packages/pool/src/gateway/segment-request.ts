import { createHash } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  type AuthToken,
  decodeBase64,
  DEFAULT_SEGMENT_DURATION_MS,
  MAX_SEGMENT_DURATION_MS,
  type Need,
  needFromWire,
  type Payment,
  PaymentSchema,
  type Profile,
  profilesOfSegment,
  type SegData,
  SegDataSchema,
  segmentText,
} from "@openpool/protocol";
import { impossibleWish } from "../jobs/wishes.ts";
import type { TokenIssuer } from "./auth-token.ts";

/** A refusal before the early 200: its status and body, word for word as gateways know them. */
export interface Refusal {
  readonly status: number;
  readonly text: string;
}

/** The two headers of a segment request, read and believed as far as they can be. */
export interface SegmentRequest {
  readonly data: SegData;
  readonly payment: Payment;
  /** Which stream it belongs to. */
  readonly stream: string;
  readonly profiles: readonly Profile[];
  readonly durationMs: number;
  readonly need: Need;
}

export function isRefusal(result: SegmentRequest | Refusal): result is Refusal {
  return "status" in result;
}

/** What Go's library says of bytes that are no message. */
const NOT_PROTOBUF = "proto: cannot parse invalid wire-format data";

function decodePayment(header: string): Payment | Refusal {
  if (header === "") return create(PaymentSchema);
  const bytes = decodeBase64(header);
  if ("illegalAt" in bytes) {
    return { status: 402, text: `base64 decode error: illegal base64 data at input byte ${bytes.illegalAt}` };
  }
  try {
    return fromBinary(PaymentSchema, bytes);
  } catch {
    return { status: 402, text: `protobuf unmarshal error: ${NOT_PROTOBUF}` };
  }
}

function decodeSegData(header: string): SegData | Refusal {
  const bytes = decodeBase64(header);
  if ("illegalAt" in bytes) return { status: 403, text: segmentText.segEncoding };
  try {
    return fromBinary(SegDataSchema, bytes);
  } catch {
    return { status: 403, text: NOT_PROTOBUF };
  }
}

/**
 * The stream as the pool knows it. Gateway, manifest id and peer together survive a change of auth token; hashed, because
 * a manifest id may be a stream key and any text at all.
 */
function streamKey(payment: Payment, data: SegData, peer: string): string {
  return createHash("sha256")
    .update(payment.sender)
    .update("\0")
    .update(data.manifestId)
    .update("\0")
    .update(peer)
    .digest("hex")
    .slice(0, 24);
}

/**
 * Reads and checks the headers of a segment request in the order of a stock orchestrator, so that a request with two
 * faults is refused for the same one.
 */
export function readSegmentRequest(
  from: { readonly segment: string | undefined; readonly payment: string | undefined; readonly peer: string },
  pool: {
    /** Whether a segment with this need is taken, from this stream. */
    readonly takes: (need: Need, token: AuthToken | undefined, stream: string) => boolean;
    readonly tokens: TokenIssuer;
    readonly nowMs: number;
    /** Whether a stream runs under a session id now. */
    readonly isRunning: (sessionId: string) => boolean;
  },
): SegmentRequest | Refusal {
  const payment = decodePayment(from.payment ?? "");
  if ("status" in payment) return payment;
  const data = decodeSegData(from.segment ?? "");
  if ("status" in data) return data;
  const profiles = profilesOfSegment(data);
  if (typeof profiles === "string") return { status: 403, text: profiles };
  if (data.duration < 0 || data.duration > MAX_SEGMENT_DURATION_MS) return { status: 403, text: segmentText.duration };
  const need = needFromWire(data.capabilities);
  const stream = streamKey(payment, data, from.peer);
  if (!pool.takes(need, data.authToken, stream)) return { status: 403, text: segmentText.capabilities };
  const problem = pool.tokens.check(data.authToken, pool.nowMs);
  // The wall clock may have jumped, and nobody else shows a token of a stream that runs.
  if (problem && !(problem === "expired" && pool.isRunning(data.authToken?.sessionId ?? ""))) {
    const text = {
      missing: segmentText.missingToken,
      invalid: segmentText.invalidToken,
      expired: segmentText.expiredToken,
    };
    return { status: 403, text: text[problem] };
  }
  const impossible = impossibleWish(profiles, data);
  if (impossible !== undefined) return { status: 400, text: impossible };
  return { data, payment, stream, profiles, durationMs: data.duration || DEFAULT_SEGMENT_DURATION_MS, need };
}
