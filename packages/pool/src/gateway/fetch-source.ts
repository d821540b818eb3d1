import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { type Body, fillBody, openBody } from "../bodies/body.ts";

const MAX_URL_BYTES = 8192;

async function readUrl(source: Readable): Promise<URL | undefined> {
  let text = "";
  try {
    for await (const chunk of source) {
      text += (chunk as Buffer).toString("latin1");
      if (text.length > MAX_URL_BYTES) return undefined;
    }
    const url = new URL(text.trim());
    return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Fetches the source that a request names instead of carrying it: as a stock orchestrator does, within 4 s in all,
 * certificates unverified, status exactly 200, redirects not followed. Undefined: it could not be had.
 */
export async function fetchSource(
  requestBody: Readable,
  memory: BodyMemory,
  options: { readonly signal: AbortSignal; readonly onChunk: (chunk: Uint8Array) => void },
): Promise<Body | undefined> {
  const url = await readUrl(requestBody);
  if (!url) return undefined;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? https : http).get(url, { signal, rejectUnauthorized: false });
    request.on("error", () => resolve(undefined));
    request.on("response", (response) => {
      void (async () => {
        const announced = response.headers["content-length"];
        const receive = {
          announcedBytes: announced === undefined ? undefined : Number(announced),
          maxBytes: MAX_SEGMENT_BYTES,
          signal,
          onChunk: options.onChunk,
        };
        const body = response.statusCode === 200 ? await openBody(memory, receive) : "incomplete";
        if (typeof body === "string") {
          request.destroy();
          return resolve(undefined);
        }
        if (await fillBody(body, response, memory, receive)) {
          body.release();
          request.destroy();
          return resolve(undefined);
        }
        resolve(body);
      })();
    });
  });
}
