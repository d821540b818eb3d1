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
  INVALID_ARGUMENT: 3,
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
