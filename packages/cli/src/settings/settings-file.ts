import { readFileSync } from "node:fs";
import { errorText, type OptionProblem } from "@openpool/base";
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Scalar } from "yaml";

export interface SettingsFile {
  /** Name to the text as it stands in the file, so that no number loses a digit on the way. */
  readonly values: ReadonlyMap<string, string>;
  readonly problems: readonly OptionProblem[];
}

/** Reads a YAML file with one setting a line: `name: value`, or a list of values. */
export function readSettingsFile(path: string): SettingsFile {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    return { values: new Map(), problems: [{ where: "--config", problem: `cannot be read: ${errorText(error)}` }] };
  }
  return parseSettings(content, path);
}

export function parseSettings(content: string, path: string): SettingsFile {
  const values = new Map<string, string>();
  const problems: OptionProblem[] = [];
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number | undefined): string => `${path} line ${lines.linePos(offset ?? 0).line}`;
  for (const error of document.errors) problems.push({ where: at(error.pos[0]), problem: error.message });
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null) || problems.length > 0) return { values, problems };
  if (!isMap(root)) {
    return {
      values,
      problems: [{ where: at(root.range?.[0]), problem: "is not a list of settings like `listen: 0.0.0.0:8935`" }],
    };
  }
  for (const { key, value } of root.items) {
    if (!isScalar(key)) continue;
    const name = textOf(key) ?? "";
    const where = at(key.range?.[0]);
    if (isSeq(value)) {
      const texts = value.items.map((item) => (isScalar(item) ? textOf(item) : undefined));
      if (texts.some((text) => text === undefined))
        problems.push({ where, problem: `${name} holds more than plain values` });
      else values.set(name, texts.join(","));
    } else if (isScalar(value)) {
      const text = textOf(value);
      if (text === undefined)
        problems.push({ where, problem: `${name} has no value; leave the line out for the default` });
      else values.set(name, text);
    } else {
      problems.push({ where, problem: `${name} must be one value or a list of values` });
    }
  }
  return { values, problems };
}

/** A plain scalar as written, a quoted one without its quotes. */
function textOf(scalar: Scalar): string | undefined {
  if (scalar.value === null || scalar.value === undefined) return undefined;
  if (typeof scalar.value === "string") return scalar.value;
  return scalar.source ?? String(scalar.value);
}
