import http2 from "node:http2";
import { encodeGrpcFrame, encodeGrpcMessage, grpcMessageReader, GrpcStatus } from "@openpool/protocol";
import { cutOff, isGone, limitTaking } from "./exchange.ts";

/** Requests are small: an auth token, a capability set. */
const MAX_REQUEST_BYTES = 256 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Reads the one message of a call. Undefined when the peer left or stalled; a malformed or oversized request is answered
 * here. What a peer sends behind its message is dropped.
 */
export function readGrpcRequest(stream: http2.ServerHttp2Stream): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let done = false;
    const timer = setTimeout(() => {
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      finish(undefined);
    }, REQUEST_TIMEOUT_MS);
    timer.unref();
    const finish = (message: Uint8Array | undefined): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      // A registration's stream lives for days: what it began with must not.
      stream.off("data", onData);
      stream.off("end", onEnd);
      resolve(message);
    };
    const refuse = (status: number, text: string): void => {
      if (done) return;
      endGrpc(stream, status, text);
      finish(undefined);
    };
    const read = grpcMessageReader(MAX_REQUEST_BYTES, finish);
    const onData = (chunk: Buffer): void => {
      const wrong = read(chunk);
      if (wrong?.kind === "too-large") {
        const text = `grpc: received message larger than max (${wrong.bytes} vs. ${MAX_REQUEST_BYTES})`;
        refuse(GrpcStatus.RESOURCE_EXHAUSTED, text);
      } else if (wrong) refuse(GrpcStatus.UNIMPLEMENTED, "grpc: compressed requests are not supported");
    };
    const onEnd = (): void => refuse(GrpcStatus.INTERNAL, "grpc: the request ended inside a message");
    stream.on("data", onData);
    stream.once("end", onEnd);
    stream.once("close", () => finish(undefined));
  });
}

const HEADERS = { ":status": 200, "content-type": "application/grpc" } as const;

/** Answers a unary call. */
export function answerGrpc(stream: http2.ServerHttp2Stream, message: Uint8Array): void {
  if (isGone(stream)) return;
  openGrpcStream(stream);
  limitTaking(stream, () => cutOff(stream), REQUEST_TIMEOUT_MS);
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

/**
 * Ends a call that was opened and has carried no message as if nobody had taken it: a client built on grpc-go repeats it by
 * itself and at once, the first time that this happens to the call; on another connection if this one was told to go away.
 */
export function refuseGrpcStream(stream: http2.ServerHttp2Stream): void {
  if (!isGone(stream)) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
}

/** Ends a call with a status and its text; never with CANCELLED, which makes a stock transcoder give up for good. */
export function endGrpc(stream: http2.ServerHttp2Stream, status: number, text: string): void {
  if (isGone(stream)) return;
  limitTaking(stream, () => cutOff(stream), REQUEST_TIMEOUT_MS);
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
