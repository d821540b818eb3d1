import { fromBinary } from "@bufbuild/protobuf";
import { multipartBoundary, NotifySegmentSchema, RegisterRequestSchema, SegDataSchema } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  bodyOf,
  dump,
  exchanges,
  headerOf,
  type RecordedExchange,
  type RecordedFile,
  readJson,
} from "../conformance/recorded.ts";
import { ADA, until } from "../e2e/pool.ts";
import { type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { type AttachedPool, SECRET, startAttachedPool } from "./pool.ts";

const [registration] = readJson<RecordedFile>("register-transcoder.json").exchanges;
const notifications = (registration?.response.grpcMessages ?? []).map((text) => {
  const bytes = Buffer.from(text, "base64");
  return { bytes, notify: fromBinary(NotifySegmentSchema, bytes) };
});
const isUpload = ({ request }: RecordedExchange): boolean => request.path === "/transcodeResults";

/** The source that a gateway sent for a task. */
function sourceOf(task: (typeof notifications)[number]["notify"]): Buffer | undefined {
  const { manifestId, seq } = task.segData ?? {};
  const found = exchanges.find(([, { request }]) => {
    const header = request.path === "/segment" ? headerOf(request.headers, "livepeer-segment") : undefined;
    if (header === undefined || manifestId === undefined) return false;
    const sent = fromBinary(SegDataSchema, Buffer.from(header, "base64"));
    return Buffer.from(sent.manifestId).equals(manifestId) && sent.seq === seq;
  });
  return found && bodyOf(found[1].request.body);
}

/** Recorded uploads of renditions whose task and source were recorded too. */
const replays = exchanges.flatMap(([file, exchange]) => {
  const contentType = headerOf(exchange.request.headers, "content-type") ?? "";
  if (!isUpload(exchange) || !contentType.startsWith("multipart/mixed")) return [];
  const taskId = headerOf(exchange.request.headers, "taskid");
  const task = notifications.find(({ notify }) => notify.url !== "" && notify.taskId.toString() === taskId);
  const source = task && sourceOf(task.notify);
  return task && source ? [{ name: file, ...task, source, contentType, exchange }] : [];
});

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
  expect(replays.map(({ name }) => name)).toContain("transcode-results-phash.json");
  expect(replays.length).toBeGreaterThanOrEqual(2);
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
      if (name.startsWith(":") || ["credentials", "content-type", "accept-encoding", "user-agent"].includes(name))
        continue;
      expect([name, ours?.headers[name]]).toEqual([name, value]);
    }
    const from = multipartBoundary(String(ours?.headers["content-type"])) ?? "";
    const to = multipartBoundary(contentType) ?? "";
    expect(from).toMatch(/^[0-9a-f]{20}$/);
    const body = Buffer.from(ours?.body.toString("latin1").replaceAll(from, to) ?? "", "latin1");
    expect(body.equals(recorded)).toBe(true);
  },
);

test("a recorded teardown frees the session's encoder", async () => {
  const teardown = notifications.find(({ notify }) => notify.url === "");
  const sessionId = teardown?.notify.segData?.authToken?.sessionId ?? "";
  worker.behaviour = readyUpload;
  expect(await attached.orchestrator.transcode({ session: sessionId, seq: 0 })).toMatchObject({ kind: "done" });
  const running = attached.status().sessions;
  attached.orchestrator.live[0]?.sendBytes(teardown?.bytes ?? Buffer.alloc(0));
  await worker.until(({ teardowns }) => teardowns.length === 1);
  expect(attached.status().sessions).toBe(running - 1);
});
