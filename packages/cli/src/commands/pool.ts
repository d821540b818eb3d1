import { type Logger, systemClock } from "@openpool/base";
import process from "node:process";
import {
  inheritedSockets,
  type PoolOptions,
  poolOptions,
  runSupervisor,
  secretFor,
  toPoolOptions,
} from "@openpool/pool";
import { type ExitCode, exitCode, type Io } from "../io.ts";
import { createLogger } from "../logging.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { aborted } from "../signals.ts";
import { version } from "../version.ts";
import { type Flags, readNamedFile, readSecretFile, readYamlFile, settleInto } from "../settings/settle.ts";

export function addPoolCommand({ program, run }: Registry): void {
  const command = program
    .command("pool")
    .summary("serve gateways and share their work among workers")
    .description(
      "Runs a pool: gateways send segments to it, workers that have joined transcode them, and every answered segment is credited to the worker that did it.",
    )
    .addHelpText(
      "after",
      `
Examples:
  openpool pool --service-uri https://pool.example.com:8935
  openpool pool --service-uri https://203.0.113.7:8935 --join open,registered --commission 10%
  openpool pool --config pool.yaml
  openpool pool --upstream 127.0.0.1:8935 --upstream-secret-file orch.secret --listen 0.0.0.0:8945 \\
    --service-uri https://203.0.113.7:8945

The last one works for a go-livepeer orchestrator, as one large transcoder of it; see docs/attached.md.

A worker then joins with
  openpool worker --pool pool.example.com:8935 --address 0xYOURS --name rig1
or, with an unmodified go-livepeer,
  livepeer -transcoder -orchAddr pool.example.com:8935 -orchSecret 0xYOURS.rig1

SIGTERM or Ctrl-C finishes the segments in flight first, a second one ends at once. SIGHUP restarts it without
refusing a connection, as \`openpool restart\` does.`,
    );
  addSettings(command, poolOptions);
  command.action(() =>
    run(async (io) => {
      const flags = flagsOf(command, poolOptions, 0);
      const { options, logger } = readPoolSettings(flags, io);
      return runPool(options, { logger, io, readOptions: () => readPoolSettings(flags, io).options });
    }),
  );
}

/** The options of a pool from flags, environment and file. Throws with everything that is wrong. */
export function readPoolSettings(flags: Flags, io: Io): { readonly options: PoolOptions; readonly logger: Logger } {
  const options = settleInto(poolOptions, flags, settingsElsewhere(poolOptions), io, ({ values, inForce }) => {
    const passwordFile = values.joinPasswordFile;
    const made = toPoolOptions(values, {
      isNamed: (key) => inForce[key].origin !== "default",
      joinPassword:
        passwordFile === undefined ? undefined : readSecretFile(passwordFile, inForce.joinPasswordFile.from),
      ...(values.termsFile === undefined ? {} : { termsFile: readYamlFile(values.termsFile, inForce.termsFile.from) }),
      ...(values.alertsFile === undefined
        ? {}
        : { alertsFile: readYamlFile(values.alertsFile, inForce.alertsFile.from) }),
      terminal: io.errIsTerminal,
    });
    if ("problems" in made || !made.attached) return made;
    // It is read anew for each registration; that it is wrong should not come out when the first rig joins.
    const { secretFile, upstreams } = made.attached;
    const text = readNamedFile(secretFile, inForce.upstreamSecretFile.from);
    const names = upstreams.map(({ name }) => name);
    for (const name of names) secretFor(name, names, text, secretFile);
    return made;
  });
  const logger = createLogger(
    { level: options.logLevel, format: options.logFormat, colour: io.errIsTerminal && !io.env["NO_COLOR"] },
    (line) => io.err(line),
  );
  return { options, logger };
}

interface PoolHooks {
  readonly logger: Logger;
  readonly io: Io;
  /** Reads the settings again, for a restart. */
  readonly readOptions: () => PoolOptions;
}

/** Runs a pool until it is told to end, drained. */
async function runPool(options: PoolOptions, { logger, io, readOptions }: PoolHooks): Promise<ExitCode> {
  const inherited = inheritedSockets(io.env, process.pid);
  await using pool = await runSupervisor(options, { logger, clock: systemClock, version, inherited, readOptions });
  io.kill.addEventListener("abort", () => pool.kill(), { once: true });
  // Why a restart failed is in the log.
  io.onHangup(() => void pool.restart());
  await Promise.race([aborted(io.stop), pool.closed]);
  logger.info("draining: segments in flight are finished first");
  return exitCode.ok;
}
