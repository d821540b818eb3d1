import { tmpdir } from "node:os";
import { type Logger, PoolError, systemClock } from "@openpool/base";
import { startWorker, type WorkerOptions, type WorkerStatus } from "@openpool/worker";
import { type ExitCode, exitCode, type Io } from "../io.ts";
import { createLogger, type LoggingOptions } from "../logging.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { type Flags, readSecretFile, settleInto } from "../settings/settle.ts";
import { aborted } from "../signals.ts";
import { toWorkerOptions, workerOptions } from "../settings/worker-options.ts";
import { createStatusLine } from "../text/status-line.ts";
import { version } from "../version.ts";

export function addWorkerCommand({ program, run }: Registry): void {
  const command = program
    .command("worker")
    .summary("transcode for a pool and earn")
    .description(
      "Joins a pool as a worker: takes segments, transcodes them with FFmpeg on the processor or on graphics cards, and is credited at the payout address. It never needs a key.",
    )
    .option("--json", "log in JSON lines, as --log-format json")
    .addHelpText(
      "after",
      `
Examples:
  openpool worker --pool pool.example.com:8935 --address 0xYOURS --name rig1
  openpool worker --pool pool.example.com:8935 --secret-file rig1.secret --devices nvidia:0,1
  openpool worker --pool 203.0.113.7:8935 --address 0xYOURS --devices cpu --max-sessions 2

SIGTERM or Ctrl-C finishes the segments in hand first, a second one ends at once.`,
    );
  addSettings(command, workerOptions);
  command.action(() =>
    run(async (io) => {
      const json = command.opts<{ json?: boolean }>().json ?? false;
      const { options, logging } = readWorkerSettings(flagsOf(command, workerOptions, 0), json, io);
      using line = createStatusLine(
        (text) => io.err(text),
        () => io.terminal?.columns ?? 80,
      );
      const logger = createLogger(logging, (text) => line.log(text));
      const onStatus = io.errIsTerminal && logging.format === "pretty" ? (text: string) => line.show(text) : undefined;
      return runWorker(options, { logger, stop: io.stop, onStatus });
    }),
  );
}

/** The options of a worker from flags, environment and file. Throws with everything that is wrong. */
export function readWorkerSettings(
  flags: Flags,
  json: boolean,
  io: Io,
): { readonly options: WorkerOptions; readonly logging: LoggingOptions } {
  return settleInto(workerOptions, flags, settingsElsewhere(workerOptions), io, ({ values, inForce }) => {
    const secretIn = (key: "secretFile" | "joinPasswordFile"): string | undefined =>
      values[key] === undefined ? undefined : readSecretFile(values[key], inForce[key].from);
    const options = toWorkerOptions(values, {
      secret: secretIn("secretFile"),
      joinPassword: secretIn("joinPasswordFile"),
      tempDir: tmpdir(),
    });
    if ("problems" in options) return options;
    const asked = json ? "json" : values.logFormat;
    const format = asked === "auto" ? (io.errIsTerminal ? "pretty" : "json") : asked;
    return { options, logging: { level: values.logLevel, format, colour: io.errIsTerminal && !io.env["NO_COLOR"] } };
  });
}

class WorkerRefusedError extends PoolError<{ readonly code: "cli/worker-refused"; readonly text: string }> {}

const STATUS_MS = 500;

/** Runs a worker until `stop`, drained, or until the pool says that it need not try again. */
async function runWorker(
  options: WorkerOptions,
  hooks: {
    readonly logger: Logger;
    readonly stop: AbortSignal;
    /** Takes the line that tells how the worker does, where somebody looks at it. */
    readonly onStatus: ((text: string) => void) | undefined;
  },
): Promise<ExitCode> {
  const { logger, stop, onStatus } = hooks;
  await using worker = await startWorker(options, { version, logger, clock: systemClock, signal: stop });
  const timer = onStatus && setInterval(() => onStatus(statusText(worker.status())), STATUS_MS);
  try {
    const end = await Promise.race([worker.closed, aborted(stop)]);
    if (end?.kind === "refused") {
      throw new WorkerRefusedError({ code: "cli/worker-refused", text: end.text }, end.advice || end.text);
    }
    if (end === undefined) {
      logger.info("draining: segments in hand are finished first");
      await worker.drain();
    }
    return exitCode.ok;
  } finally {
    clearInterval(timer);
  }
}

function statusText(status: WorkerStatus): string {
  const { state, waiting, lastSegment } = status;
  const parts = [
    waiting ? `waiting ${Math.ceil(waiting.retryInMs / 1000)} s: ${waiting.why}` : state,
    `${status.sessions}/${status.maxSessions} sessions`,
    `${status.segmentsInFlight} at work`,
    `${status.segmentsDone} done`,
    `${status.segmentsFailed} failed`,
  ];
  if (lastSegment) parts.push(`last ${(lastSegment.durationMs / lastSegment.tookMs).toFixed(1)} × real time`);
  return parts.join(" · ");
}
