import type { Clock, HostPort, Logger } from "@openpool/base";
import type { detectDevices } from "./devices/detect.ts";

/** Everything a worker is told; parsed once, at the edge. */
export interface WorkerOptions {
  /** The pool's door as `HOST:PORT` or `HOST`; 8935 where no port is named. IPv6 hosts stand in brackets. */
  readonly pool: string;
  /** What the worker proves itself with: `0xADDRESS[.rig][:password]`, or a secret that the pool issued. */
  readonly secret: string;
  /**
   * Sessions (streams) taken at once, at least 1. Undefined: measured when the worker starts, with a short benchmark
   * whose result is kept in `workDir` until the hardware or FFmpeg changes.
   */
  readonly maxSessions: number | undefined;
  /**
   * What transcodes: `auto` (NVIDIA cards that pass a test encode, else others that do, else the processor), `cpu`, or a list such as
   * `nvidia:0,1`, `nvidia`, `vaapi:/dev/dri/renderD128`, `qsv`, `amf`. A device that was named and fails its test is an error.
   */
  readonly devices: string;
  /** The FFmpeg program: a path, or a name to be found on PATH. 4.4 or newer; 5.1 or newer is recommended. */
  readonly ffmpegPath: string;
  /** Where temporary files and the measured capacity lie. Nothing in it is worth keeping. One worker per directory. */
  readonly workDir: string;
  /** SHA-256 of the pool's certificate as hex, colons allowed. Undefined: any certificate, as stock nodes do it. */
  readonly poolCertSha256: string | undefined;
  /** Where `GET /status` answers in JSON; port 0 takes a free one. Undefined: nowhere. */
  readonly statusListen: { readonly host: string; readonly port: number } | undefined;
  /**
   * An FFmpeg that runs longer is killed, in milliseconds after the task arrived. Undefined: what the pool waits,
   * max(8 s, 4 × duration of the segment).
   */
  readonly transcodeTimeoutMs: number | undefined;
}

export interface WorkerDeps {
  /** Of this program; the pool shows it. */
  readonly version: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Gives up a start that is under way; a worker that has started is disposed instead. */
  readonly signal?: AbortSignal;
  /** How devices are found; `detectDevices` unless something else knows them already. */
  readonly detect?: typeof detectDevices;
}

export const DEFAULT_POOL_PORT = 8935;

export const defaultWorkerOptions = {
  maxSessions: undefined,
  devices: "auto",
  ffmpegPath: "ffmpeg",
  poolCertSha256: undefined,
  statusListen: undefined,
  transcodeTimeoutMs: undefined,
} as const satisfies Partial<WorkerOptions>;

/** Reads `HOST:PORT`, `HOST`, `[::1]:PORT`; scheme and path of a pasted URL are dropped, as stock nodes do. */
export function parsePoolAddress(text: string): HostPort | undefined {
  const match = /^(?:[a-z]+:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?(?:\/.*)?$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  if (!match || !host) return undefined;
  const port = match[3] === undefined ? DEFAULT_POOL_PORT : Number(match[3]);
  return port >= 1 && port <= 65_535 ? { host, port } : undefined;
}
