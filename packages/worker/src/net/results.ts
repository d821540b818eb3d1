import { randomBytes } from "node:crypto";
import type http2 from "node:http2";
import { type Clock, errorText, type Logger } from "@openpool/base";
import { encodeResultParts, RESULT_AUTHORIZATION, type ResultPart, TRANSCODING_ERROR_TYPE } from "@openpool/protocol";
import { dialPool, type DialOptions } from "./dial.ts";

export type TaskResult =
  | { readonly kind: "renditions"; readonly decodedPixels: bigint; readonly parts: readonly ResultPart[] }
  /** Peers compare the whole text: it goes out as it is. */
  | { readonly kind: "error"; readonly text: string };

export type UploadOutcome =
  | { readonly kind: "taken" }
  /** The pool answered something else than 200. */
  | { readonly kind: "refused"; readonly status: number; readonly text: string }
  /** It never got through while it mattered. */
  | { readonly kind: "lost"; readonly why: string };

export interface Uploader extends AsyncDisposable {
  /** Uploads the answer to a task; a broken connection is retried until `deadlineMs` (monotonic). */
  upload(taskId: bigint, result: TaskResult, deadlineMs: number): Promise<UploadOutcome>;
}

/** The body as chunks: headers and views, nothing is copied. */
export function encodeResult(result: TaskResult): {
  readonly contentType: string;
  readonly chunks: readonly Uint8Array[];
} {
  if (result.kind === "error") return { contentType: TRANSCODING_ERROR_TYPE, chunks: [Buffer.from(result.text)] };
  const boundary = randomBytes(10).toString("hex");
  return { contentType: `multipart/mixed; boundary=${boundary}`, chunks: encodeResultParts(result.parts, boundary) };
}

const DIAL_TIMEOUT_MS = 4_000;
const FIRST_RETRY_MS = 100;
const MAX_TRIES = 4;
const PING_TIMEOUT_MS = 2_500;

/** Uploads results over a connection of its own, as stock transcoders do: it outlives the end of a registration. */
export function createUploader(
  options: Omit<DialOptions, "timeoutMs"> & { readonly secret: string },
  deps: { readonly clock: Clock; readonly logger: Logger },
): Uploader {
  const { clock, logger } = deps;
  const controller = new AbortController();
  let session: Promise<http2.ClientHttp2Session> | undefined;
  let uploading = 0;

  const connection = (): Promise<http2.ClientHttp2Session> => {
    session ??= dialPool({ ...options, timeoutMs: DIAL_TIMEOUT_MS }, clock, controller.signal).then((opened) => {
      const forget = (): void => {
        if (session === current) session = undefined;
      };
      opened.once("close", forget);
      // Streams that are up may finish, new ones go elsewhere.
      opened.once("goaway", forget);
      return opened;
    });
    const current = session;
    current.catch(() => {
      if (session === current) session = undefined;
    });
    return current;
  };

  /**
   * Finds out whether anyone is still there: a connection that a router forgot swallows an upload without a word. Asked
   * before an upload on an idle connection, where the answer does not queue behind anything.
   */
  const ping = (opened: http2.ClientHttp2Session): void => {
    const forget = clock.after(PING_TIMEOUT_MS, () => opened.destroy());
    opened.ping(forget);
  };

  const post = async (
    headers: http2.OutgoingHttpHeaders,
    chunks: readonly Uint8Array[],
    deadlineMs: number,
  ): Promise<Exclude<UploadOutcome, { kind: "lost" }>> => {
    const opened = await connection();
    if (uploading++ === 0) ping(opened);
    return await new Promise<Exclude<UploadOutcome, { kind: "lost" }>>((resolve, reject) => {
      const stream = opened.request(
        { ":method": "POST", ":path": "/transcodeResults", ...headers },
        { endStream: false },
      );
      const forget = clock.after(deadlineMs - clock.monotonicMs(), () => {
        stream.close(8);
        reject(new Error("the pool did not take the result in time"));
      });
      let status = 0;
      let text = "";
      stream.on("response", (answer) => (status = Number(answer[":status"])));
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => {
        if (text.length < 1_000) text += chunk;
      });
      stream.on("error", () => {});
      stream.once("close", () => {
        forget();
        if (status === 0)
          reject(new Error(stream.rstCode ? `stream reset with code ${stream.rstCode}` : "connection lost"));
        else resolve(status === 200 ? { kind: "taken" } : { kind: "refused", status, text: text.trim() });
      });
      for (const chunk of chunks) stream.write(chunk);
      stream.end();
    }).finally(() => uploading--);
  };

  return {
    async upload(taskId, result, deadlineMs) {
      const { contentType, chunks } = encodeResult(result);
      const headers = {
        authorization: RESULT_AUTHORIZATION,
        credentials: options.secret,
        taskid: taskId.toString(),
        pixels: (result.kind === "renditions" ? result.decodedPixels : 0n).toString(),
        "content-type": contentType,
        "content-length": chunks.reduce((sum, chunk) => sum + chunk.length, 0),
        "user-agent": "openpool-worker",
      };
      for (let attempt = 1, delayMs = FIRST_RETRY_MS; ; attempt++, delayMs *= 3) {
        try {
          return await post(headers, chunks, deadlineMs);
        } catch (error) {
          const why = errorText(error);
          const over = clock.monotonicMs() + delayMs >= deadlineMs;
          if (over || attempt === MAX_TRIES || controller.signal.aborted) return { kind: "lost", why };
          logger.debug("upload failed, trying again", { taskId: taskId.toString(), why, attempt });
          await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
        }
      }
    },
    async [Symbol.asyncDispose]() {
      controller.abort();
      const open = await session?.catch(() => undefined);
      if (open && !open.destroyed) {
        await new Promise<void>((resolve) => {
          open.once("close", resolve);
          open.destroy();
        });
      }
    },
  };
}
