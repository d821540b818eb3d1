import http from "node:http";
import https from "node:https";
import { type Clock, errorText } from "@openpool/base";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import { timeLimit } from "./time-limit.ts";

export type DownloadOutcome =
  | { readonly kind: "done"; readonly data: Buffer }
  | { readonly kind: "timeout" }
  | { readonly kind: "broken"; readonly text: string };

export interface Downloader extends Disposable {
  /** One GET, 4 s with the body. Never rejects, except when `signal` fires. */
  get(url: string, signal?: AbortSignal): Promise<DownloadOutcome>;
}

/**
 * Downloads as stock nodes do: HTTP/1.1, no ALPN extension at all, certificates not verified, kept-alive connections,
 * status exactly 200, four seconds in all.
 */
export function openDownloader(clock: Clock): Downloader {
  const plain = new http.Agent({ keepAlive: true, maxFreeSockets: 16 });
  const tls = new https.Agent({ keepAlive: true, maxFreeSockets: 16, rejectUnauthorized: false, ALPNProtocols: [] });
  return {
    get(url, signal) {
      return new Promise((resolve, reject) => {
        const target = URL.canParse(url) ? new URL(url) : undefined;
        if (!target) return resolve({ kind: "broken", text: `not a URL: ${url}` });
        const timeout = timeLimit(clock, DOWNLOAD_TIMEOUT_MS);
        const limit = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
        const secure = target.protocol === "https:";
        const fail = (error: unknown): void => {
          if (signal?.aborted) reject(signal.reason);
          else if (timeout.signal.aborted) resolve({ kind: "timeout" });
          else resolve({ kind: "broken", text: errorText(error) });
        };
        const options = { agent: secure ? tls : plain, signal: limit };
        const request = (secure ? https : http).get(target, options, (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on("data", (chunk: Buffer) => {
            chunks.push(chunk);
            bytes += chunk.length;
            if (bytes > MAX_SEGMENT_BYTES) request.destroy(new Error("more than a rendition may have"));
          });
          response.on("error", fail);
          response.on("end", () => {
            if (response.statusCode === 200) resolve({ kind: "done", data: Buffer.concat(chunks) });
            else resolve({ kind: "broken", text: `${response.statusCode} ${response.statusMessage} for ${url}` });
          });
        });
        request.on("error", fail);
        request.on("close", () => timeout[Symbol.dispose]());
      });
    },
    [Symbol.dispose]() {
      plain.destroy();
      tls.destroy();
    },
  };
}
