import http from "node:http";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createBodyMemory } from "../bodies/body-memory.ts";
import { fetchSource } from "./fetch-source.ts";

let server: http.Server;
let port: number;
let asked = 0;

beforeAll(async () => {
  server = http.createServer((request, response) => {
    asked++;
    if (request.url === "/source") return void response.end("the source");
    if (request.url === "/short") {
      response.writeHead(200, { "content-length": 100 });
      response.write("only this");
      return void setImmediate(() => response.destroy());
    }
    if (request.url === "/large") return void response.writeHead(200, { "content-length": 300_000_001 }).write("x");
    if (request.url === "/elsewhere") return void response.writeHead(302, { location: "/source" }).end();
    // Anything else never comes.
    response.writeHead(200, { "content-length": 1_000_000 });
    response.write("x");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const memory = createBodyMemory(1 << 26);
const never = new AbortController().signal;

async function fetched(
  url: string | Readable,
  signal = never,
  allowed = ["127.0.0.1", "localhost"],
  from = memory,
): Promise<string | { readonly failure: string }> {
  const source = typeof url === "string" ? Readable.from([Buffer.from(url)]) : url;
  const body = await fetchSource(source, from, { signal, onChunk: () => {}, allowedHosts: new Set(allowed) });
  if (typeof body === "string") return { failure: body };
  const text = Buffer.from(body.bytes).toString();
  body.release();
  return text;
}

test("a private host that the operator allows may hold a source, by name or with its port", async () => {
  expect(await fetched(`http://127.0.0.1:${port}/source`)).toBe("the source");
  expect(await fetched(` http://LOCALHOST:${port}/source\n`)).toBe("the source");
  expect(await fetched(`http://127.0.0.1:${port}/source`, never, [`127.0.0.1:${port}`])).toBe("the source");
  expect(await fetched(`http://127.0.0.1:${port}/source`, never, ["127.0.0.1:1"])).toEqual({ failure: "unusable" });
  expect(memory.bytesInUse).toBe(0);
});

test("a gateway cannot make the pool ask its own network, whatever it calls it", async () => {
  const before = asked;
  for (const host of [
    "127.0.0.1",
    "localhost",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.0.1",
    "[fd00::1]",
  ]) {
    expect(await fetched(`http://${host}:${port}/source`, never, []), host).toEqual({ failure: "unusable" });
  }
  expect(asked).toBe(before);
});

test.each([
  ["no URL", "not a url"],
  ["a file", "file:///etc/passwd"],
  ["another protocol", "ftp://127.0.0.1/x"],
  ["10 KB", `http://127.0.0.1/${"x".repeat(10_000)}`],
  ["a port that nobody listens on", "http://127.0.0.1:1/"],
  ["nothing", ""],
])("%s is no source", async (_, url) => {
  expect(await fetched(url)).toEqual({ failure: "unusable" });
});

test("a source that breaks off, leads elsewhere or never comes is none, and leaves no memory behind", async () => {
  expect(await fetched(`http://127.0.0.1:${port}/short`)).toEqual({ failure: "unusable" });
  expect(await fetched(`http://127.0.0.1:${port}/elsewhere`)).toEqual({ failure: "unusable" });
  const impatient = new AbortController();
  const waiting = fetched(`http://127.0.0.1:${port}/never`, impatient.signal);
  const before = asked;
  while (asked === before) await new Promise((resolve) => setImmediate(resolve));
  impatient.abort();
  expect(await waiting).toEqual({ failure: "incomplete" });
  expect(memory.bytesInUse).toBe(0);
});

test("a URL that does not come to its end is not waited for, nor is its connection touched", async () => {
  const trickle = new PassThrough();
  trickle.write("https://");
  const impatient = new AbortController();
  const waiting = fetched(trickle, impatient.signal);
  impatient.abort();
  expect(await waiting).toEqual({ failure: "incomplete" });
  expect(trickle.destroyed).toBe(false);
});

test("a source that is too large, or for which there is no memory in time, is told apart from one that is none", async () => {
  expect(await fetched(`http://127.0.0.1:${port}/large`)).toEqual({ failure: "too-large" });
  const full = createBodyMemory(1 << 20);
  const taken = await full.take("source", 1 << 20, never);
  const impatient = new AbortController();
  const before = asked;
  const waiting = fetched(`http://127.0.0.1:${port}/source`, impatient.signal, undefined, full);
  while (asked === before) await new Promise((resolve) => setImmediate(resolve));
  // Its answer has come when the next one's has.
  await fetch(`http://127.0.0.1:${port}/source`).then((answer) => answer.text());
  impatient.abort();
  expect(await waiting).toEqual({ failure: "no-memory" });
  full.release(taken!);
  expect(full.bytesInUse).toBe(0);
});
