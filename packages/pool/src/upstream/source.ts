import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { type Clock, errorText, formatHostPort, type HostPort, plainText } from "@openpool/base";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import { keptGet } from "@openpool/transcoder";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { announcedLength, type Body, fillBody, openBody } from "../bodies/body.ts";
import { hostPortOf, isAllowedHost } from "../outbound/allowed-host.ts";

/** Where a source may be fetched from. */
export interface SourcePolicy {
  /** The orchestrator as we dial it. */
  readonly address: HostPort;
  /** Hosts, beyond the orchestrator's own, that it may send us to: its object store. */
  readonly allowedHosts: ReadonlySet<string>;
}

/**
 * The URL to fetch in place of the one that a task names; undefined: it leads somewhere where nobody said we may go. The
 * orchestrator serves its sources on the port that we are connected to: whatever host it calls itself by, we ask there, so
 * a task cannot make us fetch from our own network, and an orchestrator behind a router need not reach its own public
 * address.
 */
export function sourceUrl(text: string, { address, allowedHosts }: SourcePolicy): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return undefined;
  if (url.username !== "" || url.password !== "") return undefined;
  if (isAllowedHost(url, allowedHosts)) return url;
  const own = hostPortOf(url) === formatHostPort(address).toLowerCase();
  if (!own && !url.pathname.startsWith("/stream/")) return undefined;
  return new URL(`https://${formatHostPort(address)}${url.pathname}${url.search}`);
}

export interface Download {
  /** It may still be arriving. */
  readonly body: Body;
  /** How it ended; undefined: whole. */
  readonly filled: Promise<string | undefined>;
}

/** A source that stands still for so long is given up. */
const STALL_MS = 2_000;
/** A kept connection that was idle for so long is closed: a router forgets it later, and then swallows what is asked over it. */
const IDLE_MS = 60_000;

/**
 * So much of all memory, half of what sources may fill, one orchestrator's may have announced and not sent, beyond a single one.
 * More wait among themselves: who announces much and sends nothing keeps the sources of others from no memory.
 */
const ARRIVING_SHARE = 0.35;

/** Fetches sources, over kept connections, four seconds each at most, body included. */
export interface Downloader extends AsyncDisposable {
  /**
   * Resolves as soon as the body begins to arrive, or with why it cannot be had. Redirects are not followed: they could
   * lead anywhere. `onBytes` is told how much is here.
   */
  open(url: URL, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<Download | string>;
}

export function createSourceDownloader(deps: { readonly memory: BodyMemory; readonly clock: Clock }): Downloader {
  const { memory, clock } = deps;
  // As a stock transcoder connects: no ALPN, so HTTP/1.1, and nothing verified.
  const kept = { keepAlive: true, maxFreeSockets: 16, timeout: IDLE_MS } as const;
  const agents = {
    "https:": new https.Agent({ ...kept, rejectUnauthorized: false, ALPNProtocols: [] }),
    "http:": new http.Agent(kept),
  };

  const mostArrivingBytes = memory.limitBytes * ARRIVING_SHARE;
  let arrivingBytes = 0;
  const waiting = new Set<() => void>();
  /** Waits until a source of that length may arrive. Returns how its place is given back. */
  const place = async (bytes: number, signal: AbortSignal): Promise<() => void> => {
    while (arrivingBytes > 0 && arrivingBytes + bytes > mostArrivingBytes && !signal.aborted) {
      let look = (): void => {};
      const looks = new Promise<void>((resolve) => (look = resolve));
      waiting.add(look);
      signal.addEventListener("abort", look);
      await looks;
      signal.removeEventListener("abort", look);
      waiting.delete(look);
    }
    arrivingBytes += bytes;
    return () => {
      arrivingBytes -= bytes;
      for (const look of waiting) look();
      waiting.clear();
    };
  };

  return {
    async open(url, signal, onBytes) {
      const ended = new AbortController();
      let timedOut = false;
      const onAbort = (): void => ended.abort();
      const cancelTimeout = clock.after(DOWNLOAD_TIMEOUT_MS, () => {
        timedOut = true;
        ended.abort();
      });
      signal.addEventListener("abort", onAbort, { once: true });
      const settle = (): void => {
        cancelTimeout();
        signal.removeEventListener("abort", onAbort);
      };
      const failure = (text: string): string => {
        settle();
        ended.abort();
        // Who waited for our memory until then is not to blame.
        const late = timedOut && text !== reasons["no-memory"];
        return late ? `the source did not come within ${DOWNLOAD_TIMEOUT_MS} ms` : text;
      };
      if (signal.aborted) return failure("stopped");
      let response: IncomingMessage;
      try {
        response = await keptGet(url, { agents, userAgent: "openpool", signal: ended.signal, clock });
      } catch (error) {
        return failure(`the source cannot be fetched: ${plainText(errorText(error), 200)}`);
      }
      // What happens to the connection from here on shows in how the body ends.
      response.on("error", () => {});
      if (response.statusCode !== 200) {
        return failure(
          `the source was answered with ${response.statusCode} ${plainText(response.statusMessage ?? "", 60)}`,
        );
      }
      const receive = {
        announcedBytes: announcedLength(response.headers["content-length"]),
        maxBytes: MAX_SEGMENT_BYTES,
        purpose: "source" as const,
        signal: ended.signal,
        onChunk: () => onBytes(body.bytes.length),
        pace: { clock, stallMs: STALL_MS, wholeMs: DOWNLOAD_TIMEOUT_MS },
      };
      const { announcedBytes = 0 } = receive;
      if (announcedBytes > MAX_SEGMENT_BYTES) return failure(reasons["too-large"]);
      const arrived = await place(announcedBytes, ended.signal);
      const opened = await openBody(memory, receive);
      if (typeof opened === "string") {
        arrived();
        return failure(reasons[opened]);
      }
      const body = opened;
      const filled = fillBody(body, response, memory, receive).then((problem) => {
        arrived();
        settle();
        if (!problem) return undefined;
        response.destroy();
        return failure(reasons[problem]);
      });
      return { body, filled };
    },
    [Symbol.asyncDispose]() {
      agents["https:"].destroy();
      agents["http:"].destroy();
      return Promise.resolve();
    },
  };
}

const reasons = {
  "too-large": "the source is larger than it may be",
  incomplete: "the source broke off or came too slowly",
  "no-memory": "there is no memory for the source",
} as const;
