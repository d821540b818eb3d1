import type http2 from "node:http2";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "@openpool/base";
import {
  decodeGrpcMessage,
  encodeGrpcFrame,
  grpcMessageReader,
  type NotifySegment,
  NotifySegmentSchema,
  type RegisterRequest,
  RegisterRequestSchema,
} from "@openpool/protocol";

/** How a registration ended: what the pool said, or what became of the connection. */
export interface RegistrationEnd {
  /** gRPC status, where the pool sent one. */
  readonly status: number | undefined;
  /** The pool's own words (empty when it gave none), or the transport's. */
  readonly text: string;
}

export interface RegistrationEvents {
  /** The pool has taken the request and not refused it so far. It says nothing else until there is work. */
  onRegistered(): void;
  onNotify(notify: NotifySegment): void;
}

const MAX_MESSAGE_BYTES = 4 << 20;
const PING_EVERY_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;

export interface Registration {
  /** Settles once, never rejects. */
  readonly ended: Promise<RegistrationEnd>;
  /**
   * Takes no more tasks: resets the stream and leaves the connection open, so that a pool can tell this from a death.
   * The pool hands new work to others; results of running tasks are still welcome.
   */
  leave(): void;
}

/**
 * Registers over an open connection and listens for tasks until either side ends it. The stream may be silent for days,
 * so pings find out whether the pool is still there.
 */
export function register(
  session: http2.ClientHttp2Session,
  request: RegisterRequest,
  events: RegistrationEvents,
  clock: Clock,
): Registration {
  let transportError: string | undefined;
  let status: number | undefined;
  let message = "";
  const stream = session.request(
    {
      ":method": "POST",
      ":path": "/net.Transcoder/RegisterTranscoder",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "openpool-worker",
    },
    { endStream: false },
  );
  const readStatus = (headers: http2.IncomingHttpHeaders): void => {
    const grpcStatus = headers["grpc-status"];
    if (grpcStatus !== undefined) status = Number(grpcStatus);
    const grpcMessage = headers["grpc-message"];
    if (grpcMessage !== undefined) message = decodeGrpcMessage(String(grpcMessage));
  };
  const fail = (why: string): void => {
    transportError ??= why;
    session.destroy();
  };
  const read = grpcMessageReader(MAX_MESSAGE_BYTES, (bytes) => events.onNotify(fromBinary(NotifySegmentSchema, bytes)));
  stream.on("response", (headers) => {
    readStatus(headers);
    if (headers[":status"] !== 200) transportError ??= `HTTP status ${headers[":status"]}`;
  });
  stream.on("trailers", readStatus);
  let heardMs = clock.monotonicMs();
  stream.on("data", (chunk: Buffer) => {
    heardMs = clock.monotonicMs();
    try {
      const problem = read(chunk);
      if (problem !== undefined) fail(`from the pool: ${problem}`);
    } catch (error) {
      fail(`the pool sent a task that does not parse: ${String(error)}`);
    }
  });
  stream.on("error", (error) => (transportError ??= error.message));
  session.on("error", (error) => (transportError ??= error.message));
  stream.end(encodeGrpcFrame(toBinary(RegisterRequestSchema, request)));

  let forget = (): void => {};
  const ping = (onAnswer: () => void): void => {
    if (session.destroyed || session.closed) return;
    const tooLate = clock.after(PING_TIMEOUT_MS, () => fail(`no answer to a ping within ${PING_TIMEOUT_MS} ms`));
    session.ping((error) => {
      tooLate();
      if (!error && !stream.closed) onAnswer();
    });
  };
  const keepAlive = (): void => {
    const silentMs = clock.monotonicMs() - heardMs;
    if (silentMs < PING_EVERY_MS) {
      forget = clock.after(PING_EVERY_MS - silentMs, keepAlive);
      return;
    }
    ping(() => {
      heardMs = clock.monotonicMs();
      forget = clock.after(PING_EVERY_MS, keepAlive);
    });
  };
  // The ping follows the request on the wire: its answer proves that the request arrived.
  ping(() => {
    heardMs = clock.monotonicMs();
    events.onRegistered();
    forget = clock.after(PING_EVERY_MS, keepAlive);
  });

  const ended = new Promise<RegistrationEnd>((resolve) => {
    stream.once("close", () => {
      forget();
      const rst = stream.rstCode ? `stream reset with code ${stream.rstCode}` : "connection closed";
      resolve({ status, text: message || (status === undefined ? (transportError ?? rst) : "") });
    });
  });
  return {
    ended,
    leave() {
      // CANCEL (8), as a gRPC client that has had enough.
      if (!stream.closed) stream.close(8);
    },
  };
}
