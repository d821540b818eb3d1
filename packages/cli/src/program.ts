import { errorText, PoolError } from "@openpool/base";
import { Command, CommanderError } from "commander";
import { addCommands } from "./commands.ts";
import { type ExitCode, exitCode, type Io } from "./io.ts";
import type { Registry } from "./registry.ts";
import { version } from "./version.ts";

/** Reads a command line and does what it says. Never throws: whatever happens is told to the user. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  let code: ExitCode = exitCode.ok;
  const program = new Command("openpool");
  const registry: Registry = {
    program,
    io,
    async run(run) {
      code = await run(io);
    },
  };
  let written = Promise.resolve();
  program
    .description("A public GPU pool for Livepeer: many workers behind one orchestrator, every job counted.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addHelpCommand(
      new Command("help").argument("[COMMAND]").description("print the help of a command").helpGroup("Find out:"),
    )
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => void (written = written.then(() => io.out(text))),
      writeErr: (text) => io.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "openpool: ")),
      getOutHasColors: () => io.outIsTerminal && !io.env["NO_COLOR"],
      getErrHasColors: () => io.errIsTerminal && !io.env["NO_COLOR"],
    })
    .addHelpText(
      "after",
      `
Examples:
  npm start                                          watch a whole pool work on this machine
  openpool pool --service-uri https://pool.example.com:8935
  openpool worker --pool pool.example.com:8935 --address 0xYOURS --name rig1
  openpool push clip.mp4 --orchestrator https://pool.example.com:8935
  openpool balances

Every setting can be a flag, a variable (--listen is OPENPOOL_LISTEN) or a line of the YAML file given with
--config (listen: …). A flag wins over the environment, that over the file. Exit codes: 0 done, 1 failed,
2 wrong usage or settings, 3 no pool answers, 4 the pool refused.`,
    );
  try {
    await addCommands(registry, args[0]);
    await program.parseAsync(args, { from: "user" });
    await written;
    return code;
  } catch (error) {
    await written;
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    }
    if (io.stop.aborted && error === io.stop.reason) return exitCode.ok;
    io.err(`openpool: ${describeError(error)}\n`);
    return exitCodeOf(error);
  }
}

function describeError(error: unknown): string {
  if (error instanceof PoolError) return error.message;
  // Not one of ours: a mistake in the program, so its author needs the place.
  return error instanceof Error ? (error.stack ?? error.message) : errorText(error);
}

/** Settings whose mistakes only their reader can find. */
const wrongSettings: ReadonlySet<string> = new Set([
  "push/bad-profiles",
  "store/bad-database-url",
  "tls/half-configured",
  "tls/unreadable",
  "upstream/no-secret",
  "worker/bad-devices",
]);

function exitCodeOf(error: unknown): ExitCode {
  const code = error instanceof PoolError ? String(error.info.code) : "";
  if (code.startsWith("config/") || wrongSettings.has(code)) return exitCode.usage;
  if (code === "cli/no-pool" || code === "cli/pool-unreachable") return exitCode.unreachable;
  return code === "cli/refused" || code === "cli/worker-refused" ? exitCode.refused : exitCode.failed;
}
