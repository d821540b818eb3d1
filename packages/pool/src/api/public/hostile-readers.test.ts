import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@openpool/base";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { StatementPage, StatementRow } from "../../store/ledger-store.ts";
import { ada, bob, openWorld, type World } from "./testing/world.ts";

vi.setConfig({ testTimeout: 60_000 });
const SECRET = "nobody may read this";

/** A test makes it short for the readers that it lets stand still. */
const files = { perAddress: 2, inAll: 3, idleMs: 60_000 };
let dir: string;
let world: World;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-hostile-"));
  await mkdir(join(dir, "pages", "assets"), { recursive: true });
  await writeFile(join(dir, "secret.txt"), SECRET);
  await writeFile(join(dir, "pages", "index.html"), "<!doctype html><title>pages</title>");
  await writeFile(join(dir, "pages", "assets", "main-abc.js"), "export {};");
  const limits = { requestsPerMinute: 1e6, statementsPerMinute: 1e6, streamsPerAddress: 2, files };
  world = await openWorld({ dashboardDir: join(dir, "pages"), ...limits }, {}, systemClock);
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

function dial(): Socket {
  const socket = connect(Number(new URL(world.api.url).port), "127.0.0.1");
  socket.on("error", () => {});
  return socket;
}

/** Sends bytes as they are, which no client would, and reads until the other side hangs up. */
async function raw(request: string): Promise<{ readonly status: number; readonly text: string }> {
  const socket = dial();
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  socket.write(request);
  if (!socket.closed) await new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text };
}
const get = (path: string, headers = ""): ReturnType<typeof raw> =>
  raw(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${headers}\r\n`);
/** The pool is as well as before. */
const serves = async (): Promise<void> => expect((await get("/v1/terms")).status).toBe(200);

test.each([
  "/../secret.txt",
  "/assets/../../secret.txt",
  "/assets/%2e%2e/%2e%2e/secret.txt",
  "/assets/..%2f..%2fsecret.txt",
  "/assets/..%5c..%5csecret.txt",
  "/assets/....//....//secret.txt",
  "/assets/%252e%252e/%252e%252e/secret.txt",
  "//secret.txt",
  "/assets//../../secret.txt",
  "/assets/main-abc.js%00/../../../secret.txt",
  "/%c0%ae%c0%ae/secret.txt",
  "/v1/../../secret.txt",
  "/v1/workers/..%2f..%2f..%2fsecret.txt",
  `/v1/workers/${ada}/rigs/..%2f..%2fsecret.txt`,
  "http://localhost/../secret.txt",
  "file:///etc/passwd",
])("no file but the pages' own is read by %s", async (path) => {
  const { status, text } = await get(path);
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain("root:");
  expect(status).toBeGreaterThanOrEqual(200);
  expect(status).toBeLessThan(500);
});

test("questions without end are refused before they are understood", async () => {
  const long = "a".repeat(100_000);
  const many = `state=online&`.repeat(5_000);
  for (const answer of [
    await get(`/v1/workers?search=${long}`),
    await get(`/v1/workers?${many}`),
    await get("/v1/terms", `x-padding: ${long}\r\n`),
    await get("/v1/terms", `${"x: y\r\n".repeat(20_000)}`),
  ]) {
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.text.length).toBeLessThan(10_000);
  }
  const post = (body: string): ReturnType<typeof raw> =>
    raw(
      `POST /v1/alerts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  const deep = `{"worker":${"[".repeat(20_000)}${"]".repeat(20_000)}}`;
  for (const body of [deep, `{"worker":"${long}"}`, '{"__proto__":{"admin":true}}', "{", "null"]) {
    const { status } = await post(body);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  }
  const large = await fetch(`${world.api.url}/v1/alerts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: long.repeat(100),
  });
  expect(large.status).toBe(400);
  await serves();
});

/** What stands for a parameter of a path where another one is tried. */
const usual: Readonly<Record<string, string>> = { address: ada, name: "rig1", id: "1" };
const injections = [
  "'",
  "' or '1'='1",
  "'; drop table openpool.events; --",
  '"',
  "\\",
  "\\' or 1=1 --",
  "%",
  "_",
  "/*",
  "$1",
  "\0",
  "nobody\0' --",
  "' || pg_sleep(9) --",
  "9".repeat(30),
  "-1",
  "1e309",
  "NaN",
];

test("no parameter of any route gets into what the database is asked", async () => {
  await world.work(ada, "rig1", 13_824_123n);
  await world.work(bob, "big", 27_648_321n);
  await world.rollups.catchUp();
  const secrets = [ada, bob, "019aa5b2-", "13824123", "27648321"];
  const { body } = await world.get("/v1/openapi.json");
  const { paths } = body as {
    paths: Record<string, Record<string, { parameters?: { name: string; in: string; schema?: { enum?: unknown } }[] }>>;
  };
  const ask = async (method: string, url: string): Promise<void> => {
    let answer: Response;
    let again = 0;
    do {
      if (again > 0) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(again++, `${method} ${url} finds no place`).toBeLessThan(500);
      answer = await fetch(`${world.api.url}${url}`, { method: method.toUpperCase() });
      // A stream that ended a moment ago may still have its place.
    } while (answer.status === 429);
    const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream") === true;
    const text = isStream ? "" : await answer.text();
    if (isStream) await answer.body?.cancel();
    const leaks = answer.status === 200 ? secrets.filter((secret) => text.includes(secret)) : [];
    expect([method, url, answer.status >= 200 && answer.status < 500, leaks]).toEqual([method, url, true, []]);
  };
  let tried = 0;
  for (const [path, operations] of Object.entries(paths)) {
    const filled = (tried: string, value: string): string =>
      path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
        encodeURIComponent(name === tried ? value : (usual[name] ?? "")),
      );
    for (const [method, { parameters = [] }] of Object.entries(operations)) {
      for (const { name, in: place, schema } of parameters) {
        // Who is not signed in gets nowhere near what a change would look up.
        if (place !== "query" && !(place === "path" && method === "get")) continue;
        // Of one worker, also what is right for another.
        const others = path.includes("{address}") && name === "rig" ? ["big"] : [];
        // What has to be one of a few words is compared with those, whatever it is.
        const values = schema?.enum ? injections.slice(0, 3) : [...injections, ...others];
        for (const value of values) {
          const query = `?${name}=${encodeURIComponent(value)}`;
          await ask(method, place === "path" ? filled(name, value) : `${filled("", "")}${query}`);
        }
        if (place === "query") await ask(method, `${filled("", "")}?${name}=x&${name}=y`);
        tried++;
      }
    }
  }
  expect(tried).toBeGreaterThan(50);
  expect((await world.store.events({ limit: 10 })).length).toBeGreaterThan(1);
  await serves();
}, 180_000);

test("a reader of events that takes nothing is cut off, and holds neither its place nor memory; others read on", async () => {
  const slow = dial();
  slow.write("GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await once(slow, "data");
  slow.pause();
  const end = new AbortController();
  const good = await fetch(`${world.api.url}/v1/events`, { signal: end.signal });
  let read = 0;
  const reading = (async () => {
    for await (const chunk of good.body!) read += chunk.length;
  })().catch(() => {});
  const ask = async (method = "GET"): Promise<Response> => {
    const answer = await fetch(`${world.api.url}/v1/events`, { method });
    await answer.body?.cancel();
    return answer;
  };
  const status = async (): Promise<number> => (await ask()).status;
  const refused = await ask();
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "10"]);
  // The headers alone take nobody's place, and end.
  const head = await ask("HEAD");
  expect([head.status, head.headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"]);

  // More than a reader may leave lying here, and than systems hold on the way.
  const EVENTS = 100;
  const banned = "x".repeat(100_000);
  const one = { type: "worker.changed", worker: ada, data: { banned, by: "operator" } };
  const told = EVENTS * banned.length;
  for (let i = 10; i <= EVENTS; i += 10) {
    await world.store.append(Array.from({ length: 10 }, () => one));
    // Who reads is never far behind, however slow the machine.
    await expect.poll(() => read, { timeout: 30_000 }).toBeGreaterThan(i * banned.length);
  }
  await expect.poll(status, { timeout: 30_000 }).toBe(200);
  let late = 0;
  slow.on("data", (chunk: Buffer) => (late += chunk.length)).resume();
  await once(slow, "close");
  expect(late).toBeLessThan(told);
  end.abort();
  await reading;
  await serves();
});

/** Puts a statement in place that has so many pages of 500 rows, or no end; answers how many were asked for. */
function statementOf(pageCount: number, fault?: string): { asked: number } {
  const count = { asked: 0 };
  const row = {
    atMs: 0,
    kind: "credit",
    amountWei: 1n,
    state: "owed",
    termsVersion: 1,
    entry: "e",
    scheme: "unit",
  } as unknown as StatementRow;
  Object.assign(world.port.books!, {
    async statement(_: string, __: object, cursor: string | undefined): Promise<StatementPage> {
      const page = Number(cursor ?? 0) + 1;
      count.asked++;
      if (page > pageCount && fault !== undefined) throw new Error(fault);
      const rows = Array.from({ length: 500 }, (_one, i) => ({ ...row, id: `${page}-${i}-${"x".repeat(50)}` }));
      return { rows, next: page < pageCount || fault !== undefined ? String(page) : undefined };
    },
  });
  return count;
}
const STATEMENT = `/v1/workers/${ada}/statements.csv`;

test("a file is whole however long it is, and one that cannot be read to its end breaks off for all to see", async () => {
  statementOf(40);
  const whole = await (await fetch(`${world.api.url}${STATEMENT}`)).text();
  expect(new Set(whole.trimEnd().split("\r\n")).size).toBe(1 + 40 * 500);
  statementOf(3, "the database is away");
  await expect(fetch(`${world.api.url}${STATEMENT}`).then((answer) => answer.text())).rejects.toThrow();
  const refused = statementOf(0, "the database is away");
  expect((await fetch(`${world.api.url}${STATEMENT}`)).status).toBe(500);
  expect(refused.asked).toBe(1);
});

test("one address has so many files at once, and who takes nothing of one leaves its place to the next", async () => {
  const endless = statementOf(Infinity);
  const ask = (method = "GET", signal?: AbortSignal): Promise<Response> =>
    fetch(`${world.api.url}${STATEMENT}`, { method, ...(signal && { signal }) });
  const end = new AbortController();
  const readers = [await ask("GET", end.signal), await ask("GET", end.signal)].map(async ({ body }) => {
    for await (const _chunk of body!) if (end.signal.aborted) return;
  });
  const refused = await ask();
  expect(refused.headers.get("retry-after")).toBe("10");
  expect(await refused.json()).toMatchObject({ status: 429, code: "api/too-many-files" });
  end.abort();
  await Promise.allSettled(readers);
  const isFree = (): Promise<void> =>
    expect.poll(async () => (await ask("HEAD")).status, { timeout: 30_000 }).toBe(200);
  await isFree();

  files.idleMs = 300;
  const slow = [dial(), dial()];
  for (const one of slow) {
    one.write(`GET ${STATEMENT} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    await once(one, "data");
    one.pause();
  }
  files.idleMs = 60_000;
  await isFree();
  // Nothing more is read for those that were cut off, nor for who asks for the headers alone.
  const rests = async (): Promise<number> => {
    const before = endless.asked;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return endless.asked - before;
  };
  await expect.poll(rests, { timeout: 30_000 }).toBe(0);
  for (const one of slow) one.destroy();
  statementOf(1);
  await serves();
});
