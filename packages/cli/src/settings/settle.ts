import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import {
  errorText,
  type OptionDefinitions,
  optionFlag,
  type OptionInForce,
  type OptionProblem,
  type OptionSource,
  type OptionValues,
  optionVariable,
  PoolError,
  resolveOptions,
} from "@openpool/base";
import { parseDocument } from "yaml";
import type { Io } from "../io.ts";
import { readSettingsFile } from "./settings-file.ts";

/** Problems with what the user wrote; the message lists them all. */
export class SettingsError extends PoolError<{
  readonly code: "config/invalid";
  readonly problems: readonly OptionProblem[];
}> {}

export function settingsError(problems: readonly OptionProblem[]): SettingsError {
  const width = Math.min(32, Math.max(...problems.map((one) => one.where.length)));
  const lines = problems.map((one) => `\n  ${one.where.padEnd(width)}  ${one.problem}`);
  const count = problems.length === 1 ? "this needs a change" : `these ${problems.length} things need a change`;
  return new SettingsError({ code: "config/invalid", problems }, `${count}:${lines.join("")}`);
}

export interface Settled<D extends OptionDefinitions> {
  readonly values: OptionValues<D>;
  readonly inForce: { readonly [K in keyof D]: OptionInForce };
}

/** What was written on the command line. */
export interface Flags {
  /** Known flags that were given: name to text. */
  readonly given: ReadonlyMap<string, string>;
  /** Flags that nobody knows, as typed. */
  readonly unknown: readonly string[];
  /** Problems found while reading the line. */
  readonly problems: readonly OptionProblem[];
}

/**
 * Settles a command's settings: flag over environment over file over default. `elsewhere` maps the settings of other
 * commands to their command: a variable of theirs may well be set, a key of theirs in this file is a mistake.
 *
 * @throws SettingsError with every problem there is.
 */
export function settle<D extends OptionDefinitions>(
  definitions: D,
  flags: Flags,
  elsewhere: ReadonlyMap<string, string>,
  io: Io,
  how: { readonly othersInFile?: boolean } = {},
): Settled<D> {
  const { problems, settled } = weigh(definitions, flags, elsewhere, io, how);
  if (problems.length > 0) throw settingsError(problems);
  return settled;
}

/**
 * Settles a command's settings and makes of them what the command works with. What does not fit together (`make` answers
 * it, or throws it) is told along with what is wrong by itself.
 *
 * @throws SettingsError with every problem there is.
 */
export function settleInto<D extends OptionDefinitions, T extends object>(
  definitions: D,
  flags: Flags,
  elsewhere: ReadonlyMap<string, string>,
  io: Io,
  make: (settled: Settled<D>) => T | { readonly problems: readonly OptionProblem[] },
): T {
  const { problems, settled } = weigh(definitions, flags, elsewhere, io);
  const made = problemsOr(() => make(settled));
  if (!("problems" in made) && problems.length === 0) return made;
  // What a wrong value should have been nobody knows: its default stood in for it, and says nothing about it.
  const wrong = new Set(
    Object.values<OptionInForce>(settled.inForce)
      .filter(({ from }) => problems.some(({ where }) => where === from))
      .flatMap(({ option, from }) => [optionFlag(option.name), from]),
  );
  const unfit = "problems" in made ? made.problems.filter(({ where }) => !wrong.has(where)) : [];
  throw settingsError([...problems, ...unfit]);
}

function problemsOr<T>(make: () => T): T | { readonly problems: readonly OptionProblem[] } {
  try {
    return make();
  } catch (error) {
    if (error instanceof SettingsError) return { problems: error.info.problems };
    throw error;
  }
}

/** What {@link settle} goes by: the settings, the default in the place of each that is wrong, and every problem of theirs. */
export function weigh<D extends OptionDefinitions>(
  definitions: D,
  flags: Flags,
  elsewhere: ReadonlyMap<string, string>,
  io: Io,
  how: { readonly othersInFile?: boolean } = {},
): { readonly problems: readonly OptionProblem[]; readonly settled: Settled<D> } {
  const problems: OptionProblem[] = [...flags.problems];
  const own = new Set(Object.values(definitions).map((one) => one.name));
  const given = new Map(flags.given);
  for (const flag of flags.unknown) given.set(flag.replace(/^-+/, ""), "");

  const variables = new Map<string, string>();
  for (const [variable, text] of Object.entries(io.env)) {
    if (!variable.startsWith("OPENPOOL_") || text === undefined || text === "") continue;
    const name = variable.slice("OPENPOOL_".length).toLowerCase().replaceAll("_", "-");
    if (name !== "config" && (own.has(name) || !elsewhere.has(name))) variables.set(name, text);
  }
  const sources: OptionSource[] = [
    { origin: "flag", label: optionFlag, values: given },
    { origin: "environment", label: optionVariable, values: variables },
  ];

  const configPath = given.get("config") ?? (io.env["OPENPOOL_CONFIG"] || undefined);
  given.delete("config");
  let fileDirectory = io.cwd;
  if (configPath !== undefined) {
    const path = resolvePath(configPath, io.cwd, io.home);
    fileDirectory = dirname(path);
    const file = readSettingsFile(path);
    problems.push(...file.problems);
    const values = new Map(file.values);
    for (const name of file.values.keys()) {
      const command = own.has(name) ? undefined : elsewhere.get(name);
      if (command === undefined) continue;
      values.delete(name);
      if (how.othersInFile) continue;
      problems.push({
        where: `${name} in ${configPath}`,
        problem: `is a setting of \`openpool ${command}\`, not of this`,
      });
    }
    sources.push({ origin: "file", label: (name) => `${name} in ${configPath}`, values });
  }

  const resolved = resolveOptions(definitions, sources);
  problems.push(...resolved.problems);
  const values: Record<string, unknown> = { ...resolved.values };
  const inForce: Record<string, OptionInForce> = { ...resolved.inForce };
  for (const [key, entry] of Object.entries(resolved.inForce)) {
    if (!entry.option.kind.isPath || entry.text === undefined) continue;
    const path = resolvePath(entry.text, entry.origin === "file" ? fileDirectory : io.cwd, io.home);
    values[key] = path;
    inForce[key] = { ...entry, text: path };
  }
  // Paths were strings before and are strings now; nothing else changed.
  return { problems, settled: { values: values as OptionValues<D>, inForce: inForce as Settled<D>["inForce"] } };
}

function resolvePath(text: string, from: string, home: string): string {
  if (text === "~") return home;
  return text.startsWith("~/") ? resolve(home, text.slice(2)) : resolve(from, text);
}

/** The text of a file that the setting at `where` names. */
export function readNamedFile(path: string, where: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw settingsError([{ where, problem: `cannot be read: ${errorText(error)}` }]);
  }
}

/** What a YAML file holds. Its values never show up in an error. */
export function readYamlFile(path: string, where: string): unknown {
  const content = readNamedFile(path, where);
  const document = parseDocument(content, { prettyErrors: false });
  const [first] = document.errors;
  if (first) {
    const line = content.slice(0, first.pos[0]).split("\n").length;
    throw settingsError([{ where, problem: `${path} line ${line} is no YAML: ${first.code}` }]);
  }
  return document.toJS();
}

/** The secret in a file: its only line. The value never shows up in an error. */
export function readSecretFile(path: string, where: string): string {
  const lines = readNamedFile(path, where)
    .split(/\r?\n/)
    .filter((line) => line !== "");
  const [secret] = lines;
  if (secret === undefined) throw settingsError([{ where, problem: `${path} is empty` }]);
  if (lines.length > 1) throw settingsError([{ where, problem: `${path} has more than one line` }]);
  return secret;
}
