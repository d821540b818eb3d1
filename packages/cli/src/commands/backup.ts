import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type OptionValues, systemClock } from "@openpool/base";
import { backupBooks, poolOptions, restoreBooks } from "@openpool/pool";
import type { Command } from "commander";
import { exitCode, type Io } from "../io.ts";
import { createLogger } from "../logging.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { settle } from "../settings/settle.ts";
import { grouped } from "../text/words.ts";
import { version } from "../version.ts";

/** Where the books lie: as the pool was told. */
const placeSettings = { dataDir: poolOptions.dataDir, databaseUrl: poolOptions.databaseUrl };

export function addBackupCommand({ program, run }: Registry): void {
  const command = program
    .command("backup")
    .summary("write the pool's books into a file, while it runs")
    .description(
      "Writes a backup of the pool's books into one file, as they are at one moment: events, credits, balances, payouts, workers. The pool goes on meanwhile, or does not run. The file is read again before it takes its name, so one that is there is complete. It holds no keys.",
    )
    .argument("<FILE|DIR>", "the file to write, or a directory for one named by the time")
    .option("--json", "print {file, takenAt, position, tables, rows, exports}")
    .addHelpText(
      "after",
      `
Examples:
  openpool backup /backups --data-dir /var/lib/openpool
  openpool backup books.backup --database-url postgres://pool@db.internal/openpool`,
    );
  addSettings(command, placeSettings);
  command.action((target: string) =>
    run(async (io) => {
      const place = placeOf(command, io);
      const takenAt = new Date(systemClock.now()).toISOString();
      const path = resolve(io.cwd, target);
      const isDirectory = await stat(path).then(
        (found) => found.isDirectory(),
        () => false,
      );
      const file = isDirectory ? join(path, `openpool-${takenAt.replaceAll(/[-:]|\.\d+/g, "")}.backup`) : path;
      const report = await backupBooks(place, file, version, { logger: quietLogger(io), clock: systemClock }, io.stop);
      await io.out(
        command.opts<{ json?: boolean }>().json
          ? `${JSON.stringify(report, decimals)}\n`
          : `backed up ${grouped(report.rows)} rows, up to event ${report.position}, as of ${report.takenAt}\n${report.file}\n${exportsText(report.exports)}`,
      );
      return exitCode.ok;
    }),
  );
}

export function addRestoreCommand({ program, run }: Registry): void {
  const command = program
    .command("restore")
    .summary("bring a pool's books back from a backup")
    .description(
      "Brings the books of a backup back, into a data directory without a database or into an empty one at --database-url. All of it is there afterwards, compared with what was backed up, or nothing is. Payouts stand still until they were compared with the chain, so that nothing is paid twice.",
    )
    .argument("<FILE>", "a file that `openpool backup` wrote")
    .option("--json", "print {file, takenAt, position, tables, rows, exports}")
    .addHelpText(
      "after",
      "\nExample:\n  openpool restore openpool-20261121T030000Z.backup --data-dir /var/lib/openpool-new",
    );
  addSettings(command, placeSettings);
  command.action((source: string) =>
    run(async (io) => {
      const place = placeOf(command, io);
      const file = resolve(io.cwd, source);
      const report = await restoreBooks(place, file, { logger: quietLogger(io), clock: systemClock }, io.stop);
      await io.out(
        command.opts<{ json?: boolean }>().json
          ? `${JSON.stringify(report, decimals)}\n`
          : `restored ${grouped(report.rows)} rows, up to event ${report.position}, as of ${report.takenAt}\n` +
              "Payouts stand still: what was paid since then is not in these books. `openpool payouts resume` reads it from the chain.\n",
      );
      return exitCode.ok;
    }),
  );
}

function placeOf(command: Command, io: Io): OptionValues<typeof placeSettings> {
  const flags = flagsOf(command, placeSettings, 1);
  return settle(placeSettings, flags, settingsElsewhere(placeSettings), io, { othersInFile: true }).values;
}

/** What it did is its output; only what went wrong on the way is said besides. */
function quietLogger(io: Io): ReturnType<typeof createLogger> {
  return createLogger({ level: "warn", format: "pretty", colour: io.errIsTerminal && !io.env["NO_COLOR"] }, (line) =>
    io.err(line),
  );
}

/** What a backup leaves out, and says so. */
function exportsText(exports: readonly string[]): string {
  return exports.length === 0
    ? ""
    : `Not in it, copy them too: exported months of the event log\n${exports.map((file) => `${file}\n`).join("")}`;
}

function decimals(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
