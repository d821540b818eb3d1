/**
 * gRPC's message framing: a compressed flag, a big-endian uint32 length, the message. Five bytes that the whole of the
 * pool's gRPC rests on; no compression is ever negotiated by Livepeer nodes.
 */
export const GRPC_PREFIX_BYTES = 5;

export function encodeGrpcFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(GRPC_PREFIX_BYTES + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, GRPC_PREFIX_BYTES);
  return frame;
}

export type GrpcFrame =
  | { readonly kind: "incomplete" }
  | { readonly kind: "too-large"; readonly bytes: number }
  | { readonly kind: "compressed" }
  | { readonly kind: "message"; readonly message: Uint8Array };

/** Reads the first message of a request body that has arrived so far. */
export function decodeGrpcFrame(body: Uint8Array, maxBytes: number): GrpcFrame {
  if (body.length < GRPC_PREFIX_BYTES) return { kind: "incomplete" };
  if (body[0] !== 0) return { kind: "compressed" };
  const bytes = new DataView(body.buffer, body.byteOffset).getUint32(1);
  if (bytes > maxBytes) return { kind: "too-large", bytes };
  if (body.length < GRPC_PREFIX_BYTES + bytes) return { kind: "incomplete" };
  return { kind: "message", message: body.subarray(GRPC_PREFIX_BYTES, GRPC_PREFIX_BYTES + bytes) };
}

/** gRPC status codes that the pool sends. */
export const GrpcStatus = {
  OK: 0,
  UNKNOWN: 2,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
} as const;

/** `grpc-message` must be percent-encoded: bytes outside 0x20–0x7E, and `%` itself. */
export function encodeGrpcMessage(text: string): string {
  let out = "";
  for (const byte of new TextEncoder().encode(text)) {
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

/** The text of a `grpc-message` header; one that does not decode is shown as it came. */
export function decodeGrpcMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What cannot be read as a message. */
export type GrpcUnreadable = Extract<GrpcFrame, { readonly kind: "too-large" | "compressed" }>;

/**
 * Cuts a stream of bytes into messages, whatever the chunks. The returned function takes the next chunk and answers with
 * what is wrong with it, if anything is: then nothing more can be read.
 */
export function grpcMessageReader(
  maxBytes: number,
  onMessage: (message: Uint8Array) => void,
): (chunk: Uint8Array) => GrpcUnreadable | undefined {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  /** Nothing can be known before so many bytes are here: joining the chunks each time would be quadratic. */
  let wantedBytes = GRPC_PREFIX_BYTES;
  return (chunk) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < wantedBytes) return undefined;
    let rest = joined(chunks, bytes);
    for (;;) {
      const frame = decodeGrpcFrame(rest, maxBytes);
      if (frame.kind === "too-large" || frame.kind === "compressed") return frame;
      if (frame.kind === "incomplete") break;
      rest = rest.subarray(GRPC_PREFIX_BYTES + frame.message.length);
      onMessage(frame.message);
    }
    wantedBytes = GRPC_PREFIX_BYTES;
    if (rest.length >= GRPC_PREFIX_BYTES) wantedBytes += new DataView(rest.buffer, rest.byteOffset).getUint32(1);
    chunks = rest.length === 0 ? [] : [rest];
    bytes = rest.length;
    return undefined;
  };
}

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks;
  if (first && chunks.length === 1) return first;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
