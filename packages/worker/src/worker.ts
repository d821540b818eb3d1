import { create } from "@bufbuild/protobuf";
import { formatHostPort, type HostPort, openScope, PoolError, type Scope } from "@openpool/base";
import {
  capabilitiesToWire,
  formatRig,
  hexToBytes,
  LIVEPEER_VERSION,
  parseOpenSecret,
  RegisterRequestSchema,
} from "@openpool/protocol";
import { createUploader, parseFingerprint } from "@openpool/transcoder";
import { type Capacity, measureCapacity } from "./devices/capacity.ts";
import { detectDevices, type Detection } from "./devices/detect.ts";
import { type Device, deviceName } from "./devices/device.ts";
import { type NvidiaWatch, watchNvidiaGpus } from "./devices/nvidia-smi.ts";
import { type LinkEnd, openPoolLink, type PoolLink } from "./net/pool-link.ts";
import { makeRigReport, sendRigReport } from "./net/rig-report.ts";
import { createDownloader } from "./net/source.ts";
import { parsePoolAddress, type WorkerDeps, type WorkerOptions } from "./options.ts";
import { createSessions } from "./sessions.ts";
import { startStatusServer, type WorkerStatus } from "./status.ts";
import { createTaskRunner } from "./task-runner.ts";
import { createByteBudget } from "./byte-budget.ts";
import { createFfmpegTranscoder } from "./transcode/ffmpeg-transcoder.ts";
import type { Transcoder } from "./transcode/transcoder.ts";
import { openTempDir } from "./work-dir.ts";

export interface Worker extends AsyncDisposable {
  /** Takes no more tasks, finishes and uploads what it has, then closes. What SIGTERM asks for. */
  drain(): Promise<void>;
  status(): WorkerStatus;
  /** Where `GET /status` answers, when it was asked for. */
  readonly statusAddress: { readonly host: string; readonly port: number } | undefined;
  /** Why it is over; settles once. `refused`: the pool said that no retry can help. */
  readonly closed: Promise<LinkEnd>;
}

export type WorkerFailure =
  | { readonly code: "worker/bad-pool-address"; readonly pool: string }
  | { readonly code: "worker/bad-fingerprint" }
  | { readonly code: "worker/bad-max-sessions"; readonly maxSessions: number };

/** Sources, and renditions, held in memory at once; one of each kind may be larger. */
const SOURCE_BYTES = 512 << 20;
const RESULT_BYTES = 512 << 20;
const GPU_READING_MS = 2_000;
/** Found on PATH; it comes with the driver. */
const NVIDIA_SMI = "nvidia-smi";

interface ParsedOptions {
  readonly pool: HostPort;
  readonly certSha256: string | undefined;
}

function parseOptions(options: WorkerOptions): ParsedOptions {
  const pool = parsePoolAddress(options.pool);
  if (!pool) {
    throw new PoolError<WorkerFailure>(
      { code: "worker/bad-pool-address", pool: options.pool },
      `"${options.pool}" is no address of a pool: write HOST:PORT`,
    );
  }
  const { poolCertSha256, maxSessions } = options;
  const certSha256 = poolCertSha256 === undefined ? undefined : parseFingerprint(poolCertSha256);
  if (poolCertSha256 !== undefined && certSha256 === undefined) {
    throw new PoolError<WorkerFailure>(
      { code: "worker/bad-fingerprint" },
      "the pool's certificate is pinned by its SHA-256 fingerprint: 64 hex digits, colons allowed",
    );
  }
  if (maxSessions !== undefined && !(Number.isSafeInteger(maxSessions) && maxSessions >= 1)) {
    throw new PoolError<WorkerFailure>(
      { code: "worker/bad-max-sessions", maxSessions },
      `a worker takes at least 1 session at once, not ${maxSessions}; leave it out to have it measured`,
    );
  }
  return { pool, certSha256 };
}

/** A device at work. */
interface Station {
  readonly device: Device;
  readonly transcoder: Transcoder;
  readonly capacity: Capacity | undefined;
}

/** Finds the devices, opens a transcoder on each and learns how much they take. */
async function openStations(
  options: WorkerOptions,
  tempDir: string,
  deps: WorkerDeps,
  scope: Scope,
): Promise<{
  readonly stations: readonly [Station, ...Station[]];
  readonly detection: Detection;
  readonly maxSessions: number;
}> {
  const { logger } = deps;
  const signal = deps.signal ? AbortSignal.any([scope.signal, deps.signal]) : scope.signal;
  const detection = await (deps.detect ?? detectDevices)(
    { ...options, nvidiaSmiPath: NVIDIA_SMI, tempDir },
    deps,
    signal,
  );
  for (const { device, usable, text } of detection.findings) {
    if (usable) logger.info("device works", { device, text });
    // Nobody asked for it by name: that it is not there is no news.
    else if (options.devices === "auto") logger.info("device not used", { device, text });
    else logger.warn("device not usable", { device, text });
  }
  const resultBudget = createByteBudget(RESULT_BYTES);
  const open = (device: Device): { readonly device: Device; readonly transcoder: Transcoder } => ({
    device,
    transcoder: scope.use(
      createFfmpegTranscoder(
        {
          ffmpegPath: options.ffmpegPath,
          tempDir,
          namePrefix: device.id.replaceAll(/[^a-z0-9]/gi, "-"),
          path: device.path,
          anySourcePath: device.anySourcePath,
          dialect: detection.ffmpeg.dialect,
          keepsSpares: true,
        },
        { ...deps, resultBudget },
      ),
    ),
  });
  const [first, ...others] = detection.devices;
  const opened = [open(first), ...others.map(open)] as const;
  const { maxSessions, workDir } = options;
  if (maxSessions !== undefined) {
    const stations = opened.map((one) => ({ ...one, capacity: undefined })) as [Station, ...Station[]];
    return { stations, detection, maxSessions };
  }
  const measure = { ffmpeg: detection.ffmpeg, devices: opened, workDir, tempDir };
  const capacities = await measureCapacity(measure, deps, signal);
  // A map over a list that has a first element has one too.
  const stations = opened.map((one) => ({ ...one, capacity: capacities.get(one.device) })) as unknown as [
    Station,
    ...Station[],
  ];
  const sum = stations.reduce((total, { capacity }) => total + (capacity?.sessions ?? 1), 0);
  logger.info("measured capacity", { sessions: sum });
  return { stations, detection, maxSessions: sum };
}

/**
 * Starts a worker: tests what this machine can do, then registers with the pool and stays registered until it is told
 * to stop or refused for good. Rejects, leaving nothing behind, when it cannot start.
 */
export async function startWorker(options: WorkerOptions, deps: WorkerDeps): Promise<Worker> {
  const { clock, logger } = deps;
  const { pool, certSha256 } = parseOptions(options);
  const secret = parseOpenSecret(options.secret);
  const scope = openScope();
  try {
    const { path: tempDir } = scope.use(await openTempDir(options.workDir));
    const { stations, detection, maxSessions } = await openStations(options, tempDir, deps, scope);
    deps.signal?.throwIfAborted();
    const capabilities = stations.reduce((set, { device }) => set | device.capabilities, 0n);
    let watch: NvidiaWatch | undefined;
    if (stations.some(({ device }) => device.kind === "nvidia")) {
      watch = scope.use(watchNvidiaGpus({ nvidiaSmiPath: NVIDIA_SMI, intervalMs: GPU_READING_MS }, deps));
    }

    const sessions = createSessions(
      stations,
      {
        maxAtWork: Math.max(4, 2 * maxSessions),
        // Where nothing was measured, devices are alike.
        capacityOf: ({ capacity }) => capacity?.sessions ?? 1,
        onEnd: (id, { transcoder }) => transcoder.endSession(id),
      },
      deps,
    );
    const downloader = scope.use(createDownloader(createByteBudget(SOURCE_BYTES), clock, certSha256));
    let runner: ReturnType<typeof createTaskRunner> | undefined;
    scope.defer(() => runner?.idle());
    const uploader = scope.use(createUploader({ address: pool, certSha256, maxConnections: 1 }, deps));
    const tasks = createTaskRunner(
      { capabilities, secret: options.secret, transcodeTimeoutMs: options.transcodeTimeoutMs },
      { ...deps, sessions, downloader, uploader },
    );
    runner = tasks;
    scope.defer(() => tasks.close());

    const request = create(RegisterRequestSchema, {
      secret: options.secret,
      capacity: BigInt(maxSessions),
      capabilities: capabilitiesToWire(capabilities, LIVEPEER_VERSION),
      ...(typeof secret === "string" ? {} : { ethereumAddress: hexToBytes(secret.worker.slice(2)) }),
    });
    const report = makeRigReport(deps.version, detection, stations);
    let draining = false;
    // The status endpoint comes before the link, so that a taken port is found before the pool is bothered.
    let link: PoolLink | undefined;
    const status = (): WorkerStatus => {
      const state = link?.state ?? { state: "connecting" as const };
      const loads = sessions.loads();
      const { counts } = tasks;
      return {
        state: draining && state.state !== "stopped" ? "draining" : state.state,
        registeredAt: state.state === "registered" ? state.sinceMs : undefined,
        waiting:
          state.state === "waiting"
            ? { why: state.why, retryInMs: state.retryInMs, failures: state.failures }
            : undefined,
        pool: formatHostPort(pool),
        rig: typeof secret === "string" ? undefined : formatRig(secret),
        ffmpegVersion: detection.ffmpeg.version,
        maxSessions,
        sessions: sessions.size,
        segmentsInFlight: tasks.running,
        segmentsDone: counts.done,
        segmentsFailed: counts.failed,
        segmentsStopped: counts.stopped,
        resultsLost: counts.resultsLost,
        pixelsEncoded: counts.pixelsEncoded.toString(),
        lastSegment: counts.lastSegment,
        devices: stations.map((station) => ({
          id: station.device.id,
          kind: station.device.kind,
          name: deviceName(station.device),
          load: loads.get(station) ?? 0,
          realTimeFactor: station.capacity?.realTimeFactor,
          gpu: station.device.uuid === undefined ? undefined : watch?.gpus.get(station.device.uuid),
        })),
        findings: detection.findings,
      };
    };
    const { statusListen } = options;
    const server = statusListen && scope.use(await startStatusServer(statusListen, status, logger));

    const opened = openPoolLink({ pool, certSha256 }, request, {
      clock,
      logger,
      onRegistered: (session) => void sendRigReport(session, options.secret, report, deps),
      onNotify: (notify) => tasks.onNotify(notify),
    });
    link = scope.use(opened);
    return {
      async drain() {
        draining = true;
        logger.debug("draining", { segmentsInFlight: tasks.running });
        opened.leave();
        await tasks.idle();
        await scope[Symbol.asyncDispose]();
      },
      status,
      statusAddress: server && { host: server.host, port: server.port },
      closed: opened.ended,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
      logger.error("could not undo start", { error }),
    );
    throw cause;
  }
}
