import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { MAX_SEGMENT_BYTES } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { announcedLength, type Body, fillBody, openBody, type ReceiveFailure } from "../bodies/body.ts";
import { readSmallBody } from "../bodies/small-body.ts";
import { isAllowedHost } from "../outbound/allowed-host.ts";
import { isPrivateAddress } from "../outbound/private-address.ts";
import { publicLookup } from "../outbound/public-lookup.ts";

const MAX_URL_BYTES = 8192;

/** Why a source is not here; `unusable`: what the request names is no source, or whoever has it does not give it. */
export type SourceFailure = ReceiveFailure | "unusable";

/** Reads the URL that a request carries. */
async function readUrl(source: Readable, signal: AbortSignal): Promise<URL | SourceFailure> {
  const body = await readSmallBody(source, { maxBytes: MAX_URL_BYTES, signal });
  if (!body) return "incomplete";
  const text = body.whole ? body.text.trim() : "";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "https:" || url?.protocol === "http:" ? url : "unusable";
}

/**
 * Fetches the source that a request names instead of carrying it: as a stock orchestrator does, certificates unverified,
 * status exactly 200, redirects not followed. A gateway cannot make the pool fetch from the pool's own network, unless the
 * operator allows the host. What is not here before `signal` is `incomplete`, or `no-memory` if it waited for that.
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
): Promise<Body | SourceFailure> {
  const { signal } = options;
  const url = await readUrl(requestBody, signal);
  if (typeof url === "string") return url;
  const guarded = !isAllowedHost(url, options.allowedHosts);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (guarded && isIP(host) && isPrivateAddress(host)) return "unusable";
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? https : http).get(url, {
      signal,
      rejectUnauthorized: false,
      // A connection of its own: one that was kept from another gateway's request would bring no lookup.
      agent: false,
      ...(guarded ? { lookup: publicLookup } : {}),
    });
    const giveUp = (failure: SourceFailure): void => {
      request.destroy();
      // Whatever broke off was only late, if the time for it was over.
      resolve(failure === "incomplete" && !signal.aborted ? "unusable" : failure);
    };
    let answered = false;
    // Once the answer comes, its own end says how it went.
    request.on("error", () => {
      if (!answered) giveUp("incomplete");
    });
    request.on("response", (response) => {
      answered = true;
      response.on("error", () => {});
      receiveSource(response, memory, { signal, onChunk: options.onChunk }).then(
        (body) => (typeof body === "string" ? giveUp(body) : resolve(body)),
        () => giveUp("incomplete"),
      );
    });
  });
}

async function receiveSource(
  response: IncomingMessage,
  memory: BodyMemory,
  { signal, onChunk }: { readonly signal: AbortSignal; readonly onChunk: (chunk: Uint8Array) => void },
): Promise<Body | SourceFailure> {
  if (response.statusCode !== 200) return "unusable";
  const receive = {
    announcedBytes: announcedLength(response.headers["content-length"]),
    maxBytes: MAX_SEGMENT_BYTES,
    purpose: "source" as const,
    signal,
    onChunk,
  };
  const body = await openBody(memory, receive);
  if (typeof body === "string") return body;
  const failure = await fillBody(body, response, memory, receive);
  if (!failure) return body;
  body.release();
  return failure;
}
