import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { announcedLength, type Body, fillBody, openBody } from "../bodies/body.ts";
import { readSmallBody } from "../bodies/small-body.ts";
import { isAllowedHost } from "../outbound/allowed-host.ts";
import { isPrivateAddress } from "../outbound/private-address.ts";
import { publicLookup } from "../outbound/public-lookup.ts";

const MAX_URL_BYTES = 8192;

/** Reads the URL that a request carries; undefined when it is none, too long, or did not come before `signal`. */
async function readUrl(source: Readable, signal: AbortSignal): Promise<URL | undefined> {
  const body = await readSmallBody(source, { maxBytes: MAX_URL_BYTES, signal });
  const text = body?.whole ? body.text.trim() : "";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "https:" || url?.protocol === "http:" ? url : undefined;
}

/**
 * Fetches the source that a request names instead of carrying it: as a stock orchestrator does, within 4 s in all,
 * certificates unverified, status exactly 200, redirects not followed. A gateway cannot make the pool fetch from the pool's own
 * network, unless the operator allows the host. Undefined: it could not be had.
 */
export async function fetchSource(
  requestBody: Readable,
  memory: BodyMemory,
  options: {
    readonly signal: AbortSignal;
    readonly onChunk: (chunk: Uint8Array) => void;
    /** `host` or `host:port`, lower case, that may be private addresses. */
    readonly allowedHosts: ReadonlySet<string>;
  },
): Promise<Body | undefined> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
  const url = await readUrl(requestBody, signal);
  if (!url) return undefined;
  const guarded = !isAllowedHost(url, options.allowedHosts);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (guarded && isIP(host) && isPrivateAddress(host)) return undefined;
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? https : http).get(url, {
      signal,
      rejectUnauthorized: false,
      // A connection of its own: one that was kept from another gateway's request would bring no lookup.
      agent: false,
      ...(guarded ? { lookup: publicLookup } : {}),
    });
    const giveUp = (): void => {
      request.destroy();
      resolve(undefined);
    };
    let answered = false;
    // Once the answer comes, its own end says how it went.
    request.on("error", () => {
      if (!answered) giveUp();
    });
    request.on("response", (response) => {
      answered = true;
      response.on("error", () => {});
      receiveSource(response, memory, { signal, onChunk: options.onChunk }).then(
        (body) => (body ? resolve(body) : giveUp()),
        giveUp,
      );
    });
  });
}

async function receiveSource(
  response: IncomingMessage,
  memory: BodyMemory,
  { signal, onChunk }: { readonly signal: AbortSignal; readonly onChunk: (chunk: Uint8Array) => void },
): Promise<Body | undefined> {
  if (response.statusCode !== 200) return undefined;
  const receive = {
    announcedBytes: announcedLength(response.headers["content-length"]),
    maxBytes: MAX_SEGMENT_BYTES,
    purpose: "source" as const,
    signal,
    onChunk,
  };
  const body = await openBody(memory, receive);
  if (typeof body === "string") return undefined;
  if (!(await fillBody(body, response, memory, receive))) return body;
  body.release();
  return undefined;
}
