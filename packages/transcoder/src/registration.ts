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
import type { Dialled } from "./dial.ts";

export interface RegistrationEvents {
  /** The orchestrator has taken the request and not refused it so far. It says nothing else until there is work. */
  onTaken(): void;
  onNotify(notify: NotifySegment): void;
  /** It is over, for whatever reason, once. */
  onEnd(end: RegistrationEnd): void;
}

export interface RegistrationEnd {
  /** What the orchestrator said, as it is, or what became of the connection. */
  readonly text: string;
  /** It said so at the level of gRPC. */
  readonly refused: boolean;
}

/** A task is under a kilobyte, but names of profiles are free. */
const MAX_MESSAGE_BYTES = 4 << 20;
const PING_EVERY_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;

export interface Registration {
  /** Leaves: no task that was sent before the orchestrator hears of it is lost, and the connection ends. */
  leave(): void;
  /**
   * Takes no more tasks: resets the stream and leaves the connection open, so that a pool can tell this from a death. It
   * hands new work to others; results of running tasks are still welcome.
   */
  drain(): void;
  /** Whether somebody answers on it now. Who does not within `timeoutMs` is dead: then it ends. */
  answers(timeoutMs: number): Promise<boolean>;
  /** Ends the connection at once. */
  cut(): void;
}

/**
 * Registers over a connection of its own and listens for tasks until either side ends it. The stream may be silent for
 * days, so pings find out whether anybody is still there.
 */
export function register(
  dialled: Dialled,
  request: RegisterRequest,
  events: RegistrationEvents,
  clock: Clock,
): Registration {
  const { session } = dialled;
  let problem: string | undefined;
  let status: number | undefined;
  let message = "";
  let left = false;
  let draining = false;
  const stream = session.request(
    {
      ":method": "POST",
      ":path": "/net.Transcoder/RegisterTranscoder",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "openpool",
    },
    { endStream: false },
  );
  const readStatus = (headers: Readonly<Record<string, unknown>>): void => {
    if (headers["grpc-status"] !== undefined) status = Number(headers["grpc-status"]);
    if (headers["grpc-message"] !== undefined) message = decodeGrpcMessage(String(headers["grpc-message"]));
  };
  const fail = (why: string): void => {
    problem ??= why;
    session.destroy();
  };
  const read = grpcMessageReader(MAX_MESSAGE_BYTES, (bytes) => events.onNotify(fromBinary(NotifySegmentSchema, bytes)));
  stream.on("response", (headers) => {
    readStatus(headers);
    if (headers[":status"] !== 200) problem ??= `HTTP status ${headers[":status"]}`;
  });
  stream.on("trailers", readStatus);
  let heardMs = clock.monotonicMs();
  stream.on("data", (chunk: Buffer) => {
    heardMs = clock.monotonicMs();
    try {
      const wrong = read(chunk);
      if (wrong !== undefined) fail(`a message came that is ${wrong.kind}`);
    } catch (error) {
      fail(`it sent a task that does not parse: ${String(error)}`);
    }
  });
  stream.on("error", (error) => (problem ??= error.message));
  session.on("error", (error) => (problem ??= error.message));
  stream.end(encodeGrpcFrame(toBinary(RegisterRequestSchema, request)));

  let forget = (): void => {};
  /** What is returned forgets that somebody was asked. */
  const ping = (timeoutMs: number, onEnd: (answered: boolean) => void): (() => void) => {
    if (session.destroyed || session.closed || left) {
      onEnd(false);
      return () => {};
    }
    const tooLate = clock.after(timeoutMs, () => fail(`no answer to a ping within ${timeoutMs} ms`));
    session.ping((error) => {
      tooLate();
      onEnd(!error && !stream.closed && !left);
    });
    return tooLate;
  };
  const keepAlive = (): void => {
    const silentMs = clock.monotonicMs() - heardMs;
    if (silentMs < PING_EVERY_MS) {
      forget = clock.after(PING_EVERY_MS - silentMs, keepAlive);
      return;
    }
    forget = ping(PING_TIMEOUT_MS, (answered) => {
      if (!answered) return;
      heardMs = clock.monotonicMs();
      forget = clock.after(PING_EVERY_MS, keepAlive);
    });
  };
  // Pings follow the request on the wire. The answer to the first proves that the request arrived; by the second the
  // orchestrator, which handles requests beside its connection, had the time to refuse it.
  forget = ping(PING_TIMEOUT_MS, (arrived) => {
    if (!arrived) return;
    forget = ping(PING_TIMEOUT_MS, (answered) => {
      if (!answered) return;
      heardMs = clock.monotonicMs();
      events.onTaken();
      forget = clock.after(PING_EVERY_MS, keepAlive);
    });
  });

  stream.once("close", () => {
    forget();
    const rst = stream.rstCode ? `stream reset with code ${stream.rstCode}` : "connection closed";
    const ended =
      status === 0
        ? "it ended the registration, as it does when it was not answered in time"
        : `it ended the registration (status ${status})`;
    const text = message || (status === undefined ? (problem ?? rst) : ended);
    if (!draining) session.destroy();
    events.onEnd({ text, refused: status !== undefined && status !== 0 });
  });
  return {
    leave() {
      if (left) return;
      left = true;
      forget();
      dialled.halfClose();
    },
    drain() {
      draining = true;
      // CANCEL (8), as a gRPC client that has had enough.
      if (!stream.closed) stream.close(8);
    },
    answers: (timeoutMs) => new Promise((resolve) => void ping(timeoutMs, resolve)),
    cut() {
      left = true;
      forget();
      session.destroy();
    },
  };
}
