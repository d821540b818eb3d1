import http from "node:http";
import http2 from "node:http2";
import type { Socket } from "node:net";
import tls from "node:tls";
import type { Logger } from "@openpool/base";
import { addressGroup, errorCode, errorText } from "@openpool/base";
import { HTTP2_CONNECTION_MEMORY_MB } from "@openpool/protocol";
import { type Exchange, exchangeOfRequest, exchangeOfStream } from "./exchange.ts";
import type { TlsIdentity } from "./certificate.ts";
import { refuseUnreadable } from "./unreadable.ts";

export interface FrontOptions {
  readonly identity: TlsIdentity;
  /** Connections open at once, all peers together; the next one is closed at once. */
  readonly maxConnections: number;
  /** Connections open at once from one address, or from one network of IPv6 addresses. */
  readonly maxConnectionsPerAddress: number;
  /** Other limits than the usual ones: a test cannot wait for those. */
  readonly limits?: Partial<FrontLimits> | undefined;
}

/** How long a peer may take before its connection is closed, in milliseconds. */
export interface FrontLimits {
  readonly handshakeMs: number;
  /** For the headers of an HTTP/1.1 request, and until the first request of any connection. */
  readonly headersMs: number;
  /** For a whole HTTP/1.1 request; the doors have shorter limits of their own. */
  readonly requestMs: number;
  /** Without any request. */
  readonly idleMs: number;
  /** How often a connection is looked at; one that was asked for a sign of life may stay silent for twice as long. */
  readonly lookMs: number;
}

export const defaultFrontLimits: FrontLimits = {
  handshakeMs: 10_000,
  headersMs: 20_000,
  requestMs: 300_000,
  idleMs: 10 * 60_000,
  lookMs: 5_000,
};

export interface FrontHandlers {
  /** A gRPC call: the stream's headers are in, nothing is answered yet. */
  grpc(stream: http2.ServerHttp2Stream, path: string, peer: string, authority: string): void;
  /** Any other request, over HTTP/1.1 or h2 alike. */
  http(exchange: Exchange): void;
}

/** The public port: one TLS front, and behind it an h2 and an HTTP/1.1 server, told apart by ALPN. */
export interface Front extends AsyncDisposable {
  /** Takes a raw TCP connection that somebody else accepted. */
  accept(socket: Socket): void;
  readonly connections: number;
  /**
   * Tells every client, at its next request at the latest, to open the one after that elsewhere. Whatever comes over open
   * connections is served until they are closed, by their clients or when their last request is answered.
   */
  goAway(): void;
}

interface SessionState {
  /** Streams. */
  open: number;
  /** Streams that are registrations of workers. */
  registrations: number;
  sentAway: boolean;
  /** The client has read that it is to go elsewhere, or had the time to. */
  knows: boolean;
}

/** Behind a gateway's idle limit of 60 s, so that it never reuses a connection that is just being closed. */
const KEEP_ALIVE_MS = 95_000;
/** Paid requests carry their tickets in a header: tens of kilobytes are honest. */
const MAX_HEADER_BYTES = 256 * 1024;

/** In a GOAWAY: open nothing new here, but whatever is on its way will be served. */
const LAST_STREAM_ID = 2 ** 31 - 1;
/** A client that answers no PING within this time is not waited for. */
const PING_MS = 2_000;
/**
 * A connection is dead after that many looks in a row without a byte. After one alone its answer may lie there unread: a
 * machine that stood still runs its timers before it reads.
 */
const SILENT_LOOKS = 2;
const REGISTRATION = "/net.Transcoder/RegisterTranscoder";

/**
 * Over a real network the windows decide everything: with Node's defaults a whole connection moves 64 KB a round trip.
 */
const STREAM_WINDOW_BYTES = 4 << 20;
const CONNECTION_WINDOW_BYTES = 64 << 20;

export function openFront(options: FrontOptions, handlers: FrontHandlers, deps: { logger: Logger }): Front {
  const { logger } = deps;
  const limits: FrontLimits = { ...defaultFrontLimits, ...options.limits };
  const sockets = new Map<Socket, string>();
  const perAddress = new Map<string, number>();
  const sessions = new Map<http2.Http2Session, SessionState>();
  let leaving = false;

  /** One request must never end the process, whatever goes wrong with it. */
  const guarded = (handle: () => void): void => {
    try {
      handle();
    } catch (error) {
      logger.error("a request could not be handled", { error: errorText(error) });
    }
  };

  const h1 = http.createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: Math.min(5_000, limits.headersMs),
    },
    (request, response) => {
      // The answer tells the client to open another connection: closing an idle one could meet a request halfway.
      if (leaving) response.shouldKeepAlive = false;
      guarded(() => handlers.http(exchangeOfRequest(request, response)));
    },
  );
  h1.on("clientError", refuseUnreadable({ told: (facts) => logger.debug("unreadable HTTP/1.1 request", facts) }));
  // A server that never listens enforces no header and request timeouts until it believes that it does.
  h1.emit("listening");

  const h2 = http2.createServer({
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxFrameSize: 1 << 18,
      maxHeaderListSize: 1 << 20,
      maxConcurrentStreams: 250,
    },
    maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
  });
  /**
   * Sends a client elsewhere without refusing or losing what it has sent meanwhile: a GOAWAY that still allows every
   * stream, and a PING behind it. Who answers that has read both and opens nothing more here. The stream that is at hand
   * waits for it: without an open stream Node reads no more after a GOAWAY, and requests on their way would hang.
   */
  const sendAway = (session: http2.Http2Session, state: SessionState, then: () => void): void => {
    state.sentAway = true;
    const proceed = (): void => {
      if (state.knows) return;
      state.knows = true;
      clearTimeout(timer);
      then();
      if (state.open === 0) session.close();
    };
    const timer = setTimeout(proceed, PING_MS);
    session.goaway(http2.constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
    session.ping(proceed);
  };

  h2.on("session", (session) => {
    const state: SessionState = { open: 0, registrations: 0, sentAway: false, knows: false };
    sessions.set(session, state);
    // Every registration on it listens for its end.
    session.setMaxListeners(0);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const address = session.socket.remoteAddress ?? "";
    const forget = watch(session, state, limits);
    session.once("close", () => {
      forget();
      sessions.delete(session);
    });
    session.on("error", (error) => logger.debug("h2 session ended", { error: errorText(error), peer: address }));
    session.on("stream", (stream, headers) => {
      // Without a listener one reset stream would end the process.
      stream.on("error", (error) => logger.debug("h2 stream ended", { error: errorText(error), peer: address }));
      const isGrpc =
        headers[":method"] === "POST" && String(headers["content-type"] ?? "").startsWith("application/grpc");
      const path = String(headers[":path"] ?? "");
      const registers = isGrpc && path === REGISTRATION;
      state.open++;
      if (registers) state.registrations++;
      stream.once("close", () => {
        state.open--;
        if (registers) state.registrations--;
        if (state.knows && state.open === 0) session.close();
      });
      const handle = (): void =>
        guarded(() => {
          if (isGrpc) handlers.grpc(stream, path, address, String(headers[":authority"] ?? ""));
          else handlers.http(exchangeOfStream(stream, headers, address));
        });
      if (leaving && !state.sentAway) guarded(() => sendAway(session, state, handle));
      else handle();
    });
  });

  const front = tls.createServer(
    {
      cert: options.identity.certPem,
      key: options.identity.keyPem,
      noDelay: true,
      // h2 first, always: a gateway that once got http/1.1 here could never again call GetOrchestrator.
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: limits.handshakeMs,
    },
    (socket) => (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket),
  );
  front.on("tlsClientError", (error, socket) => {
    logger.debug("TLS handshake failed", { code: errorCode(error), peer: socket.remoteAddress });
    socket.destroy();
  });

  return {
    accept(socket) {
      const address = socket.remoteAddress ?? "";
      const group = addressGroup(address);
      const fromHere = perAddress.get(group) ?? 0;
      if (sockets.size >= options.maxConnections || fromHere >= options.maxConnectionsPerAddress) {
        logger.debug("connection refused: too many", { peer: address, open: sockets.size, fromHere });
        socket.destroy();
        return;
      }
      sockets.set(socket, address);
      perAddress.set(group, fromHere + 1);
      socket.once("close", () => {
        sockets.delete(socket);
        const left = (perAddress.get(group) ?? 1) - 1;
        if (left > 0) perAddress.set(group, left);
        else perAddress.delete(group);
      });
      socket.on("error", (error) => logger.debug("connection ended", { code: errorCode(error), peer: address }));
      socket.setNoDelay(true);
      front.emit("connection", socket);
      socket.resume();
    },
    get connections() {
      return sockets.size;
    },
    goAway() {
      leaving = true;
      for (const [session, state] of sessions) {
        // A registration stays open longer than any request is on its way; others are told at their next request.
        if (state.registrations > 0 && !session.closed) guarded(() => sendAway(session, state, () => {}));
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.keys()) socket.destroy();
      h1.close();
      h1.closeAllConnections();
      h2.close();
      for (const session of sessions.keys()) session.destroy();
    },
  };
}

/**
 * Closes a connection on which nothing happens any more: that never had a request, that has had none for long, and, the
 * reason why it is asked, one that HTTP/2 itself has ended: after a frame that is none nothing is read from it, and Node
 * tells nobody. Who said something since it was asked last is asked for a sign of life.
 */
function watch(session: http2.Http2Session, state: SessionState, limits: FrontLimits): () => void {
  const { socket } = session;
  let idleMs = 0;
  let served = false;
  /** What had been read when the last answer came; and when an open question was asked. */
  let readAtAnswer = 0;
  let readAtQuestion: number | undefined;
  let silentLooks = 0;
  const look = (): void => {
    if (session.destroyed) return;
    idleMs = state.open > 0 ? 0 : idleMs + limits.lookMs;
    if (!served && idleMs >= limits.headersMs) return session.destroy();
    if (idleMs >= limits.idleMs) return session.close();
    const read = socket.bytesRead;
    if (readAtQuestion !== undefined) {
      // An answer may stand behind a long upload.
      silentLooks = read === readAtQuestion ? silentLooks + 1 : 0;
      if (silentLooks >= SILENT_LOOKS) session.destroy();
      readAtQuestion = read;
      return;
    }
    if (read === readAtAnswer) return;
    readAtQuestion = read;
    silentLooks = 0;
    try {
      session.ping(() => {
        readAtQuestion = undefined;
        if (!session.destroyed) readAtAnswer = socket.bytesRead;
      });
    } catch {
      session.destroy();
    }
  };
  session.once("stream", () => (served = true));
  const timer = setInterval(look, limits.lookMs);
  timer.unref();
  return () => clearInterval(timer);
}
