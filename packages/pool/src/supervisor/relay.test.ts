import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { silentLogger } from "@openpool/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { exchangeOfRequest, exchangeOfStream } from "../front/exchange.ts";
import { openRelay, type Relay, relayExchange, type RelayOutcome, relaySocket, removeDeadSockets } from "./relay.ts";

let runDir: string;
let cleanup: (() => unknown)[];
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), "openpool-relay-"));
  cleanup = [() => rmSync(runDir, { recursive: true })];
});
afterEach(async () => {
  for (const step of cleanup.reverse()) await step();
});

async function relayOf(
  generation: number,
  handler?: (request: IncomingMessage, response: ServerResponse, peer: string) => void,
): Promise<Relay> {
  const relay = await openRelay({ runDir, generation }, { logger: silentLogger });
  cleanup.push(() => relay[Symbol.asyncDispose]());
  if (handler) relay.serve(handler);
  return relay;
}

const get = (path: string) => ({ method: "GET", path, headers: {}, peer: "192.0.2.1" });

function answered(outcome: RelayOutcome): RelayOutcome & { kind: "answered" } {
  expect(outcome.kind).toBe("answered");
  return outcome as RelayOutcome & { kind: "answered" };
}

/** A sibling in a process of its own, to be killed: it sends headers and one byte, and then nothing. */
async function siblingProcess(generation: number): Promise<() => Promise<void>> {
  const script = `require("http").createServer((q, s) => { s.writeHead(200, {"content-length": 10}); s.write("x"); })
    .listen(${JSON.stringify(relaySocket(runDir, generation))}, () => console.log("up"))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const kill = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  };
  cleanup.push(() => child.kill("SIGKILL"));
  return kill;
}

test("a request arrives with its path, headers, peer and body, and the answer comes back whole", async () => {
  const body = randomBytes(5_000_000);
  await relayOf(7, (request, response, peer) => {
    void buffer(request).then((received) => {
      response.writeHead(207, { "x-answer": "yes", "content-length": received.length });
      response.end(received);
      expect({ path: request.url, method: request.method, peer, task: request.headers["taskid"] }).toEqual({
        path: "/transcodeResults?a=b",
        method: "POST",
        peer: "192.0.2.1",
        task: "42",
      });
      expect(request.headers).not.toHaveProperty("expect");
      // A server that closed at once could do so before the sender's last, empty write, and that would look broken.
      expect(request.headers["connection"]).toBe("keep-alive");
      expect(request.headers["content-length"]).toBe(String(body.length));
    });
  });
  const relay = await relayOf(8);
  const outcome = answered(
    await relay.forward(7, {
      method: "POST",
      path: "/transcodeResults?a=b",
      headers: { taskid: "42", "content-length": body.length, expect: "100-continue", connection: "close" },
      peer: "192.0.2.1",
      body: Readable.from([body.subarray(0, 1_000_000), body.subarray(1_000_000)]),
    }),
  );
  expect(outcome.status).toBe(207);
  expect(outcome.headers["x-answer"]).toBe("yes");
  expect((await buffer(outcome.body)).equals(body)).toBe(true);
});

test("a slow reader holds back the sender instead of filling memory", async () => {
  let sent = 0;
  await relayOf(1, (_request, response) => {
    const source = new Readable({
      read() {
        sent += 65_536;
        this.push(sent > 200 * 1024 * 1024 ? null : Buffer.alloc(65_536));
      },
    });
    source.pipe(response);
  });
  const relay = await relayOf(2);
  const { body } = answered(await relay.forward(1, get("/stream/1/x.ts")));
  await new Promise((resolve) => body.once("readable", resolve));
  // Wait until the sender has come to a stop: two looks in a row that see the same.
  let before = -1;
  await expect
    .poll(() => {
      const still = sent === before;
      before = sent;
      return still;
    })
    .toBe(true);
  expect(sent).toBeLessThan(8 * 1024 * 1024);
  body.destroy();
});

describe("a generation that is not there", () => {
  test("is gone, and the body is left for the caller", async () => {
    const relay = await relayOf(2);
    const body = Readable.from(["all of it"]);
    const outcome = await relay.forward(1, { ...get("/transcodeResults"), method: "POST", body });
    expect(outcome).toEqual({ kind: "gone" });
    expect(await text(body)).toBe("all of it");
  });

  test("is gone although it left its socket, and also over a connection that was kept", async () => {
    const kill = await siblingProcess(1);
    const relay = await relayOf(2);
    const { body } = answered(await relay.forward(1, get("/")));
    const cut = expect(text(body)).rejects.toThrow("aborted");
    await kill();
    await cut;
    expect(await relay.forward(1, get("/"))).toEqual({ kind: "gone" });
    expect(statSync(relaySocket(runDir, 1)).isSocket()).toBe(true);
    await removeDeadSockets(runDir);
    expect(() => statSync(relaySocket(runDir, 1))).toThrow("ENOENT");
    expect(statSync(relaySocket(runDir, 2)).isSocket()).toBe(true);
  });

  test("that ended politely is gone at the next request", async () => {
    const sibling = await relayOf(1, (_request, response) => response.end("ok"));
    const relay = await relayOf(2);
    expect(await text(answered(await relay.forward(1, get("/"))).body)).toBe("ok");
    await sibling[Symbol.asyncDispose]();
    expect(await relay.forward(1, get("/"))).toEqual({ kind: "gone" });
  });
});

test("a client that leaves cuts the sibling's work off", async () => {
  let arrived = (): void => {};
  const arrival = new Promise<void>((resolve) => (arrived = resolve));
  let aborts = (): void => {};
  const aborted = new Promise<void>((resolve) => (aborts = resolve));
  await relayOf(1, (_request, response) => {
    response.once("close", aborts);
    arrived();
  });
  const relay = await relayOf(2);
  const left = new AbortController();
  const body = new PassThrough();
  const outcome = relay.forward(1, { ...get("/segment"), method: "POST", body, signal: left.signal });
  body.write("begun");
  await arrival;
  left.abort();
  expect((await outcome).kind).toBe("broken");
  await aborted;
});

test("a process that nobody has told what to serve says so", async () => {
  await relayOf(1);
  const relay = await relayOf(2);
  expect(answered(await relay.forward(1, get("/"))).status).toBe(503);
});

test("the successor is the newest of those that live and are newer", async () => {
  const relay = await relayOf(5);
  expect(await relay.othersLive()).toBe(false);
  await relayOf(4);
  expect(await relay.othersLive()).toBe(true);
  expect(await relay.findSuccessor()).toBeUndefined();
  await relayOf(6);
  const kill = await siblingProcess(8);
  expect(await relay.findSuccessor()).toBe(8);
  await kill();
  expect(await relay.findSuccessor()).toBe(6);
  expect(relay.successor).toBeUndefined();
  relay.setSuccessor(6);
  expect(relay.successor).toBe(6);
});

describe("a whole exchange", () => {
  async function door(relay: Relay, generation: number): Promise<number> {
    const server = http.createServer((request, response) => {
      void relayExchange(relay, generation, exchangeOfRequest(request, response)).then((outcome) => {
        if (outcome !== "answered") response.writeHead(404).end(outcome);
      });
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    cleanup.push(() => {
      server.close();
      server.closeAllConnections();
    });
    return (server.address() as net.AddressInfo).port;
  }

  test("is handed on with what the doors read, and its answer handed back", async () => {
    await relayOf(1, (request, response) => {
      void buffer(request).then((body) => {
        response.writeHead(201, { "content-type": "video/mp2t" });
        response.end(
          `${request.method} ${request.url} ${request.headers["taskid"]} ${request.headers["cookie"]} ${body.length}`,
        );
      });
    });
    const port = await door(await relayOf(2), 1);
    const answer = await fetch(`http://127.0.0.1:${port}/transcodeResults`, {
      method: "POST",
      headers: { taskid: "9", cookie: "none of our business" },
      body: Buffer.alloc(100_000),
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get("content-type")).toBe("video/mp2t");
    expect(await answer.text()).toBe("POST /transcodeResults 9 undefined 100000");
  });

  test("works the same for a client that speaks h2, with many exchanges at once", async () => {
    await relayOf(1, (request, response) => {
      void buffer(request).then((body) => {
        // As a gateway is answered: headers at once, the rest later.
        response.writeHead(200, { "content-type": "x/y" }).flushHeaders();
        setImmediate(() => response.end(body));
      });
    });
    const relay = await relayOf(2);
    const server = http2.createServer({ maxSessionMemory: 1000 });
    server.on("stream", (stream, headers) => {
      void relayExchange(relay, 1, exchangeOfStream(stream, headers, "192.0.2.1"));
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as net.AddressInfo;
    const client = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000 });
    cleanup.push(() => {
      client.destroy();
      server.close();
    });
    const bodies = Array.from({ length: 60 }, (_, i) => randomBytes((i * 37_123) % 1_000_000));
    const echoed = await Promise.all(
      bodies.map((body) => {
        const stream = client.request({ ":method": "POST", ":path": "/x", "content-length": body.length });
        stream.end(body);
        return buffer(stream);
      }),
    );
    for (const [i, body] of bodies.entries()) expect(body.equals(echoed[i]!)).toBe(true);
    const head = client.request({ ":method": "HEAD", ":path": "/x" });
    const status = new Promise((resolve) => head.once("response", (headers) => resolve(headers[":status"])));
    head.resume();
    expect(await status).toBe(200);
  });

  test("can be a HEAD, and an answer with length zero", async () => {
    await relayOf(1, (_request, response) => response.writeHead(200, { "content-length": 1234 }).end());
    const port = await door(await relayOf(2), 1);
    const answer = await fetch(`http://127.0.0.1:${port}/stream/1/x.ts`, { method: "HEAD" });
    expect(answer.headers.get("content-length")).toBe("1234");
  });

  test("breaks for the client when the sibling dies in the middle of the answer", async () => {
    const kill = await siblingProcess(1);
    const port = await door(await relayOf(2), 1);
    const answer = await fetch(`http://127.0.0.1:${port}/stream/1/x.ts`);
    expect(answer.status).toBe(200);
    const body = expect(answer.text()).rejects.toThrow();
    await kill();
    await body;
    expect((await fetch(`http://127.0.0.1:${port}/stream/1/x.ts`)).status).toBe(404);
  });
});
