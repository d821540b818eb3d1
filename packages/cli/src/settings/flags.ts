import { type OptionDefinitions, nearest, optionFlag, type OptionProblem } from "@openpool/base";
import { type Command, Option as Flag } from "commander";
import type { Flags } from "./settle.ts";

/** Gives a command one flag for each setting, and `--config` for the file that may hold them. */
export function addSettings(
  command: Command,
  definitions: OptionDefinitions,
  how: { readonly hidden?: boolean } = {},
): void {
  for (const one of Object.values(definitions)) {
    const { placeholder } = one.kind;
    const fallback = one.default === undefined ? one.defaultNote : one.default;
    const text =
      fallback === undefined || placeholder === undefined ? one.help : `${one.help} (default: ${plain(fallback)})`;
    const name = optionFlag(one.name);
    const flag = new Flag(placeholder === undefined ? name : `${name} <${placeholder}>`, plain(text));
    if (one.kind.isList) flag.argParser((text, before?: string) => (before === undefined ? text : `${before},${text}`));
    command.addOption(flag.helpGroup(`${one.group}:`).hideHelp(how.hidden ?? false));
    if (placeholder === undefined) command.addOption(new Flag(`--no-${one.name}`).hideHelp());
  }
  command.addOption(
    new Flag("--config <FILE>", "a YAML file with any of these settings, named as their flags")
      .helpGroup("Settings file:")
      .hideHelp(how.hidden ?? false),
  );
  // Mistyped flags are collected and told together with every other problem.
  command.allowUnknownOption().allowExcessArguments();
}

function plain(text: string): string {
  return text.replaceAll("`", "");
}

/** What the user wrote for the given settings, and what nobody knows. */
export function flagsOf(command: Command, definitions: OptionDefinitions, operands: number): Flags {
  const given = new Map<string, string>();
  const names = [...Object.values(definitions).map((one) => one.name), "config"];
  for (const name of names) {
    const key = name.replaceAll(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
    if (command.getOptionValueSource(key) === "cli") given.set(name, String(command.getOptionValue(key)));
  }
  const unknown: string[] = [];
  const problems: OptionProblem[] = [];
  let seen = 0;
  let afterUnknown = false;
  for (const arg of command.args) {
    if (arg.startsWith("-") && arg !== "-" && arg !== "--") {
      const name = arg.split("=")[0]!;
      const other = command.options.find((one) => one.long !== undefined && nearest(name, [one.long]) !== undefined);
      const own = names.some((candidate) => nearest(name.replace(/^-+/, ""), [candidate]) !== undefined);
      if (!name.startsWith("--") || (!own && other)) {
        problems.push({ where: name, problem: `is not a flag${other ? `; did you mean ${other.long}?` : ""}` });
      } else {
        unknown.push(name);
      }
      afterUnknown = !arg.includes("=");
    } else {
      seen += 1;
      // What follows an unknown flag is most likely its value.
      if (seen > operands && !afterUnknown) problems.push({ where: arg, problem: "is one argument too many" });
      if (afterUnknown) seen -= 1;
      afterUnknown = false;
    }
  }
  return { given, unknown, problems };
}
