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
  /** Where the body of the answer goes, once started. */
  readonly output: Writable;
  /** The whole answer at once. A body that was not read is dropped. */
  answer(status: number, headers: Readonly<Record<string, string | number>>, body: Uint8Array | string): void;
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

export function exchangeOfRequest(request: IncomingMessage, response: ServerResponse): Exchange {
  const drop = (): void => {
    if (request.complete || request.destroyed) return;
    let left = DRAIN_BYTES;
    request.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) request.socket.destroySoon();
    });
    request.resume();
  };
  return {
    method: request.method ?? "",
    path: request.url ?? "",
    peer: request.socket.remoteAddress ?? "",
    authority: request.headers.host ?? "",
    header(name) {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body: request,
    start(status, headers) {
      response.writeHead(status, headers);
      // Without this nothing leaves before the first byte of the body.
      response.flushHeaders();
    },
    output: response,
    answer(status, headers, body) {
      // A request without a body counts as incomplete until its handler has returned.
      if (!request.complete && hasBody(request)) response.shouldKeepAlive = false;
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
      response.end(body);
      drop();
    },
    abort() {
      request.socket.destroy();
    },
    get started() {
      return response.headersSent;
    },
    onClose(callback) {
      response.once("close", () => callback(response.writableFinished));
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
    start(status, extra) {
      if (!stream.destroyed && !stream.headersSent) stream.respond({ ":status": status, ...extra });
    },
    output: stream,
    answer(status, extra, body) {
      if (stream.destroyed || stream.headersSent) return;
      stream.respond({ ":status": status, ...extra, "content-length": Buffer.byteLength(body) });
      stream.end(body);
      // The answer is complete; a body still on its way is not wanted, and NO_ERROR says that nothing is wrong.
      if (!stream.readableEnded) stream.once("finish", () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
      stream.resume();
    },
    abort() {
      stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    },
    get started() {
      return stream.headersSent;
    },
    onClose(callback) {
      stream.once("close", () =>
        callback(stream.writableFinished && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR),
      );
    },
  };
}
