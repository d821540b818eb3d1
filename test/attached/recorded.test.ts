import { fromBinary } from "@bufbuild/protobuf";
import { INVALID_VIDEO, isNonRetryable, multipartBoundary, RegisterRequestSchema } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  bodyOf,
  dump,
  exchanges,
  headerOf,
  type RecordedExchange,
  recordedSourceOf,
  type RecordedFile,
  recordedTasks,
  readJson,
} from "../conformance/recorded.ts";
import { ADA, until } from "../e2e/pool.ts";
import { type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { sourceSegment } from "../peers/media.ts";
import { type AttachedPool, SECRET, startAttachedPool } from "./pool.ts";

const [registration] = readJson<RecordedFile>("register-transcoder.json").exchanges;
const isUpload = ({ request }: RecordedExchange): boolean => request.path === "/transcodeResults";
const taskOf = ({ request }: RecordedExchange) => {
  const taskId = headerOf(request.headers, "taskid");
  return recordedTasks.find(({ notify }) => notify.url !== "" && notify.taskId.toString() === taskId);
};

/** Recorded uploads of renditions whose task and source were recorded too. */
const replays = exchanges.flatMap(([file, exchange]) => {
  const contentType = headerOf(exchange.request.headers, "content-type") ?? "";
  if (!isUpload(exchange) || !contentType.startsWith("multipart/mixed")) return [];
  const task = taskOf(exchange);
  const source = task && recordedSourceOf(task.notify);
  return task && source ? [{ name: file, ...task, source, contentType, exchange }] : [];
});
/** Recorded uploads of errors; where the source was not recorded, any will do. */
const errors = exchanges.flatMap(([file, exchange]) => {
  const text = exchange.expect?.["errorText"];
  const task = taskOf(exchange);
  if (!isUpload(exchange) || typeof text !== "string" || !task) return [];
  return [{ name: `${file}, task ${task.notify.taskId}`, ...task, text, exchange }];
});
/** What differs between two that say the same. */
const FREE_HEADERS = ["credentials", "content-type", "accept-encoding", "user-agent"];

let attached: AttachedPool;
let worker: FakeTranscoder;
beforeAll(async () => {
  attached = await startAttachedPool();
  worker = await attached.pool.transcoder({ secret: `${ADA}.rig`, capacity: 20 });
  await until(() => attached.orchestrator.live.length === 1);
});
afterAll(() => attached[Symbol.asyncDispose]());

test("the pool registers with what a stock transcoder registers with", () => {
  const recorded = dump(
    RegisterRequestSchema,
    fromBinary(RegisterRequestSchema, Buffer.from(registration?.request.grpcMessages?.[0] ?? "", "base64")),
  );
  const request = attached.orchestrator.live[0]?.request;
  const ours = request && dump(RegisterRequestSchema, request);
  // Bits from 27 on are for AI, which no transcoder does; a stock one names them all the same.
  const capabilities = recorded["capabilities"] as Record<string, unknown>;
  const bits = BigInt((capabilities["bitstring"] as string[])[0] ?? 0) & ((1n << 27n) - 1n);
  const capacities = Object.entries(capabilities["capacities"] as object).filter(([bit]) => Number(bit) < 27);
  expect(ours).toEqual({
    ...recorded,
    secret: SECRET,
    // Of 20 places some are kept for gateways and the other orchestrator.
    capacity: request?.capacity.toString(),
    capabilities: { ...capabilities, bitstring: [bits.toString()], capacities: Object.fromEntries(capacities) },
  });
});

test("there are recordings to replay", () => {
  expect(replays.map(({ name }) => name)).toEqual([
    "transcode-results-1-rendition.json",
    "transcode-results-phash.json",
  ]);
  const uploads = exchanges.filter(
    ([, exchange]) =>
      isUpload(exchange) && headerOf(exchange.request.headers, "content-type")?.startsWith("multipart/mixed"),
  );
  // Of the others the task was not recorded.
  const others = uploads.filter(([, exchange]) => !taskOf(exchange)).map(([file]) => file);
  expect(others.filter((file) => file.startsWith("transcode-results-"))).toEqual([
    "transcode-results-3-renditions.json",
    "transcode-results-mp4.json",
    "transcode-results-fps-den.json",
  ]);
});

test.each(replays)(
  "a recorded task, sent as it was, is answered as a stock transcoder did, byte for byte: $name",
  async ({ bytes, notify, source, contentType, exchange }) => {
    const { orchestrator } = attached;
    const recorded = bodyOf(exchange.request.body);
    worker.behaviour = () => ({ kind: "body", contentType, body: recorded });
    orchestrator.serve(new URL(notify.url).pathname, source);
    orchestrator.live[0]?.sendBytes(bytes);
    const taskId = notify.taskId.toString();
    await orchestrator.until(() => orchestrator.results.some((one) => one.taskId === taskId));
    const ours = orchestrator.results.findLast((one) => one.taskId === taskId);
    for (const [name, value] of exchange.request.headers) {
      if (name.startsWith(":") || FREE_HEADERS.includes(name)) continue;
      expect([name, ours?.headers[name]]).toEqual([name, value]);
    }
    const from = multipartBoundary(String(ours?.headers["content-type"])) ?? "";
    const to = multipartBoundary(contentType) ?? "";
    expect(from).toMatch(/^[0-9a-f]{20}$/);
    const body = Buffer.from(ours?.body.toString("latin1").replaceAll(from, to) ?? "", "latin1");
    expect(body.equals(recorded)).toBe(true);
  },
);

test("the recorded errors are replayed too", () => {
  expect(errors.map(({ notify, text }) => [notify.taskId, text])).toEqual([
    [21n, "Invalid data found when processing input"],
    [23n, "TranscoderInvalidVideo"],
    [24n, "TranscoderInvalidVideo"],
  ]);
});

test.each(errors)(
  "a recorded task that a stock transcoder fails is failed in its words, where a gateway then keeps its session: $name",
  async ({ bytes, notify, text, exchange }) => {
    const { orchestrator } = attached;
    worker.behaviour = () => ({ kind: "error", text });
    orchestrator.serve(new URL(notify.url).pathname, recordedSourceOf(notify) ?? sourceSegment);
    orchestrator.live[0]?.sendBytes(bytes);
    const taskId = notify.taskId.toString();
    await orchestrator.until(() => orchestrator.results.some((one) => one.taskId === taskId));
    const ours = orchestrator.results.findLast((one) => one.taskId === taskId);
    const expected = isNonRetryable(text) ? bodyOf(exchange.request.body) : Buffer.from(INVALID_VIDEO);
    expect(ours?.body.equals(expected)).toBe(true);
    expect(ours?.headers["content-type"]).toBe(headerOf(exchange.request.headers, "content-type"));
    expect(ours?.headers["content-length"]).toBe(String(expected.length));
    for (const [name, value] of exchange.request.headers) {
      if (name.startsWith(":") || name === "content-length" || FREE_HEADERS.includes(name)) continue;
      expect([name, ours?.headers[name]]).toEqual([name, value]);
    }
  },
);

test.each(
  readJson<RecordedFile>("transcoder-source-get.json").exchanges.map((one) => [one.request.path, one] as const),
)(
  "a source is asked for as a stock transcoder does, and the recorded answer is taken as it came: %s",
  async (path, { connection, request, response }) => {
    const { orchestrator } = attached;
    const body = bodyOf(response.body);
    const asked: { readonly line: string; readonly headers: Readonly<Record<string, unknown>> }[] = [];
    orchestrator.source = (answer) => {
      const { method, url, httpVersion, headers, socket } = answer.req;
      asked.push({ line: `${method} ${url} HTTP/${httpVersion}`, headers });
      const lines = [response.statusLine, ...(response.headers ?? []).map(([name, value]) => `${name}: ${value}`)];
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
      socket.end(body);
      return true;
    };
    const text = "No keyframes in input";
    worker.behaviour = () => ({ kind: "error", text });
    const url = `https://${orchestrator.addr}${path}`;
    expect(await orchestrator.transcode({ session: `get ${path}`, seq: 0, url })).toMatchObject({ text });
    orchestrator.source = undefined;
    expect(worker.tasks.at(-1)?.source.equals(body)).toBe(true);
    expect(asked.map(({ line }) => line)).toEqual([request.requestLine]);
    expect(asked[0]?.headers["host"]).toBe(orchestrator.addr);
    // Nothing beyond what a stock one says, but for the connection; a source is no text that packing makes smaller.
    const recorded = ["connection", ...request.headers.map(([name]) => name.toLowerCase())];
    expect(Object.keys(asked[0]?.headers ?? {}).filter((name) => !recorded.includes(name))).toEqual([]);
    // Nobody offered anything in ALPN but those that speak HTTP/2.
    expect(connection.alpnOffered).toBe(null);
    expect(new Set(orchestrator.alpn)).toEqual(new Set(["h2", false]));
  },
);

test("a recorded teardown frees the session's encoder", async () => {
  const teardown = recordedTasks.find(({ notify }) => notify.url === "");
  const sessionId = teardown?.notify.segData?.authToken?.sessionId ?? "";
  worker.behaviour = readyUpload;
  expect(await attached.orchestrator.transcode({ session: sessionId, seq: 0 })).toMatchObject({ kind: "done" });
  const running = attached.status().sessions;
  const before = worker.teardowns.length;
  attached.orchestrator.live[0]?.sendBytes(teardown?.bytes ?? Buffer.alloc(0));
  await worker.until(({ teardowns }) => teardowns.length > before);
  expect(attached.status().sessions).toBe(running - 1);
});
