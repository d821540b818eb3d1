import type { OptionDefinitions, OptionInForce } from "@openpool/base";
import { Argument } from "commander";
import { exitCode, type Io } from "../io.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere, settingsOf } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { type Flags, settingsError, weigh } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { readPoolSettings } from "./pool.ts";
import { readWorkerSettings } from "./worker.ts";

export function addConfigCommand({ program, run }: Registry): void {
  const command = program
    .command("config")
    .summary("print the settings in force, and where each comes from")
    .description(
      "Prints what `openpool pool` (or worker, or push) would run with, given the same flags, environment and settings file, and where each value comes from. Secrets are hidden. Then names everything that would keep that command from starting with them, which takes reading the files that they name: run it as the user that the command runs as.",
    )
    .addArgument(new Argument("[COMMAND]", "whose settings").choices(Object.keys(settingsOf)).default("pool"))
    .option("--json", "print an array of {name, value, origin, from}")
    .addHelpText(
      "after",
      `
Takes the flags of that command too.

Examples:
  openpool config --config pool.yaml
  openpool config worker --json`,
    );
  const everything: OptionDefinitions = Object.fromEntries(
    Object.values(settingsOf).flatMap((definitions) => Object.values(definitions).map((one) => [one.name, one])),
  );
  addSettings(command, everything, { hidden: true });
  command.action((name: keyof typeof settingsOf) =>
    run(async (io) => {
      const definitions: OptionDefinitions = settingsOf[name];
      const flags = flagsOf(command, definitions, 1);
      const refusal = refusalOf(name, flags, io);
      const { problems, settled } = weigh(definitions, flags, settingsElsewhere(definitions), io);
      // Of values that are wrong by themselves there is nothing to show; of ones that do not fit together there is.
      if (problems.length > 0) throw refusal ?? settingsError(problems);
      const shown = Object.values(settled.inForce).map(show);
      await io.out(
        command.opts<{ json?: boolean }>().json
          ? `${JSON.stringify(shown, undefined, 2)}\n`
          : formatTable(
              ["SETTING", "VALUE", "FROM"],
              shown.map((one) => [one.name, one.value ?? "-", one.from]),
            ),
      );
      if (refusal !== undefined) throw refusal;
      return exitCode.ok;
    }),
  );
}

/** What a command that keeps running would say instead of starting with these settings; undefined: it would start. */
function refusalOf(name: keyof typeof settingsOf, flags: Flags, io: Io): unknown {
  try {
    if (name === "pool") readPoolSettings(flags, io);
    if (name === "worker") readWorkerSettings(flags, false, io);
    return undefined;
  } catch (error) {
    return error;
  }
}

function show({ option, text, origin, from }: OptionInForce): {
  readonly name: string;
  readonly value: string | null;
  readonly origin: string;
  readonly from: string;
} {
  const value = text === undefined ? null : option.show ? option.show(text) : text;
  return { name: option.name, value, origin, from };
}
