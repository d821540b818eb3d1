import type { Server } from "node:http";
import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import { jsonSchemaTransform } from "fastify-type-provider-zod";
import { escapeHtml } from "./escape-html.ts";
import { examples } from "./examples.gen.ts";
import type { PoolFacts } from "./ports.ts";

const INTRODUCTION = `Everything that the pages of this pool show. Reading needs no account and no key. What a worker may change about itself it
changes with the signature of its own wallet (\`settings\`).

- Amounts are wei and pixels are counts, both as decimal strings: JSON numbers round. Times are RFC 3339 in UTC.
- Numbers of what goes on now come from memory and say how old they are (\`asOf\`, \`ageMs\`); sums come from the books.
- Lists have \`items\` and \`next\`; give \`next\` back as \`cursor\` to read on.
- Answers have an \`ETag\`; send it as \`If-None-Match\` and an unchanged answer costs nothing.
- Errors are \`application/problem+json\` (RFC 9457) with a stable \`code\`.
- Within /v1 a field is never renamed or removed; new ones may come.`;

/** An OpenAPI document as far as it is read here. */
interface Document {
  readonly paths?: Record<string, Record<string, Operation>>;
}
interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly requestBody?: { content?: Record<string, { schema?: unknown }> };
  readonly tags?: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly schema?: Record<string, unknown>;
  }[];
  responses?: Record<string, { content?: Record<string, { schema?: unknown; examples?: unknown }> }>;
}

/** `/v1/openapi.json` of all routes that are added afterwards, and `/v1/docs`: the same for people. */
export async function describeApi(app: FastifyInstance<Server>, facts: PoolFacts): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: `${facts.identity.name}: public API`,
        version: "1",
        description: INTRODUCTION,
        license: { name: "MIT", identifier: "MIT" },
      },
      tags: [
        { name: "pool", description: "The pool as a whole" },
        { name: "workers", description: "Lists of workers and rigs" },
        { name: "worker", description: "One worker" },
        { name: "payouts", description: "Payout runs" },
        { name: "settings", description: "What a worker may change, signed in with its wallet" },
        { name: "alerts", description: "Being told, without an account" },
        { name: "events", description: "What happens, as it happens" },
        { name: "errors", description: "What can go wrong" },
      ],
    },
    transform: jsonSchemaTransform,
  });
  let document: Document | undefined;
  const described = (): Document => {
    document ??= withExamples(withProblems(app.swagger() as unknown as Document));
    return document;
  };
  let json: string | undefined;
  let page: string | undefined;
  const hidden = { schema: { hide: true } };
  app.get("/v1/openapi.json", hidden, (_request, reply) => {
    json ??= `${JSON.stringify(described(), undefined, 2)}\n`;
    return reply.type("application/json; charset=utf-8").send(json);
  });
  app.get("/v1/docs", hidden, (_request, reply) => {
    page ??= pageOf(described(), facts.identity.name);
    return reply.type("text/html; charset=utf-8").send(page);
  });
}

type Example = (typeof examples)[number];
const methodOf = ({ method = "GET" }: Example): string => method;
const examplesOf = (method: string, path: string): readonly Example[] =>
  examples.filter((one) => one.route === path && methodOf(one) === method.toUpperCase());
/** What was asked, as a line. */
const requestOf = (one: Example): string =>
  `${methodOf(one)} ${one.url}${one.sent === undefined ? "" : ` ${JSON.stringify(one.sent)}`}`;

/** Whatever a route answers with, its errors are of RFC 9457: the descriptions of routes have one media type for all answers. */
function withProblems(document: Document): Document {
  for (const operation of Object.values(document.paths ?? {}).flatMap((one) => Object.values(one))) {
    for (const [status, response] of Object.entries(operation.responses ?? {})) {
      const [media] = Object.values(response.content ?? {});
      if (media && Number(status) >= 400) response.content = { "application/problem+json": media };
    }
  }
  return document;
}

/** Adds to each operation what it answered in a test: the request as its name, the answer as its value. */
function withExamples(document: Document): Document {
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(operations)) {
      for (const example of examplesOf(method, path)) {
        const content = operation.responses?.[String(example.status)]?.content;
        for (const media of Object.values(content ?? {})) {
          media.examples = {
            ...(media.examples as object | undefined),
            [example.name]: { summary: requestOf(example), value: example.body },
          };
        }
      }
    }
  }
  return document;
}

/** The description as one page without a script: a table of contents, then every route with its parameters and examples. */
function pageOf(document: Document, name: string): string {
  const sections: string[] = [];
  const contents: string[] = [];
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    for (const [name, operation] of Object.entries(operations)) {
      const method = name.toUpperCase();
      const id = `${name} ${path}`.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "");
      const title = `${method} ${escapeHtml(path)}`;
      contents.push(`<li><a href="#${id}"><code>${title}</code></a> ${escapeHtml(operation.summary ?? "")}</li>`);
      const parameters = (operation.parameters ?? []).map((one) => {
        const { schema = {} } = one;
        const values = Array.isArray(schema["enum"]) ? schema["enum"].join(", ") : String(schema["type"] ?? "");
        const usual = schema["default"] === undefined ? "" : `; ${String(schema["default"])} when absent`;
        return `<tr><td><code>${escapeHtml(one.name)}</code>${one.required ? " (needed)" : ""}</td><td>${escapeHtml(values + usual)}</td><td>${escapeHtml(String(one.description ?? schema["description"] ?? ""))}</td></tr>`;
      });
      const shown = examplesOf(method, path).map(
        (one) =>
          `<details><summary><code>${escapeHtml(requestOf(one))}</code> → ${one.status}</summary><pre>${escapeHtml(
            typeof one.body === "string" ? one.body : JSON.stringify(one.body, undefined, 2),
          )}</pre></details>`,
      );
      sections.push(`<section id="${id}"><h2><code>${title}</code></h2><p>${escapeHtml(operation.summary ?? "")}.</p>
${operation.description === undefined ? "" : `<p>${escapeHtml(operation.description)}</p>`}
${parameters.length === 0 ? "" : `<table><tr><th>parameter</th><th>value</th><th>means</th></tr>${parameters.join("")}</table>`}
${shown.join("")}
${fieldsOf("Fields of what is sent", operation.requestBody?.content)}
${fieldsOf("Fields of the answer", (operation.responses?.["200"] ?? operation.responses?.["202"])?.content)}</section>`);
    }
  }
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(name)}: API</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
pre{overflow:auto;border:1px solid #8886;padding:.75rem;font-size:13px}code{font-size:.92em;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;border-top:1px solid #8886;padding:.3rem .8rem .3rem 0}
section{margin-top:2.5rem}h2{font-size:1.1rem}summary{cursor:pointer}
</style><main><h1>${escapeHtml(name)}: API</h1>
<p>The same for programs: <a href="/v1/openapi.json"><code>/v1/openapi.json</code></a> (OpenAPI 3.1).</p>
${INTRODUCTION.split("\n\n")
  .map((part) =>
    part.startsWith("- ")
      ? `<ul>${part
          .split("\n")
          .map((line) => `<li>${escapeHtml(line.slice(2)).replace(/`([^`]+)`/g, "<code>$1</code>")}</li>`)
          .join("")}</ul>`
      : `<p>${escapeHtml(part)}</p>`,
  )
  .join("")}
<h2>Routes</h2><ul>${contents.join("")}</ul>${sections.join("")}</main></html>
`;
}

interface Field {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Record<string, Field>;
  readonly items?: Field;
  readonly anyOf?: readonly Field[];
  readonly enum?: readonly unknown[];
}

/** The fields of what is sent or answered, with what they mean. */
function fieldsOf(title: string, content: Record<string, { schema?: unknown }> | undefined): string {
  const schema = content?.["application/json"]?.schema as Field | undefined;
  if (schema === undefined) return "";
  const rows: string[] = [];
  const walk = (field: Field, path: string, depth: number): void => {
    if (depth > 5) return;
    for (const branch of field.anyOf ?? []) walk(branch, path, depth + 1);
    if (field.items) walk(field.items, `${path}[]`, depth + 1);
    for (const [name, inner] of Object.entries(field.properties ?? {})) {
      const where = path === "" ? name : `${path}.${name}`;
      const type = inner.enum ? inner.enum.map(String).join(", ") : typeOf(inner);
      rows.push(
        `<tr><td><code>${escapeHtml(where)}</code></td><td>${escapeHtml(type)}</td><td>${escapeHtml(inner.description ?? "")}</td></tr>`,
      );
      walk(inner, where, depth + 1);
    }
  };
  walk(schema, "", 0);
  if (rows.length === 0) return "";
  return `<details><summary>${title}</summary><table><tr><th>field</th><th>type</th><th>means</th></tr>${rows.join("")}</table></details>`;
}

function typeOf(field: Field): string {
  if (field.anyOf) return field.anyOf.map(typeOf).join(" or ");
  return String(field.type ?? "");
}
