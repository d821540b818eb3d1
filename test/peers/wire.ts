/**
 * What all peers of the tests share: connections as Go's libraries open them, and gRPC without a library, so that a test
 * sees exactly what crossed the wire.
 */
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { errorCode, errorText } from "@openpool/base";
import { decodeGrpcFrame, encodeGrpcFrame, HTTP2_CONNECTION_MEMORY_MB } from "@openpool/protocol";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Reads `HOST:PORT` or `https://HOST:PORT`; as with stock nodes scheme and path do not matter and 8935 is the default. */
export function parseHostPort(address: string): HostPort {
  const url = new URL(address.includes("://") ? address : `https://${address}`);
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 8935) };
}

/** A TLS connection and the TCP connection below it, which alone can be reset. */
export type TlsConnection = tls.TLSSocket & { readonly tcp: net.Socket };

/** How long a peer waits where its impatience is not the point: this machine may stand still for seconds. */
const PATIENCE_MS = 60_000;

/** TLS to a peer that nobody verifies; `alpn` empty: no ALPN extension at all. */
export function connectTls(
  address: HostPort,
  alpn: readonly string[],
  timeoutMs = PATIENCE_MS,
  localAddress?: string,
): Promise<TlsConnection> {
  return new Promise((resolve, reject) => {
    const tcp = net.connect({ ...address, ...(localAddress === undefined ? {} : { localAddress }) });
    const socket = Object.assign(
      tls.connect({
        socket: tcp,
        rejectUnauthorized: false,
        ...(net.isIP(address.host) ? {} : { servername: address.host }),
        ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
      }),
      { tcp },
    );
    // An error of the connection reaches the TLS socket too.
    tcp.on("error", () => {});
    const timer = setTimeout(() => socket.destroy(new Error("context deadline exceeded")), timeoutMs);
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    tcp.setNoDelay(true);
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

export interface H2Connection {
  readonly session: http2.ClientHttp2Session;
  readonly socket: TlsConnection;
}

/** Opens HTTP/2 over TLS, as grpc-go does: without ALPN `h2` there is no connection. */
export async function connectH2(
  address: HostPort,
  options: {
    readonly alpn?: readonly string[];
    readonly settings?: http2.Settings;
    readonly timeoutMs?: number;
    /** Of this machine; default: whichever it uses. */
    readonly localAddress?: string | undefined;
  } = {},
): Promise<H2Connection> {
  const socket = await connectTls(address, options.alpn ?? ["h2"], options.timeoutMs, options.localAddress);
  if (socket.alpnProtocol !== "h2") {
    socket.destroy();
    throw new Error("the server did not choose h2");
  }
  const session = http2.connect(`https://${hostHeader(address)}`, {
    createConnection: () => socket,
    maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
    settings: { enablePush: false, ...options.settings },
  });
  session.on("error", () => {}); // every stream on it hears of it too
  return { session, socket };
}

/** The HTTP/2 settings of Go's `/segment` and `/transcodeResults` clients. */
export const goClientSettings: http2.Settings = { initialWindowSize: 4 << 20, maxHeaderListSize: 10 << 20 };

export function hostHeader({ host, port }: HostPort): string {
  return `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** How a gRPC call ended. `rst` is the code of an RST_STREAM, if that is how. */
export interface GrpcEnd {
  readonly status: number | undefined;
  readonly message: string;
  readonly rst: number | undefined;
}

export interface GrpcCall {
  readonly stream: http2.ClientHttp2Stream;
  /** Response headers; undefined when the call ended without any. */
  readonly headers: Promise<http2.IncomingHttpHeaders | undefined>;
  readonly ended: Promise<GrpcEnd>;
}

/** Starts a call that sends one message; every message that comes back goes to `onMessage`. */
export function startGrpcCall(
  session: http2.ClientHttp2Session,
  path: string,
  message: Uint8Array,
  onMessage: (message: Uint8Array) => void,
): GrpcCall {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    "user-agent": "grpc-go/1.68.1",
    te: "trailers",
  });
  let received = Buffer.alloc(0);
  let end: GrpcEnd = { status: undefined, message: "", rst: undefined };
  const readStatus = (headers: http2.IncomingHttpHeaders): void => {
    if (headers["grpc-status"] === undefined) return;
    const text = String(headers["grpc-message"] ?? "");
    end = { ...end, status: Number(headers["grpc-status"]), message: decodeURIComponent(text) };
  };
  stream.on("trailers", readStatus);
  stream.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    for (;;) {
      const frame = decodeGrpcFrame(received, 4 << 20); // grpc-go takes no more
      if (frame.kind !== "message") break;
      received = received.subarray(5 + frame.message.length);
      onMessage(frame.message);
    }
  });
  stream.on("error", () => {}); // `close` tells the rest
  const headers = new Promise<http2.IncomingHttpHeaders | undefined>((resolve) => {
    stream.on("response", (response) => {
      readStatus(response); // trailers-only answers have it here
      resolve(response);
    });
    stream.on("close", () => resolve(undefined));
  });
  const ended = new Promise<GrpcEnd>((resolve) => {
    stream.on("close", () => {
      // Node gives the streams of a connection that broke a code of its own: nobody sent it.
      const rst = session.socket?.destroyed === false ? (stream.rstCode ?? 0) : 0;
      resolve(rst === 0 ? end : { ...end, rst });
    });
  });
  stream.end(encodeGrpcFrame(message));
  return { stream, headers, ended };
}

export interface UnaryAnswer extends GrpcEnd {
  readonly message: string;
  readonly answer: Uint8Array | undefined;
  readonly headers: http2.IncomingHttpHeaders | undefined;
}

/** One unary call. */
export async function callUnary(
  session: http2.ClientHttp2Session,
  path: string,
  message: Uint8Array,
): Promise<UnaryAnswer> {
  let answer: Uint8Array | undefined;
  const call = startGrpcCall(session, path, message, (one) => (answer = Uint8Array.from(one)));
  const [headers, end] = await Promise.all([call.headers, call.ended]);
  return { ...end, answer, headers };
}

/** One unary call on a connection of its own, as gateways dial for each. */
export async function dialUnary(
  address: HostPort,
  path: string,
  message: Uint8Array,
  options: { readonly alpn?: readonly string[]; readonly timeoutMs?: number } = {},
): Promise<UnaryAnswer> {
  const { session } = await connectH2(address, options);
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => session.destroy(), options.timeoutMs);
  try {
    return await callUnary(session, path, message);
  } finally {
    clearTimeout(timer);
    session.close();
  }
}

export interface HttpAnswer {
  readonly status: number;
  readonly statusMessage: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Connections for downloads: no ALPN, nothing verified, two idle ones kept as Go does. */
export function createDownloadAgent(keepAlive = true, localAddress?: string): https.Agent {
  const from = localAddress === undefined ? {} : { localAddress };
  return new https.Agent({ keepAlive, maxFreeSockets: 2, rejectUnauthorized: false, ALPNProtocols: [], ...from });
}

/** The answer of one request over HTTP/1.1 without ALPN, the way every download of a stock node goes. */
export function requestHttp1(
  url: string,
  options: {
    readonly agent?: https.Agent;
    readonly method?: string;
    readonly headers?: http.OutgoingHttpHeaders;
    readonly body?: Uint8Array;
    readonly timeoutMs?: number | undefined;
  } = {},
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(options.timeoutMs ?? PATIENCE_MS);
    const request = https.request(
      url,
      {
        method: options.method ?? "GET",
        headers: { "user-agent": "Go-http-client/1.1", ...options.headers },
        agent: options.agent ?? createDownloadAgent(false),
        signal,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            statusMessage: response.statusMessage ?? "",
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    request.on("error", reject);
    request.end(options.body);
  });
}

export interface H2Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  /** From the request's start, in ms. */
  readonly headersMs: number;
  readonly totalMs: number;
}

/**
 * What Go's transport does by itself: a stream that was refused was not processed, so the request is sent again, on another
 * connection when this one is going away. `send` takes whatever connection there is then.
 */
export async function unlessRefused<T>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const refused =
        errorText(error).includes("NGHTTP2_REFUSED_STREAM") ||
        ["ERR_HTTP2_GOAWAY_SESSION", "ERR_HTTP2_INVALID_SESSION"].includes(errorCode(error) ?? "");
      if (!refused || attempt === 6) throw error;
    }
  }
}

/** One request over HTTP/2. Rejects when the stream is reset before an answer was complete. */
export function requestH2(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Uint8Array,
  limits: { readonly headersMs?: number; readonly totalMs?: number } = {},
): Promise<H2Answer> {
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const since = (): number => performance.now() - startedMs;
    const stream = session.request({
      ":method": body ? "POST" : "GET",
      ...(body ? { "content-length": body.length } : {}),
      "user-agent": "Go-http-client/2.0",
      ...headers,
    });
    const cancel = (text: string): void => {
      reject(new Error(text));
      stream.close(http2.constants.NGHTTP2_CANCEL);
    };
    const timers = [
      limits.headersMs && setTimeout(() => answer ?? cancel("header timeout"), limits.headersMs),
      limits.totalMs && setTimeout(() => cancel("body timeout"), limits.totalMs),
    ];
    let answer: { readonly headers: http2.IncomingHttpHeaders; readonly headersMs: number } | undefined;
    const chunks: Buffer[] = [];
    let complete = false;
    stream.on("response", (received) => (answer = { headers: received, headersMs: since() }));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => (complete = true));
    stream.on("error", reject);
    stream.on("close", () => {
      for (const timer of timers) clearTimeout(timer);
      if (!answer || !complete || stream.rstCode) return reject(new Error(`stream reset with code ${stream.rstCode}`));
      const status = Number(answer.headers[":status"]);
      resolve({ status, ...answer, body: Buffer.concat(chunks), totalMs: since() });
    });
    if (body) stream.end(body);
    else stream.end();
  });
}
