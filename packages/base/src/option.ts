import { nearest } from "./nearest.ts";

/** Why a text is not a value, in words that follow "--name TEXT: ". */
export class BadValue {
  readonly problem: string;
  constructor(problem: string) {
    this.problem = problem;
  }
}

/** A kind of value: how it is written, read and shown. */
export interface ValueKind<T> {
  /** How help names a value: `HOST:PORT`. Undefined: a switch, which needs none. */
  readonly placeholder: string | undefined;
  /** What may be written, in words, for the manual. */
  readonly allowed: string;
  /** The value names a file or directory; a relative one in a settings file starts from that file. */
  readonly isPath?: boolean;
  /** Several values, separated by commas: its flag may be given again and again. */
  readonly isList?: boolean;
  parse(text: string): T | BadValue;
  /** The text that `parse` reads back as the same value. */
  format(value: T): string;
}

/** One setting. Its flag, environment variable, key in the settings file, help and manual entry all come from here. */
export interface Option<T> {
  /** `listen`: the flag is `--listen`, the variable `OPENPOOL_LISTEN`, the key in the file `listen`. */
  readonly name: string;
  readonly kind: ValueKind<unknown>;
  /** Written as a user would write it. */
  readonly default: string | undefined;
  /** Said in place of a default where there is no fixed one. */
  readonly defaultNote: string | undefined;
  /** One line: what it is, with its unit. */
  readonly help: string;
  /** What changes when it is changed; for the manual. */
  readonly details: string | undefined;
  /** Under which heading help and manual list it. */
  readonly group: string;
  /** How the value is shown, where the whole of it is not for every eye. */
  readonly show: ((text: string) => string) | undefined;
  /** Only carries the type. */
  readonly value?: T;
}

interface OptionSpec<T> {
  readonly name: string;
  readonly kind: ValueKind<T>;
  readonly help: string;
  readonly details?: string;
  readonly group: string;
  readonly show?: (text: string) => string;
}

/** Defines a setting. With a `default` it always has a value; without one it may be undefined. */
export function option<T>(spec: OptionSpec<T> & { readonly default: string }): Option<T>;
export function option<T>(spec: OptionSpec<T> & { readonly defaultNote?: string }): Option<T | undefined>;
export function option<T>(
  spec: OptionSpec<T> & { readonly default?: string; readonly defaultNote?: string },
): Option<T | undefined> {
  return {
    name: spec.name,
    kind: spec.kind as ValueKind<unknown>,
    default: spec.default,
    defaultNote: spec.defaultNote,
    help: spec.help,
    details: spec.details,
    group: spec.group,
    show: spec.show,
  };
}

export type OptionDefinitions = Readonly<Record<string, Option<unknown>>>;

export type OptionValues<D extends OptionDefinitions> = {
  readonly [K in keyof D]: D[K] extends Option<infer T> ? T : never;
};

export function optionFlag(name: string): string {
  return `--${name}`;
}

export function optionVariable(name: string): string {
  return `OPENPOOL_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** One place where settings come from; `values` maps names to texts. */
export interface OptionSource {
  readonly origin: "flag" | "environment" | "file";
  /** How a problem names a setting of this source: `--listen`, `OPENPOOL_LISTEN`, `listen in pool.yaml`. */
  label(name: string): string;
  readonly values: ReadonlyMap<string, string>;
}

export interface OptionProblem {
  /** The setting, as its source names it. */
  readonly where: string;
  readonly problem: string;
}

/** A setting in force and where it came from. */
export interface OptionInForce {
  readonly option: Option<unknown>;
  /** As a user would write it; undefined: not set. */
  readonly text: string | undefined;
  readonly origin: OptionSource["origin"] | "default";
  /** The label of its source. */
  readonly from: string;
}

export interface ResolvedOptions<D extends OptionDefinitions> {
  /** Empty: everything could be understood. Otherwise what could not has its default below. */
  readonly problems: readonly OptionProblem[];
  readonly values: OptionValues<D>;
  readonly inForce: { readonly [K in keyof D]: OptionInForce };
}

/**
 * Settles every setting from the sources, the first that has one wins, and otherwise its default. All problems are
 * found at once, those of unknown names with the nearest known one.
 */
export function resolveOptions<D extends OptionDefinitions>(
  definitions: D,
  sources: readonly OptionSource[],
): ResolvedOptions<D> {
  const problems: OptionProblem[] = [];
  const values: Record<string, unknown> = {};
  const inForce: Record<string, OptionInForce> = {};
  const names = Object.values(definitions).map((one) => one.name);
  for (const source of sources) {
    for (const name of source.values.keys()) {
      if (!names.includes(name))
        problems.push({ where: source.label(name), problem: unknownName(name, source, names) });
    }
  }
  for (const [key, one] of Object.entries(definitions)) {
    const source = sources.find((candidate) => candidate.values.has(one.name));
    const text = source ? source.values.get(one.name) : one.default;
    const from = source ? source.label(one.name) : "default";
    inForce[key] = { option: one, text, origin: source?.origin ?? "default", from };
    if (text === undefined) continue;
    const value = one.kind.parse(text);
    if (value instanceof BadValue) {
      const shown = one.show ? one.show(text) : text;
      problems.push({ where: from, problem: `${JSON.stringify(shown)} ${value.problem}` });
      if (one.default !== undefined) values[key] = one.kind.parse(one.default);
    } else {
      values[key] = value;
    }
  }
  // Every key of D was filled from its own definition just above.
  return { problems, values: values as OptionValues<D>, inForce: inForce as { [K in keyof D]: OptionInForce } };
}

function unknownName(name: string, source: OptionSource, names: readonly string[]): string {
  const close = nearest(name, names);
  return `is not a setting${close === undefined ? "" : `; did you mean ${source.label(close)}?`}`;
}
