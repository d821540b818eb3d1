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

async function fetched(url: string | Readable, peer: string, signal = never): Promise<string | undefined> {
  const source = typeof url === "string" ? Readable.from([Buffer.from(url)]) : url;
  const body = await fetchSource(source, memory, { signal, onChunk: () => {}, peer });
  if (!body) return undefined;
  const text = Buffer.from(body.bytes).toString();
  body.release();
  return text;
}

test("a gateway on this machine may name a source on this machine", async () => {
  expect(await fetched(`http://127.0.0.1:${port}/source`, "127.0.0.1")).toBe("the source");
  expect(await fetched(` http://localhost:${port}/source\n`, "::ffff:10.0.0.1")).toBe("the source");
  expect(memory.bytesInUse).toBe(0);
});

test("a gateway from the internet cannot make the pool ask its own network, whatever it calls it", async () => {
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
    expect(await fetched(`http://${host}:${port}/source`, "8.8.8.8"), host).toBeUndefined();
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
  expect(await fetched(url, "127.0.0.1")).toBeUndefined();
});

test("a source that breaks off, leads elsewhere or never comes is none, and leaves no memory behind", async () => {
  expect(await fetched(`http://127.0.0.1:${port}/short`, "127.0.0.1")).toBeUndefined();
  expect(await fetched(`http://127.0.0.1:${port}/elsewhere`, "127.0.0.1")).toBeUndefined();
  const impatient = new AbortController();
  const waiting = fetched(`http://127.0.0.1:${port}/never`, "127.0.0.1", impatient.signal);
  const before = asked;
  while (asked === before) await new Promise((resolve) => setImmediate(resolve));
  impatient.abort();
  expect(await waiting).toBeUndefined();
  expect(memory.bytesInUse).toBe(0);
});

test("a URL that does not come to its end is not waited for, nor is its connection touched", async () => {
  const trickle = new PassThrough();
  trickle.write("https://");
  const impatient = new AbortController();
  const waiting = fetched(trickle, "127.0.0.1", impatient.signal);
  impatient.abort();
  expect(await waiting).toBeUndefined();
  expect(trickle.destroyed).toBe(false);
});
