import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openWorld } from "./testing/world.ts";

/** What v1 has ever promised, one line each; what is new is added by `vitest -u`, and nothing ever leaves it. */
const FROZEN = join(import.meta.dirname, "api-v1.txt");

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
}
type Content = Record<string, { readonly schema?: Schema }>;
interface Operation {
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: Schema;
  }[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Record<string, { readonly content?: Content }>;
}

const LIMITS = [
  ["minimum", "at least", ""],
  ["maximum", "at most", ""],
  ["minLength", "at least", " characters"],
  ["maxLength", "at most", " characters"],
  ["minItems", "at least", " items"],
  ["maxItems", "at most", " items"],
] as const;

/** What a number, a text or a list may be; that whole numbers are safe ones is no limit of ours. */
function* limits(schema: Schema, where: string): Generator<string> {
  for (const [name, words, of] of LIMITS) {
    const limit = schema[name];
    if (limit !== undefined && Math.abs(limit) !== Number.MAX_SAFE_INTEGER) yield `${where} is ${words} ${limit}${of}`;
  }
  if (schema.pattern !== undefined) yield `${where} matches ${schema.pattern}`;
}

/** The fields of what is sent or answered, with their types, words and limits; what may be null has that type too. */
function* fields(schema: Schema, where: string): Generator<string> {
  for (const branch of schema.anyOf ?? []) yield* fields(branch, where);
  for (const value of schema.enum ?? (schema.const === undefined ? [] : [schema.const])) {
    yield `${where} = ${JSON.stringify(value)}`;
  }
  for (const type of [schema.type ?? []].flat()) yield `${where}: ${type}`;
  yield* limits(schema, where);
  if (schema.items) yield* fields(schema.items, `${where}[]`);
  if (typeof schema.additionalProperties === "object") yield* fields(schema.additionalProperties, `${where}.*`);
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    if (schema.required?.includes(name)) yield `${where}.${name} is always there`;
    yield* fields(inner, `${where}.${name}`);
  }
}

function* promisesOf(route: string, operation: Operation): Generator<string> {
  for (const { name, in: place, required, schema = {} } of operation.parameters ?? []) {
    yield `${route} takes ${place} ${name}, ${required ? "needed" : "may be left out"}`;
    yield* fields(schema, `${route} takes ${place} ${name}`);
  }
  for (const { schema = {} } of Object.values(operation.requestBody?.content ?? {})) {
    // What has to be sent is no promise but a demand: a new one would refuse who does not know of it.
    for (const line of fields(schema, `${route} takes body`)) yield line.replace(/ is always there$/, ", needed");
  }
  for (const [status, { content = {} }] of Object.entries(operation.responses ?? {})) {
    for (const [media, { schema = {} }] of Object.entries(content)) {
      yield `${route} answers ${status} as ${media}`;
      // Errors are all alike.
      if (status.startsWith("2")) yield* fields(schema, `${route} answers ${status} `);
    }
  }
}

const LIMIT = /^(.* takes .*) is at (least|most) (-?\d+)( characters| items)?$/;

/** Whether what may be sent, by a line of the one, may still be sent by the other. */
function allows(lines: ReadonlySet<string>, line: string): boolean {
  const [, where, bound, limit, of = ""] = LIMIT.exec(line) ?? [];
  if (where === undefined) return lines.has(line);
  for (const other of lines) {
    if (!other.startsWith(`${where} is at ${bound} `) || !other.endsWith(of)) continue;
    const [, , , now] = LIMIT.exec(other) ?? [];
    return bound === "most" ? Number(now) >= Number(limit) : Number(now) <= Number(limit);
  }
  return true;
}

test("a limit of what is sent may be widened or lifted, and not be drawn closer", () => {
  const takes = (words: string): string => `GET /v1/rigs takes query limit${words}`;
  for (const [now, allowed] of [
    [" is at most 500", true],
    [" is at most 501", true],
    [" is at most 499", false],
    [": integer", true],
  ] as const) {
    expect(allows(new Set([takes(now)]), takes(" is at most 500")), now).toBe(allowed);
  }
});

test("within v1 nothing is renamed or taken away, and nobody has to send what it did not have to", async () => {
  await using world = await openWorld();
  const { body } = await world.get("/v1/openapi.json");
  const { paths } = body as { readonly paths: Record<string, Record<string, Operation>> };
  const promised = new Set<string>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      for (const line of promisesOf(`${method.toUpperCase()} ${path}`, operation)) promised.add(line);
    }
  }
  const frozen = readFileSync(FROZEN, "utf8").split("\n").filter(Boolean);
  expect(frozen.filter((line) => !allows(promised, line))).toEqual([]);
  const routes = new Set(frozen.map((line) => line.split(" ", 2).join(" ")));
  const demands = [...promised].filter(
    (line) => line.endsWith(", needed") && routes.has(line.split(" ", 2).join(" ")) && !frozen.includes(line),
  );
  expect(demands).toEqual([]);
  const fresh = [...promised].filter((line) => !frozen.includes(line));
  const known = new Set(frozen.map((line) => line.replace(/: \w+$/, "")));
  const newlyNull = fresh.filter((line) => / answers .*: null$/.test(line) && known.has(line.replace(/: null$/, "")));
  expect(newlyNull).toEqual([]);
  const newlyLimited = fresh.filter((line) => {
    const [begin, where = ""] = /^(.* takes .*) (?:is at (?:least|most)|matches) /.exec(line) ?? [];
    return begin !== undefined && known.has(where) && !frozen.some((one) => one.startsWith(begin));
  });
  expect(newlyLimited).toEqual([]);
  await expect(`${[...new Set([...frozen, ...promised])].toSorted().join("\n")}\n`).toMatchFileSnapshot(FROZEN);
});
