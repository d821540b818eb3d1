import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "@openpool/base";
import { expect, test, vi } from "vitest";
import { createBodyMemory } from "../bodies/body-memory.ts";
import { createSourceDownloader, sourceUrl } from "./source.ts";

const policy = { address: { host: "10.0.0.5", port: 8935 }, allowedHosts: new Set(["s3.example.com", "minio:9000"]) };

test.each([
  ["as it is called", "https://10.0.0.5:8935/stream/ab/0.tempfile", "https://10.0.0.5:8935/stream/ab/0.tempfile"],
  [
    "under its public name",
    "https://orch.example.com:443/stream/ab/0.tempfile?x=1",
    "https://10.0.0.5:8935/stream/ab/0.tempfile?x=1",
  ],
  ["that names somebody else", "http://169.254.169.254/stream/x", "https://10.0.0.5:8935/stream/x"],
  [
    "in a store that is allowed",
    "https://s3.example.com/bucket/0.ts?sig=1",
    "https://s3.example.com/bucket/0.ts?sig=1",
  ],
  ["in one that is allowed with its port", "http://minio:9000/b/0.ts", "http://minio:9000/b/0.ts"],
  ["in one that is not", "https://storage.example.com/bucket/0.ts", undefined],
  ["in the metadata of a cloud", "http://169.254.169.254/latest/meta-data", undefined],
  ["with a login", "https://a:b@10.0.0.5:8935/stream/0", undefined],
  ["that is a file", "file:///etc/passwd", undefined],
  ["that is none", "source", undefined],
])("a source %s", (_name, given, expected) => {
  expect(sourceUrl(given, policy)?.href).toBe(expected);
});

test("a source that waits for memory until its time is over is not said to have come too late", async () => {
  const server = http.createServer((_request, response) => response.end(Buffer.alloc(1_000)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const memory = createBodyMemory(1 << 20);
  const never = new AbortController().signal;
  const taken = await memory.take("source", 1 << 20, never);
  const overdue: (() => void)[] = [];
  const clock = { ...systemClock, after: (_delayMs: number, call: () => void) => (overdue.push(call), () => {}) };
  await using downloader = createSourceDownloader({ memory, clock });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/stream/0`);
  const waits = new Promise<void>((resolve) => (memory.onPressure = resolve));
  const opened = downloader.open(url, never, () => {});
  await waits;
  for (const call of overdue) call();
  expect(await opened).toBe("there is no memory for the source");
  if (taken) memory.release(taken);
  server.closeAllConnections();
  server.close();
});

test("who announces much and sends nothing does not keep the sources of others waiting for memory", async () => {
  let asked = 0;
  const server = http.createServer((_request, response) => {
    asked++;
    response.writeHead(200, { "content-length": 10 << 20 }).write("a beginning");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const memory = createBodyMemory(16 << 20);
  const ended = new AbortController();
  // Nobody is late here.
  await using downloader = createSourceDownloader({ memory, clock: { ...systemClock, after: () => () => {} } });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/stream/0`);
  const open = () => downloader.open(url, ended.signal, () => {});
  const first = await open();
  const second = open();
  await vi.waitFor(() => expect(asked).toBe(2), 60_000);
  expect(await memory.take("source", 1 << 20, new AbortController().signal)).toBeDefined();
  ended.abort();
  expect(typeof first === "string" ? first : await first.filled).toBe("the source broke off or came too slowly");
  expect(typeof (await second)).toBe("string");
  server.closeAllConnections();
  server.close();
});
