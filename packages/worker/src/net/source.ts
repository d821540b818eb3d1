import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { type Clock, errorCode, errorText } from "@openpool/base";
import { DOWNLOAD_TIMEOUT_MS, MAX_SEGMENT_BYTES } from "@openpool/protocol";
import { fingerprintOf, keptGet } from "@openpool/transcoder";
import type { ByteBudget } from "../byte-budget.ts";

export type DownloadOutcome =
  | {
      readonly kind: "done";
      readonly data: Buffer;
      /** The memory counts against the budget until this is called. */
      readonly release: () => void;
    }
  /** In the words of a stock transcoder: the pool passes them on. */
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "stopped" };

export interface Downloader extends AsyncDisposable {
  download(url: string, signal: AbortSignal): Promise<DownloadOutcome>;
}

const MAX_REDIRECTS = 5;
/** Where the length is not announced, memory is asked for in steps. */
const STEP_BYTES = 4 << 20;

const TOO_LARGE = "input bigger than max buffer size";

function reason(error: unknown): string {
  const code = errorCode(error);
  if (code === "ECONNREFUSED") return "connection refused";
  if (code === "ECONNRESET") return "connection reset by peer";
  return errorText(error);
}

/** Takes memory from a budget as it is needed; what it holds is given back at once. */
function createHold(budget: ByteBudget, signal: AbortSignal) {
  const releases: (() => void)[] = [];
  let bytes = 0;
  return {
    /** False when `signal` ended the wait. */
    async atLeast(wanted: number, step: number): Promise<boolean> {
      while (bytes < wanted) {
        const more = Math.max(step, wanted - bytes);
        const release = await budget.take(more, signal);
        if (!release) return false;
        releases.push(release);
        bytes += more;
      }
      return true;
    },
    release(): void {
      for (const release of releases.splice(0)) release();
    },
  };
}

/** Connections to who holds one certificate, and nobody else: nothing is asked of another. */
class PinnedAgent extends https.Agent {
  readonly #certSha256: string;

  constructor(options: https.AgentOptions, certSha256: string) {
    super(options);
    this.#certSha256 = certSha256;
  }

  override createConnection(
    options: tls.ConnectionOptions,
    done: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    const socket = tls.connect(options);
    socket.once("error", done);
    socket.once("secureConnect", () => {
      socket.removeListener("error", done);
      if (fingerprintOf(socket) === this.#certSha256) return done(null, socket);
      socket.destroy();
      done(new Error("it showed another certificate than the pinned one"));
    });
  }
}

/**
 * Fetches sources over kept-alive HTTP/1.1 connections, four seconds each at most, body included. `certSha256`: only from
 * who holds this certificate.
 */
export function createDownloader(budget: ByteBudget, clock: Clock, certSha256?: string): Downloader {
  // Pools sign their own certificates, so no authority is asked.
  const kept = { keepAlive: true, maxFreeSockets: 16, rejectUnauthorized: false };
  const agents = {
    "https:": certSha256 === undefined ? new https.Agent(kept) : new PinnedAgent(kept, certSha256),
    "http:": new http.Agent({ keepAlive: true, maxFreeSockets: 16 }),
  };

  /** Follows redirects to an answer that is none. */
  const follow = async (url: string, signal: AbortSignal): Promise<http.IncomingMessage> => {
    let at = url;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const target = URL.canParse(at) ? new URL(at) : undefined;
      const allowed = certSha256 === undefined ? ["https:", "http:"] : ["https:"];
      if (!target || !allowed.includes(target.protocol)) {
        throw new Error("unsupported protocol scheme");
      }
      const response = await keptGet(target, { agents, userAgent: "openpool-worker", signal, clock });
      const { statusCode = 0, headers } = response;
      if (!(statusCode >= 301 && statusCode <= 308 && headers.location !== undefined)) return response;
      response.resume();
      at = URL.canParse(headers.location, target.href) ? new URL(headers.location, target).href : headers.location;
    }
    throw new Error(`stopped after ${MAX_REDIRECTS} redirects`);
  };

  const read = async (response: http.IncomingMessage, signal: AbortSignal): Promise<DownloadOutcome> => {
    const { statusCode, statusMessage, headers } = response;
    if (statusCode !== 200) {
      response.resume();
      return { kind: "failed", text: `${statusCode} ${statusMessage}`.trim() };
    }
    const length = headers["content-length"] === undefined ? undefined : Number(headers["content-length"]);
    const hold = createHold(budget, signal);
    let kept = false;
    try {
      if (length !== undefined && length > MAX_SEGMENT_BYTES) return { kind: "failed", text: TOO_LARGE };
      if (length !== undefined && !(await hold.atLeast(length, 0))) return { kind: "stopped" };
      let data = Buffer.allocUnsafe(length ?? 0);
      let bytes = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        const end = bytes + chunk.length;
        if (end > MAX_SEGMENT_BYTES) return { kind: "failed", text: TOO_LARGE };
        if (end > data.length) {
          const size = Math.max(end, Math.min(2 * data.length, MAX_SEGMENT_BYTES), STEP_BYTES);
          if (!(await hold.atLeast(size, STEP_BYTES))) return { kind: "stopped" };
          const larger = Buffer.allocUnsafe(size);
          data.copy(larger, 0, 0, bytes);
          data = larger;
        }
        chunk.copy(data, bytes);
        bytes = end;
      }
      kept = true;
      return { kind: "done", data: data.subarray(0, bytes), release: hold.release };
    } finally {
      if (!kept) {
        hold.release();
        response.destroy();
      }
    }
  };

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
      const failed = (why: string): DownloadOutcome => {
        if (signal.aborted) return { kind: "stopped" };
        const text = timedOut ? "context deadline exceeded (Client.Timeout exceeded)" : why;
        return { kind: "failed", text: `Get "${url}": ${text}` };
      };
      try {
        const outcome = await read(await follow(url, controller.signal), controller.signal);
        return outcome.kind === "stopped" ? failed("") : outcome;
      } catch (error) {
        return failed(reason(error));
      } finally {
        forget();
        signal.removeEventListener("abort", onAbort);
      }
    },
    [Symbol.asyncDispose]() {
      agents["https:"].destroy();
      agents["http:"].destroy();
      return Promise.resolve();
    },
  };
}
