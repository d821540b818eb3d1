import http from "node:http";
import { type Logger, PoolError, errorText } from "@openpool/base";
import type { DeviceKind, Finding } from "./devices/device.ts";
import type { NvidiaGpu } from "./devices/nvidia-smi.ts";

export interface DeviceStatus {
  readonly id: string;
  readonly kind: DeviceKind;
  readonly name: string;
  /** Pixels a second that its sessions ask for. */
  readonly load: number;
  /** Seconds of video a second, measured; undefined when the number of sessions was set. */
  readonly realTimeFactor: number | undefined;
  /** The driver's newest reading, of NVIDIA cards. */
  readonly gpu: NvidiaGpu | undefined;
}

/** What a worker knows of itself; plain JSON, large numbers as decimal strings. */
export interface WorkerStatus {
  readonly state: "connecting" | "registered" | "waiting" | "draining" | "stopped";
  /** Unix ms since when it is registered. */
  readonly registeredAt: number | undefined;
  /** While waiting: why, how long until the next attempt, and how many failed since the last good registration. */
  readonly waiting: { readonly why: string; readonly retryInMs: number; readonly failures: number } | undefined;
  readonly pool: string;
  /** `<address>.<rig>`; undefined with an issued secret, which only the pool can read. */
  readonly rig: string | undefined;
  readonly ffmpegVersion: string;
  readonly maxSessions: number;
  /** Sessions that had a segment in the last 70 s. */
  readonly sessions: number;
  /** Segments at work or waiting now. */
  readonly segmentsInFlight: number;
  readonly segmentsDone: number;
  /** Ours or the input's fault, the latter among them. */
  readonly segmentsFailed: number;
  readonly segmentsStopped: number;
  /** Results that never reached the pool. */
  readonly resultsLost: number;
  readonly pixelsEncoded: string;
  /** Milliseconds from task to result of the last segment that was done, and its duration. */
  readonly lastSegment: { readonly tookMs: number; readonly durationMs: number } | undefined;
  readonly devices: readonly DeviceStatus[];
  readonly findings: readonly Finding[];
}

export interface StatusServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

/** Answers `GET /status` (JSON) and `GET /healthz` (200 while registered). Meant for this machine: nothing is asked of the caller. */
export async function startStatusServer(
  listen: { readonly host: string; readonly port: number },
  status: () => WorkerStatus,
  logger: Logger,
): Promise<StatusServer> {
  const server = http.createServer((request, response) => {
    // Not read as a URL: what is asked for may be none.
    const [pathname] = (request.url ?? "/").split("?", 1);
    if (request.method !== "GET" && request.method !== "HEAD") return void response.writeHead(405).end();
    if (pathname === "/healthz") {
      const { state } = status();
      return void response
        .writeHead(state === "registered" ? 200 : 503, { "content-type": "text/plain" })
        .end(`${state}\n`);
    }
    if (pathname === "/" || pathname === "/status") {
      const body = `${JSON.stringify(status(), undefined, 2)}\n`;
      return void response.writeHead(200, { "content-type": "application/json" }).end(body);
    }
    response.writeHead(404, { "content-type": "text/plain" }).end("not found: try /status or /healthz\n");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new PoolError(
          { code: "worker/status-port" },
          `the status endpoint cannot listen on ${listen.host}:${listen.port}: ${errorText(cause)}. Name another port, or 0 for a free one.`,
          { cause },
        ),
      ),
    );
    server.listen(listen.port, listen.host, resolve);
  });
  server.on("error", (error) => logger.warn("status endpoint", { error: error.message }));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : listen.port;
  logger.info("status endpoint", { url: `http://${listen.host}:${port}/status` });
  return {
    host: listen.host,
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
