import { randomBytes } from "node:crypto";
import type http2 from "node:http2";
import { type Clock, createBackoff, errorText, type HostPort, type Logger } from "@openpool/base";
import { encodeResultParts, RESULT_AUTHORIZATION, type ResultPart, TRANSCODING_ERROR_TYPE } from "@openpool/protocol";
import { type Dialled, dialOrchestrator, type DialOptions } from "./dial.ts";

/** What a task is answered with. */
export type Answer =
  | { readonly kind: "renditions"; readonly decodedPixels: bigint; readonly parts: readonly ResultPart[] }
  /** Gateways compare the whole text: it goes out as it is. */
  | { readonly kind: "error"; readonly text: string };

export type UploadOutcome =
  /** `doubtful`: it broke off once before, of which the orchestrator may have heard, and then it dropped what came again. */
  | { readonly kind: "taken"; readonly doubtful?: true }
  /** The orchestrator answered something else than 200, and would do so again. */
  | { readonly kind: "refused"; readonly status: number; readonly text: string }
  /** It did not get through in time. */
  | { readonly kind: "lost"; readonly why: string };

export interface UploadOrder {
  readonly taskId: bigint;
  readonly answer: Answer;
  readonly secret: string;
  /**
   * Whether who shows a certificate with this SHA-256 may have the answer. Task ids of a stock orchestrator count from 0 in
   * each of its lives: the answer to an old one would be taken for another's. Undefined where ids are never given twice.
   */
  readonly accepts?: ((fingerprint: string) => Promise<boolean>) | undefined;
  /**
   * Monotonic ms; until then it is tried again and again. What is not through by then is broken off, which the orchestrator
   * takes for an error: not for a death.
   */
  readonly deadlineMs: number;
  /** Aborted: it is not wanted any more, and broken off. */
  readonly signal?: AbortSignal;
  /** A small one that must wait behind nothing: it goes over a connection that only such ones use. */
  readonly urgent?: boolean;
}

/** A connection ended when an answer was on its way, and nobody said what became of it. */
class BrokeOff extends Error {}

/** Brings answers to one orchestrator, over connections that outlive registrations. */
export interface Uploader extends AsyncDisposable {
  upload(order: UploadOrder): Promise<UploadOutcome>;
  /** Opens the connection for urgent answers, where there is none: one may be needed soon. */
  prepare(): void;
  /** Connections that are open, for tests and measurements. */
  readonly connections: number;
}

interface Connection {
  readonly dialled: Dialled;
  readonly urgent: boolean;
  /** Bytes given to it and not answered for yet. */
  bytes: number;
  uploads: number;
  /** Nobody closes it for having been idle. */
  stayOpen: () => void;
  /** Somebody looks whether it is still heard of. */
  watched: boolean;
  /** Nothing was heard of it for too long: it may be dead. */
  silent: boolean;
  /** It was said already that answers over it have no end. */
  endlessSaid: boolean;
}

const DIAL_TIMEOUT_MS = 3_000;
/** An orchestrator, or the proxy before it, that is being restarted is back any moment. */
const RETRIES = { initialMs: 50, factor: 2, maxMs: 500, jitter: 0.3 } as const;
/** Said by a proxy that has nobody behind it at the moment: the orchestrator itself has not seen the result. */
const TRANSIENT_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);
const LATE = "the orchestrator did not take it in time";
const GIVEN_UP = "it was given up";
/** Of a peer that did not begin with the request: HTTP/2's REFUSED_STREAM. */
const NOT_BEGUN = 7;
/** A connection that was idle for so long is closed: a router forgets it later, and then swallows the next answer. */
const IDLE_MS = 60_000;
/** One that nobody uses any more is cut when what was written has not gone, or its other side was not closed, after this. */
const CLOSING_MS = 10_000;
/**
 * A connection that is used is looked at so often: when nothing came since the last time it is pinged, and after so many such
 * looks in a row it may be dead. Looks are counted, not time, so that a process that stood still itself blames nobody.
 */
const LOOK_MS = 500;
const SILENT_LOOKS = 4;
/**
 * The answer to a ping waits behind what was sent before it. Whoever takes half a megabyte in a second is not dead: slower,
 * no answer would get there in time anyway.
 */
const LOOK_BYTES = 256 << 10;
const MOST_SLOW_LOOKS = 4;
/** When a new connection is answered it has this long to be heard of: what both waited for comes to both about then. */
const LAST_LOOKS = 2;
const REDIAL_MS = 250;
/** An orchestrator answers with a word. Who says more than this, or comes to no end, has been listened to long enough. */
const MAX_ANSWER_BYTES = 64 << 10;
const ANSWER_END_MS = 2_000;
/**
 * A stock orchestrator lets so much be under way on a connection: over a distance of 50 ms that is 20 MB/s. Whatever is
 * more goes over further connections, opened beside those in use, so that nobody waits for one.
 */
const FULL_BYTES = 1 << 20;

export interface UploaderOptions extends Pick<DialOptions, "certSha256"> {
  readonly address: HostPort;
  readonly maxConnections: number;
}

/** The body of an answer as chunks: headers and views, nothing is copied. */
export function encodeAnswer(answer: Answer): {
  readonly contentType: string;
  readonly chunks: readonly Uint8Array[];
} {
  if (answer.kind === "error") return { contentType: TRANSCODING_ERROR_TYPE, chunks: [Buffer.from(answer.text)] };
  const boundary = randomBytes(10).toString("hex");
  return { contentType: `multipart/mixed; boundary=${boundary}`, chunks: encodeResultParts(answer.parts, boundary) };
}

export function createUploader(
  options: UploaderOptions,
  deps: { readonly clock: Clock; readonly logger: Logger },
): Uploader {
  const { clock, logger } = deps;
  const closing = new AbortController();
  /** That new answers may use. */
  const connections = new Set<Connection>();
  /** The others too, until they are closed. */
  const open = new Set<Connection>();
  /** By whether it is for urgent answers. */
  const dialling = new Map<boolean, Promise<Connection>>();

  const close = (connection: Connection): void => {
    connections.delete(connection);
    if (!open.has(connection)) return;
    const { session, cut } = connection.dialled;
    session.close();
    session.once("close", clock.after(CLOSING_MS, cut));
  };
  const closeWhenIdle = (connection: Connection): void => {
    connection.stayOpen();
    connection.stayOpen = clock.after(IDLE_MS, () => close(connection));
  };
  const dial = (urgent = false): Promise<Connection> => {
    const begun = dialling.get(urgent);
    if (begun) return begun;
    const dialled = dialOrchestrator(
      options.address,
      { timeoutMs: DIAL_TIMEOUT_MS, signal: closing.signal, certSha256: options.certSha256 },
      clock,
    )
      .then((dialled) => {
        const connection: Connection = {
          dialled,
          urgent,
          bytes: 0,
          uploads: 0,
          stayOpen() {},
          watched: false,
          silent: false,
          endlessSaid: false,
        };
        connections.add(connection);
        open.add(connection);
        const forget = (): void => void connections.delete(connection);
        dialled.session.once("close", () => {
          connection.stayOpen();
          open.delete(connection);
          forget();
        });
        // Streams that are up may finish, new ones go elsewhere.
        dialled.session.once("goaway", forget);
        closeWhenIdle(connection);
        return connection;
      })
      .finally(() => dialling.delete(urgent));
    dialling.set(urgent, dialled);
    return dialled;
  };
  const connectionFor = async ({ accepts, urgent = false }: UploadOrder): Promise<Connection> => {
    let best: Connection | undefined;
    let usable = 0;
    for (const one of connections) {
      if (one.urgent !== urgent) continue;
      if ((await accepts?.(one.dialled.fingerprint)) === false) {
        if (one.uploads === 0) close(one);
        continue;
      }
      if (one.silent) continue;
      usable++;
      if (!best || one.bytes < best.bytes) best = one;
    }
    if (!best) return dial(urgent);
    if (best.bytes >= FULL_BYTES && usable < options.maxConnections) dial().catch(() => {});
    return best;
  };
  /**
   * Finds out whether anyone is still there while answers are on their way: a connection that a router forgot swallows them
   * without a word. Whatever comes over it says so, the acknowledgement of a part of an answer too, which a slow way brings.
   * Silence alone does not say that it is dead: an orchestrator that stands still takes what is under way when it goes on, and
   * an upload that breaks off fails its task. So a silent connection is cut only when a new one is answered and it still is not.
   */
  const watch = (connection: Connection): void => {
    const { dialled } = connection;
    const { session } = dialled;
    let { bytesRead, bytesWritten } = dialled;
    let quietLooks = 0;
    /** Looks since another connection was answered; undefined: none was. */
    let lastLooks: number | undefined;
    let pinging = false;
    const ping = (): void => {
      pinging ||= session.ping(() => (pinging = false));
    };
    const compare = (): void => {
      dial().then(
        () => {
          if (connection.silent) lastLooks ??= 0;
        },
        () => {
          if (connection.silent && !session.destroyed) clock.after(REDIAL_MS, compare);
        },
      );
    };
    const look = (): void => {
      connection.watched = !session.destroyed && (connection.uploads > 0 || connection.silent);
      if (!connection.watched) return;
      clock.after(LOOK_MS, look);
      if (dialled.bytesRead !== bytesRead) {
        ({ bytesRead, bytesWritten } = dialled);
        quietLooks = 0;
        lastLooks = undefined;
        connection.silent = false;
        return;
      }
      if (connection.silent) {
        if (lastLooks !== undefined && ++lastLooks >= LAST_LOOKS) session.destroy();
        return;
      }
      ping();
      quietLooks++;
      const slowLooks = Math.min(MOST_SLOW_LOOKS, (dialled.bytesWritten - bytesWritten) / LOOK_BYTES);
      if (quietLooks < SILENT_LOOKS + slowLooks) return;
      connection.silent = true;
      compare();
    };
    connection.watched = true;
    ping();
    clock.after(LOOK_MS, look);
  };

  /** What comes in time; else rejects. */
  const inTime = async <T>(promise: Promise<T>, { deadlineMs }: UploadOrder): Promise<T> => {
    let forget = (): void => {};
    const late = new Promise<never>((_, reject) => {
      forget = clock.after(deadlineMs - clock.monotonicMs(), () => reject(new Error(LATE)));
    });
    return await Promise.race([promise, late]).finally(() => forget());
  };

  /** Tries once. Rejects with what may be otherwise the next time. */
  const post = async (
    order: UploadOrder,
    headers: http2.OutgoingHttpHeaders,
    chunks: readonly Uint8Array[],
    bytes: number,
  ): Promise<UploadOutcome> => {
    const connection = await inTime(connectionFor(order), order);
    const { session, fingerprint } = connection.dialled;
    if (order.accepts && !(await inTime(order.accepts(fingerprint), order))) {
      return { kind: "lost", why: "the orchestrator was restarted, its tasks are gone" };
    }
    if (order.signal?.aborted) throw new Error(GIVEN_UP);
    if (session.closed || session.destroyed) throw new Error("connection lost");
    connection.stayOpen();
    connection.uploads++;
    if (!connection.watched) watch(connection);
    connection.bytes += bytes;
    return await new Promise<UploadOutcome>((resolve, reject) => {
      const stream = session.request({ ":method": "POST", ":path": "/transcodeResults", ...headers });
      let brokenOff: string | undefined;
      const breakOff = (why: string): void => {
        brokenOff = why;
        // What was written of it lies in the way: the next ones go elsewhere.
        connections.delete(connection);
        stream.close(8);
      };
      const forget = clock.after(order.deadlineMs - clock.monotonicMs(), () => breakOff(LATE));
      const onAbort = (): void => breakOff(GIVEN_UP);
      order.signal?.addEventListener("abort", onAbort, { once: true });
      let status = 0;
      let text = "";
      let answerBytes = 0;
      let forgetEnd = (): void => {};
      /** Its status says all that counts: what follows is not waited for, since the answer's renditions wait with it. */
      const cutAnswer = (): void => {
        if (!connection.endlessSaid) {
          logger.warn("an orchestrator's answer to a result has no end: its status counts, the rest is not read", {
            task: order.taskId.toString(),
            status,
            answerBytes,
          });
        }
        connection.endlessSaid = true;
        stream.close(8);
      };
      stream.on("response", (answer) => {
        status = Number(answer[":status"]);
        // Whoever answers before it has everything has the time that there is for the rest.
        const limitEnd = (): void => void (forgetEnd = clock.after(ANSWER_END_MS, cutAnswer));
        if (stream.writableFinished) limitEnd();
        else stream.once("finish", limitEnd);
      });
      stream.on("data", (chunk: Buffer) => {
        answerBytes += chunk.length;
        if (answerBytes > MAX_ANSWER_BYTES) cutAnswer();
        else if (text.length < 1_000) text += chunk.toString();
      });
      stream.on("error", () => {});
      stream.once("close", () => {
        forget();
        forgetEnd();
        order.signal?.removeEventListener("abort", onAbort);
        if (status === 200) resolve({ kind: "taken" });
        else if (TRANSIENT_STATUSES.has(status)) reject(new Error(`it was answered with ${status} ${text.trim()}`));
        else if (status !== 0) resolve({ kind: "refused", status, text: text.trim() });
        else if (brokenOff !== undefined) reject(new Error(brokenOff));
        else {
          const why = stream.rstCode ? `stream reset with code ${stream.rstCode}` : "connection lost";
          reject(stream.pending || stream.rstCode === NOT_BEGUN ? new Error(why) : new BrokeOff(why));
        }
      });
      for (const chunk of chunks) stream.write(chunk);
      stream.end();
    }).finally(() => {
      connection.uploads--;
      connection.bytes -= bytes;
      if (connection.uploads > 0) return;
      if (connections.has(connection)) closeWhenIdle(connection);
      else close(connection);
    });
  };

  return {
    get connections() {
      return connections.size;
    },
    prepare() {
      if ([...connections].some(({ urgent, silent }) => urgent && !silent)) return;
      dial(true).catch(() => {});
    },
    async upload(order) {
      const { answer } = order;
      const { contentType, chunks } = encodeAnswer(answer);
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const headers = {
        authorization: RESULT_AUTHORIZATION,
        // As bytes of UTF-8, which an orchestrator compares; a header's characters are written as one byte each.
        credentials: Buffer.from(order.secret).toString("latin1"),
        taskid: order.taskId.toString(),
        pixels: (answer.kind === "renditions" ? answer.decodedPixels : 0n).toString(),
        "content-type": contentType,
        "content-length": bytes,
        "user-agent": "openpool",
      };
      const backoff = createBackoff(RETRIES);
      let brokeOff = false;
      for (;;) {
        try {
          const outcome = await post(order, headers, chunks, bytes);
          return brokeOff && outcome.kind === "taken" ? { ...outcome, doubtful: true } : outcome;
        } catch (error) {
          brokeOff ||= error instanceof BrokeOff;
          const why = errorText(error);
          if (order.signal?.aborted) return { kind: "lost", why };
          const delayMs = backoff.next();
          const over = clock.monotonicMs() + delayMs >= order.deadlineMs;
          if (over || closing.signal.aborted) return { kind: "lost", why };
          logger.debug("an answer did not get through, trying again", { task: order.taskId.toString(), why });
          await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
        }
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.all(
        [...open].map(async ({ dialled: { session, cut } }) => {
          const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
          session.destroy();
          cut();
          await closed;
        }),
      );
    },
  };
}
