import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { silentLogger } from "@openpool/base";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { loadTlsIdentity, type TlsIdentity } from "./certificate.ts";
import type { Exchange } from "./exchange.ts";
import { type Front, openFront } from "./front.ts";

let dir: string;
let identity: TlsIdentity;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "openpool-front-"));
  identity = await loadTlsIdentity(
    { dataDir: dir, tlsCertFile: undefined, tlsKeyFile: undefined, host: "127.0.0.1" },
    Date.now(),
  );
});
afterAll(() => rmSync(dir, { recursive: true }));

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

/** A front whose handlers are chosen by the test; by default everything is answered with its path. */
async function listen(
  handlers: {
    http?: (exchange: Exchange) => void;
    grpc?: (stream: http2.ServerHttp2Stream) => void;
  } = {},
): Promise<{ front: Front; port: number }> {
  const front = openFront(
    { identity, maxConnections: 100, maxConnectionsPerAddress: 100 },
    {
      http: handlers.http ?? ((exchange) => exchange.answer(200, {}, exchange.path)),
      grpc: handlers.grpc ?? ((stream) => stream.respond({ ":status": 200 })),
    },
    { logger: silentLogger },
  );
  const server = net.createServer({ pauseOnConnect: true }, (socket) => front.accept(socket));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  cleanup.push(async () => {
    server.close();
    await front[Symbol.asyncDispose]();
  });
  return { front, port: (server.address() as net.AddressInfo).port };
}

function connect(port: number): http2.ClientHttp2Session {
  const client = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  client.on("error", () => {});
  cleanup.push(() => client.destroy());
  return client;
}

const get = (client: http2.ClientHttp2Session, path: string): Promise<string> =>
  text(client.request({ ":path": path }));

const closed = (client: http2.ClientHttp2Session): Promise<void> =>
  new Promise((resolve) => void client.once("close", resolve));

test("requests that are on their way when the front leaves are answered, and then the connection ends", async () => {
  const { front, port } = await listen();
  const client = connect(port);
  await get(client, "/before");
  const end = closed(client);
  front.goAway();
  // The client cannot know yet.
  const onTheirWay = ["/1", "/2", "/3"].map((path) => get(client, path));
  expect(await Promise.all(onTheirWay)).toEqual(["/1", "/2", "/3"]);
  await end;
  await expect.poll(() => front.connections).toBe(0);
});

test("a client that sends nothing is left alone until it does", async () => {
  const { front, port } = await listen();
  const client = connect(port);
  await get(client, "/before");
  front.goAway();
  await new Promise((resolve) => client.ping(resolve));
  expect(client.closed).toBe(false);
  const end = closed(client);
  expect(await get(client, "/late")).toBe("/late");
  await end;
});

test("a long request goes on, and those that follow it over the same connection are answered too", async () => {
  let finish = (): void => {};
  const { front, port } = await listen({
    http(exchange) {
      if (exchange.path !== "/long") return exchange.answer(200, {}, exchange.path);
      exchange.start(200);
      finish = () => exchange.finish(Buffer.from("the end"));
    },
  });
  const client = connect(port);
  const long = client.request({ ":path": "/long" });
  await new Promise((resolve) => long.once("response", resolve));
  front.goAway();
  expect(await get(client, "/short")).toBe("/short");
  finish();
  expect(await text(long)).toBe("the end");
  await closed(client);
});

test("a worker's registration stays open, and its client learns at once that the next one belongs elsewhere", async () => {
  let registration: http2.ServerHttp2Stream | undefined;
  const { front, port } = await listen({
    grpc(stream) {
      registration = stream;
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
    },
  });
  const client = connect(port);
  const stream = client.request({
    ":method": "POST",
    ":path": "/net.Transcoder/RegisterTranscoder",
    "content-type": "application/grpc",
  });
  await new Promise((resolve) => stream.once("response", resolve));
  const told = new Promise<number>((resolve) => void client.once("goaway", (code) => resolve(code)));
  front.goAway();
  expect(await told).toBe(http2.constants.NGHTTP2_NO_ERROR);
  expect(stream.closed).toBe(false);
  registration?.end("bye");
  expect(await text(stream)).toBe("bye");
  await closed(client);
});

test("an idle HTTP/1.1 connection is not closed under its client, but ends with its next answer", async () => {
  const { front, port } = await listen();
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  cleanup.push(() => agent.destroy());
  const ask = (path: string): Promise<{ reused: boolean; connection: string | undefined; body: string }> =>
    new Promise((resolve, reject) => {
      const request = https.get({ host: "127.0.0.1", port, path, agent }, (response) => {
        void text(response).then((body) =>
          resolve({ reused: request.reusedSocket, connection: response.headers.connection, body }),
        );
      });
      request.once("error", reject);
    });
  await ask("/before");
  front.goAway();
  expect(await ask("/after")).toEqual({ reused: true, connection: "close", body: "/after" });
  await expect.poll(() => front.connections).toBe(0);
});
