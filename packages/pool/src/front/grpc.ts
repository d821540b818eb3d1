import http2 from "node:http2";
import { decodeGrpcFrame, encodeGrpcFrame, encodeGrpcMessage, GRPC_PREFIX_BYTES, GrpcStatus } from "@openpool/protocol";

/** Requests are small: an auth token, a capability set. */
const MAX_REQUEST_BYTES = 256 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Reads the one message of a call. Undefined when the peer left or stalled; a malformed or oversized request is answered
 * here. What a peer sends behind its message is dropped.
 */
export function readGrpcRequest(stream: http2.ServerHttp2Stream): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let chunks: Buffer[] = [];
    let bytes = 0;
    /** Nothing new can be known before so many bytes are here: joining the chunks each time would be quadratic. */
    let wantedBytes = GRPC_PREFIX_BYTES;
    const timer = setTimeout(() => {
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      finish(undefined);
    }, REQUEST_TIMEOUT_MS);
    timer.unref();
    const finish = (message: Uint8Array | undefined): void => {
      clearTimeout(timer);
      stream.off("data", onData);
      stream.off("end", onEnd);
      // A registration's stream lives for days: what it began with must not.
      chunks = [];
      resolve(message);
    };
    const refuse = (status: number, text: string): void => {
      endGrpc(stream, status, text);
      finish(undefined);
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes < wantedBytes) return;
      const body = chunks.length === 1 ? chunk : Buffer.concat(chunks);
      chunks = [body];
      const frame = decodeGrpcFrame(body, MAX_REQUEST_BYTES);
      if (frame.kind === "message") finish(frame.message);
      else if (frame.kind === "too-large")
        refuse(8, `grpc: received message larger than max (${frame.bytes} vs. ${MAX_REQUEST_BYTES})`);
      else if (frame.kind === "compressed")
        refuse(GrpcStatus.UNIMPLEMENTED, "grpc: compressed requests are not supported");
      else wantedBytes = GRPC_PREFIX_BYTES + body.readUInt32BE(1);
    };
    const onEnd = (): void => refuse(GrpcStatus.INTERNAL, "grpc: the request ended inside a message");
    stream.on("data", onData);
    stream.once("end", onEnd);
    stream.once("close", () => finish(undefined));
  });
}

const HEADERS = { ":status": 200, "content-type": "application/grpc" } as const;

/** A reset stream is closed before it is destroyed: answering it would throw. */
function isGone(stream: http2.ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

/** Cuts off a peer that does not take its answer. */
function limitTaking(stream: http2.ServerHttp2Stream): void {
  // Destroyed, not only closed: what waits to be sent to a peer that does not read must not be waited for.
  const timer = setTimeout(() => stream.destroy(new Error("cut off")), REQUEST_TIMEOUT_MS);
  timer.unref();
  stream.once("close", () => clearTimeout(timer));
}

/** Answers a unary call. */
export function answerGrpc(stream: http2.ServerHttp2Stream, message: Uint8Array): void {
  if (isGone(stream)) return;
  openGrpcStream(stream);
  limitTaking(stream);
  stream.end(encodeGrpcFrame(message));
}

const endings = new WeakMap<http2.ServerHttp2Stream, { status: number; text: string }>();

/** Opens the answer: headers go out now, and `endGrpc` decides how it ends, by default well. */
export function openGrpcStream(stream: http2.ServerHttp2Stream): void {
  if (isGone(stream)) return;
  const ending: { status: number; text: string } = { status: GrpcStatus.OK, text: "" };
  endings.set(stream, ending);
  stream.respond(HEADERS, { waitForTrailers: true });
  stream.once("wantTrailers", () => {
    if (isGone(stream)) return;
    stream.sendTrailers({
      "grpc-status": String(ending.status),
      ...(ending.text ? { "grpc-message": encodeGrpcMessage(ending.text) } : {}),
    });
  });
}

/** Ends a call with a status and its text; never with CANCELLED, which makes a stock transcoder give up for good. */
export function endGrpc(stream: http2.ServerHttp2Stream, status: number, text: string): void {
  if (isGone(stream)) return;
  limitTaking(stream);
  const ending = endings.get(stream);
  if (ending) {
    ending.status = status;
    ending.text = text;
    stream.end();
  } else if (!stream.headersSent) {
    stream.respond(
      { ...HEADERS, "grpc-status": String(status), "grpc-message": encodeGrpcMessage(text) },
      { endStream: true },
    );
  }
  stream.resume();
}
