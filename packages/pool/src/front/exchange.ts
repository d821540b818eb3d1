import type { IncomingMessage, ServerResponse } from "node:http";
import http2 from "node:http2";
import type { Readable, Writable } from "node:stream";

/** One request and its answer, whether it came over HTTP/1.1 or h2. */
export interface Exchange {
  readonly method: string;
  /** The path with its query, as sent. */
  readonly path: string;
  /** The peer's address, without port. */
  readonly peer: string;
  /** The host and port that the client dialled, as it says. */
  readonly authority: string;
  /** A header by its lower-case name. */
  header(name: string): string | undefined;
  readonly body: Readable;
  /** Sends status and headers now, the body later through `output`. */
  start(status: number, headers?: Readonly<Record<string, string | number>>): void;
  /** The same, but the headers may wait for the first bytes of the body: one write less. */
  begin(status: number, headers: Readonly<Record<string, string | number>>): void;
  /** Where the body of the answer goes, once started. */
  readonly output: Writable;
  /** The whole answer at once. A body that was not read is dropped. Nothing, when an answer was started already. */
  answer(status: number, headers: Readonly<Record<string, string | number>>, body: Uint8Array | string): void;
  /** The rest of an answer that was started; a peer that does not take it within `ANSWER_TIMEOUT_MS` is cut off. */
  finish(body: Uint8Array): void;
  /** Cuts the exchange off: the peer sees it break, never a wrong end. */
  abort(): void;
  readonly started: boolean;
  /** Calls back once when the answer went out whole (`true`) or the peer left before (`false`). */
  onClose(callback: (complete: boolean) => void): void;
}

/** Go's plain-text error: text, newline, and the two headers that come with it. */
export function answerText(exchange: Exchange, status: number, text: string): void {
  exchange.answer(
    status,
    { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
    status === 204 ? "" : `${text}\n`,
  );
}

/** A body that nobody wants is read on up to this size: cutting it off can cost the client our answer. */
const DRAIN_BYTES = 4 << 20;
/** No honest peer takes longer for an answer: gateways and workers give a whole download 4 s. */
const ANSWER_TIMEOUT_MS = 30_000;

/** How long what a refused peer still sends is read and dropped, so that it reads why. */
export const LAST_WORD_MS = 2_000;

/** Cuts off a peer that does not take an answer: what it keeps waiting is memory. */
export function limitTaking(output: Writable, cut: () => void, withinMs = ANSWER_TIMEOUT_MS): void {
  const timer = setTimeout(cut, withinMs);
  timer.unref();
  output.once("close", () => clearTimeout(timer));
}

/** Whether a stream can be answered no more. A reset one is closed before it is destroyed: answering it would throw. */
export function isGone(stream: http2.ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

/** Destroyed, not only closed: what waits to be sent to a peer that does not read must not be waited for. */
export function cutOff(stream: http2.ServerHttp2Stream): void {
  stream.destroy(new Error("cut off"));
}

/** `peer`: the client's address, where the connection is not its own. */
export function exchangeOfRequest(
  request: IncomingMessage,
  response: ServerResponse,
  peer = request.socket.remoteAddress ?? "",
): Exchange {
  // A peer that leaves in the middle is no news: without listeners it would end the process.
  request.on("error", () => {});
  response.on("error", () => {});
  const { socket } = request;
  const cut = (): void => void socket.destroy();
  // A response "finishes" also when its connection was cut with half of it still to send.
  let whole = false;
  response.once("finish", () => (whole = !socket.destroyed));
  /** Ends what is answered while its request still comes in: closed over unread bytes, the connection would be reset. */
  const endBehindRequest = (): void => {
    const end = (): void => {
      clearTimeout(timer);
      response.end();
    };
    const timer = setTimeout(end, LAST_WORD_MS);
    timer.unref();
    let left = DRAIN_BYTES;
    request.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) end();
    });
    request.once("close", end);
    request.once("end", end);
    request.resume();
  };
  return {
    method: request.method ?? "",
    path: request.url ?? "",
    peer,
    authority: request.headers.host ?? "",
    header(name) {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body: request,
    begin(status, headers) {
      if (!response.headersSent) response.writeHead(status, headers);
    },
    start(status, headers) {
      if (response.headersSent) return;
      response.writeHead(status, headers);
      // Without this nothing leaves before the first byte of the body.
      response.flushHeaders();
    },
    output: response,
    answer(status, headers, body) {
      if (response.headersSent) return;
      limitTaking(response, cut);
      const length = { "content-length": Buffer.byteLength(body) };
      // A request without a body counts as incomplete until its handler has returned.
      if (request.complete || request.destroyed || !hasBody(request)) {
        response.writeHead(status, { ...headers, ...length });
        response.end(body);
        return;
      }
      response.shouldKeepAlive = false;
      response.writeHead(status, { ...headers, ...length });
      // The length makes it whole for who reads.
      if (Buffer.byteLength(body) > 0) response.write(body);
      else response.flushHeaders();
      endBehindRequest();
    },
    finish(body) {
      if (response.writableEnded) return;
      limitTaking(response, cut);
      response.end(body);
    },
    abort: cut,
    get started() {
      return response.headersSent;
    },
    onClose(callback) {
      const closed = (): void => callback(whole);
      // Whoever asks late gets an answer too.
      if (response.closed) queueMicrotask(closed);
      else response.once("close", closed);
    },
  };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

export function exchangeOfStream(
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  peer: string,
): Exchange {
  const cut = (): void => cutOff(stream);
  const answerable = (): boolean => !isGone(stream) && !stream.headersSent;
  // As the HTTP/1.1 server does by itself: a client that asks waits for this before it sends its body.
  if (headers.expect === "100-continue" && answerable()) stream.additionalHeaders({ ":status": 100 });
  return {
    method: String(headers[":method"] ?? ""),
    path: String(headers[":path"] ?? ""),
    peer,
    authority: String(headers[":authority"] ?? headers.host ?? ""),
    header(name) {
      const value = headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body: stream,
    begin(status, extra) {
      if (answerable()) stream.respond({ ":status": status, ...extra });
    },
    start(status, extra) {
      if (answerable()) stream.respond({ ":status": status, ...extra });
    },
    output: stream,
    answer(status, extra, body) {
      if (!answerable()) return;
      stream.respond({ ":status": status, ...extra, "content-length": Buffer.byteLength(body) });
      limitTaking(stream, cut);
      // The answer to a HEAD has ended with its headers.
      if (!stream.writableEnded) stream.end(body);
      // The answer is complete; a body still on its way is not wanted, and NO_ERROR says that nothing is wrong.
      if (!stream.readableEnded) stream.once("finish", () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
      stream.resume();
    },
    finish(body) {
      if (stream.destroyed || stream.writableEnded) return;
      limitTaking(stream, cut);
      stream.end(body);
    },
    abort: cut,
    get started() {
      return stream.headersSent;
    },
    onClose(callback) {
      const closed = (): void =>
        callback(stream.writableFinished && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR);
      if (stream.closed && stream.destroyed) queueMicrotask(closed);
      else stream.once("close", closed);
    },
  };
}
