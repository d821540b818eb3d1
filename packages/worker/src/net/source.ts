import http from "node:http";
import https from "node:https";
import { type Clock, errorCode, errorText } from "@openpool/base";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";

export type DownloadOutcome =
  | { readonly kind: "done"; readonly data: Buffer }
  /** In the words of a stock transcoder: the pool passes them on. */
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "stopped" };

export interface Downloader extends Disposable {
  download(url: string, signal: AbortSignal): Promise<DownloadOutcome>;
}

const MAX_REDIRECTS = 5;

function describe(url: string, error: unknown): string {
  const code = errorCode(error);
  const what =
    code === "ECONNREFUSED"
      ? "connection refused"
      : code === "ECONNRESET"
        ? "connection reset by peer"
        : errorText(error);
  return `Get "${url}": ${what}`;
}

/** Fetches sources over kept-alive HTTP/1.1 connections, four seconds each at most, body included. */
export function createDownloader(clock: Clock): Downloader {
  // Pools sign their own certificates; who the pool is was settled when the worker connected.
  const secure = new https.Agent({ keepAlive: true, maxFreeSockets: 16, rejectUnauthorized: false });
  const plain = new http.Agent({ keepAlive: true, maxFreeSockets: 16 });

  const get = (url: URL, signal: AbortSignal): Promise<DownloadOutcome | { kind: "moved"; to: string }> =>
    new Promise((resolve) => {
      const options = { signal, headers: { "user-agent": "openpool-worker" } };
      const onResponse = (response: http.IncomingMessage): void => {
        const { statusCode = 0, statusMessage = "", headers } = response;
        if (statusCode !== 200) {
          response.resume();
          const { location } = headers;
          if (statusCode >= 301 && statusCode <= 308 && location) return resolve({ kind: "moved", to: location });
          return resolve({ kind: "failed", text: `${statusCode} ${statusMessage}`.trim() });
        }
        const chunks: Buffer[] = [];
        let bytes = 0;
        const tooLarge = (): void => {
          response.destroy();
          resolve({ kind: "failed", text: "input bigger than max buffer size" });
        };
        if (Number(headers["content-length"] ?? 0) > MAX_SEGMENT_BYTES) return tooLarge();
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_SEGMENT_BYTES) return tooLarge();
          chunks.push(chunk);
        });
        response.on("end", () => {
          resolve(
            response.complete
              ? { kind: "done", data: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes) }
              : { kind: "failed", text: "unexpected EOF" },
          );
        });
        response.on("error", (error) => resolve({ kind: "failed", text: describe(url.href, error) }));
      };
      const request =
        url.protocol === "https:"
          ? https.get(url, { ...options, agent: secure }, onResponse)
          : http.get(url, { ...options, agent: plain }, onResponse);
      request.on("error", (error) => resolve({ kind: "failed", text: describe(url.href, error) }));
    });

  return {
    async download(url, signal) {
      const controller = new AbortController();
      let timedOut = false;
      const forget = clock.after(DOWNLOAD_TIMEOUT_MS, () => {
        timedOut = true;
        controller.abort();
      });
      const onAbort = (): void => controller.abort();
      signal.addEventListener("abort", onAbort);
      if (signal.aborted) onAbort();
      try {
        let at = url;
        for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
          const target = URL.canParse(at, url) ? new URL(at, url) : undefined;
          if (!target || (target.protocol !== "https:" && target.protocol !== "http:")) {
            return { kind: "failed", text: `Get "${at}": unsupported protocol scheme` };
          }
          const outcome = await get(target, controller.signal);
          if (signal.aborted) return { kind: "stopped" };
          if (timedOut) {
            return { kind: "failed", text: `Get "${url}": context deadline exceeded (Client.Timeout exceeded)` };
          }
          if (outcome.kind !== "moved") return outcome;
          at = URL.canParse(outcome.to, target.href) ? new URL(outcome.to, target).href : outcome.to;
        }
        return { kind: "failed", text: `Get "${url}": stopped after ${MAX_REDIRECTS} redirects` };
      } finally {
        forget();
        signal.removeEventListener("abort", onAbort);
      }
    },
    [Symbol.dispose]() {
      secure.destroy();
      plain.destroy();
    },
  };
}
