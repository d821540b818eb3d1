import { lookup } from "node:dns";
import http from "node:http";
import https from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Readable } from "node:stream";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { type Body, fillBody, openBody } from "../bodies/body.ts";
import { isPrivateAddress } from "./private-address.ts";

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

/** Resolves like the system does, but only to addresses of the internet: checked at the moment of connecting. */
const publicLookup: LookupFunction = (host, options, callback) => {
  lookup(host, { ...options, all: true }, (error, addresses) => {
    const allowed = (addresses ?? []).filter((one) => !isPrivateAddress(one.address));
    const first = allowed[0];
    if (error || !first)
      callback(error ?? Object.assign(new Error(`${host} is no public address`), { code: "EACCES" }), "");
    else if (options.all) callback(null, allowed);
    else callback(null, first.address, first.family);
  });
};

/**
 * Fetches the source that a request names instead of carrying it: as a stock orchestrator does, within 4 s in all,
 * certificates unverified, status exactly 200, redirects not followed. A gateway from the internet cannot make the pool fetch from
 * the pool's own network. Undefined: it could not be had.
 */
export async function fetchSource(
  requestBody: Readable,
  memory: BodyMemory,
  options: {
    readonly signal: AbortSignal;
    readonly onChunk: (chunk: Uint8Array) => void;
    /** The address of the gateway that asks. */
    readonly peer: string;
  },
): Promise<Body | undefined> {
  const url = await readUrl(requestBody);
  if (!url) return undefined;
  const guarded = !isPrivateAddress(options.peer);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (guarded && isIP(host) && isPrivateAddress(host)) return undefined;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? https : http).get(url, {
      signal,
      rejectUnauthorized: false,
      ...(guarded ? { lookup: publicLookup } : {}),
    });
    request.on("error", () => resolve(undefined));
    request.on("response", (response) => {
      void (async () => {
        const announced = response.headers["content-length"];
        const receive = {
          announcedBytes: announced === undefined ? undefined : Number(announced),
          maxBytes: MAX_SEGMENT_BYTES,
          purpose: "source" as const,
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
