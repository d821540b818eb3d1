import http2 from "node:http2";
import { errorText, type Clock } from "@openpool/base";
import { dial } from "./dial.ts";

/** It closes a connection to `/segment` that was idle for this long. */
const IDLE_MS = 60_000;
/** A gateway reads the answer without limit; this only guards against nonsense. */
const MAX_ANSWER_BYTES = 16 << 20;
/** Go's transport gives up a request that is refused so often. */
const MAX_ATTEMPTS = 6;

export interface SegmentPost {
  /** `OrchestratorInfo.transcoder`; `/segment` is appended to it as it stands. */
  readonly transcoder: string;
  /** Value of `Livepeer-Segment`. */
  readonly segmentHeader: string;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Until the answer's headers, dialling included. */
  readonly headersTimeoutMs: number;
  /** Until the last byte of the answer. */
  readonly totalTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export type PostOutcome =
  | { readonly kind: "answer"; readonly status: number; readonly body: Buffer; readonly headersMs: number }
  | { readonly kind: "timeout"; readonly waitedFor: "headers" | "body" }
  | { readonly kind: "broken"; readonly text: string };

export interface SegmentPoster extends Disposable {
  post(post: SegmentPost): Promise<PostOutcome>;
}

/** Posts segments over HTTP/2 on one pooled connection an orchestrator, as stock gateways do. */
export function openSegmentPoster(clock: Clock): SegmentPoster {
  const sessions = new Map<string, Promise<http2.ClientHttp2Session>>();
  const open = new Set<http2.ClientHttp2Session>();

  const connect = (origin: string): Promise<http2.ClientHttp2Session> => {
    const pooled = sessions.get(origin);
    if (pooled) return pooled;
    const dialled = dial(origin, clock).then((session) => {
      open.add(session);
      const forget = (): void => {
        if (sessions.get(origin) === dialled) sessions.delete(origin);
      };
      session.on("goaway", forget);
      session.on("error", forget);
      session.on("close", () => {
        forget();
        open.delete(session);
      });
      session.setTimeout(IDLE_MS, () => {
        forget();
        session.close();
      });
      return session;
    });
    sessions.set(origin, dialled);
    dialled.catch(() => sessions.delete(origin));
    return dialled;
  };

  return {
    post: (post) =>
      new Promise((resolve, reject) => {
        const startedMs = clock.monotonicMs();
        let stream: http2.ClientHttp2Stream | undefined;
        let headersMs: number | undefined;
        let settled = false;
        const settle = (finish: () => void): void => {
          if (settled) return;
          settled = true;
          forgetHeaders();
          forgetTotal();
          post.signal?.removeEventListener("abort", abort);
          finish();
        };
        const cancel = (): void => stream?.close(http2.constants.NGHTTP2_CANCEL);
        const timeOut = (waitedFor: "headers" | "body"): void =>
          settle(() => {
            cancel();
            resolve({ kind: "timeout", waitedFor });
          });
        const fail = (error: unknown): void => settle(() => resolve({ kind: "broken", text: errorText(error) }));
        const abort = (): void =>
          settle(() => {
            cancel();
            reject(post.signal?.reason);
          });
        const forgetHeaders = clock.after(post.headersTimeoutMs, () => {
          if (headersMs === undefined) timeOut("headers");
        });
        const forgetTotal = clock.after(post.totalTimeoutMs, () => timeOut("body"));
        if (post.signal?.aborted) return abort();
        post.signal?.addEventListener("abort", abort);

        const url = new URL(`${post.transcoder}/segment`);
        const send = (session: http2.ClientHttp2Session, attempt: number): void => {
          if (settled) return;
          const sent = session.request({
            ":method": "POST",
            ":path": url.pathname,
            "livepeer-segment": post.segmentHeader,
            "livepeer-payment": "", // present and empty, as off-chain gateways send it
            "content-type": post.contentType,
            "content-length": post.body.length,
            "user-agent": "openpool-push",
          });
          stream = sent;
          const chunks: Buffer[] = [];
          let bytes = 0;
          let status = 0;
          sent.on("response", (headers) => {
            status = Number(headers[":status"]);
            headersMs = clock.monotonicMs() - startedMs;
          });
          sent.on("data", (chunk: Buffer) => {
            chunks.push(chunk);
            bytes += chunk.length;
            if (bytes > MAX_ANSWER_BYTES) {
              fail(new Error("the answer is too long"));
              cancel();
            }
          });
          sent.on("error", (error) => {
            // Refused means not processed, by a peer or by our own side of a connection that is going away. Go's
            // transport sends such a request again, over another connection if need be, and its caller never knows.
            if (sent.rstCode !== http2.constants.NGHTTP2_REFUSED_STREAM || attempt === MAX_ATTEMPTS) return fail(error);
            sent.off("close", closed);
            sessions.delete(url.origin);
            void dialAndSend(attempt + 1);
          });
          const closed = (): void => fail(new Error("the stream was closed without an answer"));
          sent.on("close", closed);
          sent.on("end", () => {
            if (headersMs === undefined) return;
            const answer = { kind: "answer", status, body: Buffer.concat(chunks), headersMs } as const;
            settle(() => resolve(answer));
          });
          sent.end(post.body);
        };
        const dialAndSend = async (attempt: number): Promise<void> => {
          try {
            send(await connect(url.origin), attempt);
          } catch (error) {
            fail(error);
          }
        };
        void dialAndSend(1);
      }),
    [Symbol.dispose]() {
      for (const session of open) session.destroy();
      sessions.clear();
    },
  };
}
