import { tmpdir } from "node:os";
import { type Logger, systemClock } from "@openpool/base";
import { startWorker, type WorkerOptions } from "@openpool/worker";
import { type ExitCode, exitCode, type Io } from "../io.ts";
import { createLogger } from "../logging.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { type Flags, readSecretFile, settingsError, settle } from "../settings/settle.ts";
import { aborted } from "../signals.ts";
import { toWorkerOptions, workerOptions } from "../settings/worker-options.ts";

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
      const { options, logger } = readWorkerSettings(flagsOf(command, workerOptions, 0), json, io);
      return runWorker(options, { logger, stop: io.stop });
    }),
  );
}

function readWorkerSettings(
  flags: Flags,
  json: boolean,
  io: Io,
): { readonly options: WorkerOptions; readonly logger: Logger } {
  const { values, inForce } = settle(workerOptions, flags, settingsElsewhere(workerOptions), io);
  const secretIn = (key: "secretFile" | "joinPasswordFile"): string | undefined =>
    values[key] === undefined ? undefined : readSecretFile(values[key], inForce[key].from);
  const options = toWorkerOptions(values, {
    secret: secretIn("secretFile"),
    joinPassword: secretIn("joinPasswordFile"),
    tempDir: tmpdir(),
  });
  if ("problems" in options) throw settingsError(options.problems);
  const asked = json ? "json" : values.logFormat;
  const format = asked === "auto" ? (io.errIsTerminal ? "pretty" : "json") : asked;
  const colour = io.errIsTerminal && !io.env["NO_COLOR"];
  return { options, logger: createLogger({ level: values.logLevel, format, colour }, (line) => io.err(line)) };
}

/** Runs a worker until `stop`, drained, or until the pool says that it need not try again. */
async function runWorker(
  options: WorkerOptions,
  { logger, stop }: { readonly logger: Logger; readonly stop: AbortSignal },
): Promise<ExitCode> {
  await using worker = await startWorker(options, { logger, clock: systemClock });
  const end = await Promise.race([worker.closed, aborted(stop)]);
  if (end === undefined) {
    logger.info("draining: segments in hand are finished first");
    await worker.drain();
    return exitCode.ok;
  }
  return end.kind === "refused" ? exitCode.refused : exitCode.ok;
}
