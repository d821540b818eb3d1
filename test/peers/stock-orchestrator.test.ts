/** The orchestrator of the tests is asked what a stock one was asked, and must say what that one said. */
import { once } from "node:events";
import http2 from "node:http2";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  bodyOf,
  exchanges,
  headerOf,
  readJson,
  type RecordedExchange,
  type RecordedFile,
} from "../conformance/recorded.ts";
import { encodeGrpcFrame } from "@openpool/protocol";
import { type StockOrchestrator, startStockOrchestrator } from "./stock-orchestrator.ts";

let orchestrator: StockOrchestrator;
let session: http2.ClientHttp2Session;
beforeAll(async () => {
  orchestrator = await startStockOrchestrator({ secret: "sekret" });
  session = http2.connect(`https://${orchestrator.addr}`, { rejectUnauthorized: false });
});
afterAll(async () => {
  session.destroy();
  await orchestrator[Symbol.asyncDispose]();
});

interface Said {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** Sends a recorded request as it was. */
async function replay({ request }: RecordedExchange): Promise<Said> {
  const [message] = request.grpcMessages ?? [];
  const body = message === undefined ? bodyOf(request.body) : encodeGrpcFrame(Buffer.from(message, "base64"));
  const headers = Object.fromEntries(request.headers.filter(([name]) => name !== ":authority"));
  const stream = session.request(headers, { endStream: false });
  const chunks: Buffer[] = [];
  const said = { headers: {}, trailers: {} };
  stream.on("response", (got) => (said.headers = got));
  stream.on("trailers", (got) => (said.trailers = got));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.end(body);
  await once(stream, "close");
  return { ...said, body: Buffer.concat(chunks) };
}

const results = exchanges.filter(([, { request }]) => request.path === "/transcodeResults");

test("there are recordings of results that were taken, and of all that is refused", () => {
  expect(new Set(results.map(([, { response }]) => response.status))).toEqual(new Set([200, 400, 401, 415, 500]));
});

test.each(
  results.map(([file, exchange]) => {
    const text = bodyOf(exchange.response.body).toString().trim();
    const task = headerOf(exchange.request.headers, "taskid") ?? "none";
    return [`${file}, task ${task}`, exchange.response.status, text, exchange] as const;
  }),
)("a result is answered as by a stock one: %s with %i %s", async (_name, status, _text, exchange) => {
  const said = await replay(exchange);
  expect(said.headers).toMatchObject({
    ":status": status,
    "content-type": headerOf(exchange.response.headers, "content-type"),
  });
  expect(said.body.toString()).toBe(bodyOf(exchange.response.body).toString());
});

test("a registration with a wrong secret is refused as by a stock one", async () => {
  const [exchange] = readJson<RecordedFile>("register-invalid-secret.json").exchanges;
  if (!exchange) throw new Error("there is no recording");
  const said = await replay(exchange);
  expect(said.headers).toMatchObject({
    ":status": exchange.response.status,
    "content-type": headerOf(exchange.response.headers, "content-type"),
  });
  expect(said.trailers).toMatchObject(Object.fromEntries(exchange.response.trailers ?? []));
  expect(said.body.length).toBe(0);
  expect(orchestrator.live).toEqual([]);
});

test.each(["register-transcoder.json", "register-fork-eth-address.json"])(
  "a registration that a stock one takes is taken, and nothing is said: %s",
  async (file) => {
    const [exchange] = readJson<RecordedFile>(file).exchanges;
    const [message] = exchange?.request.grpcMessages ?? [];
    orchestrator.secret = "sekret";
    const before = orchestrator.live.length;
    const stream = session.request(Object.fromEntries(exchange?.request.headers ?? []), { endStream: false });
    stream.on("error", () => {});
    stream.end(encodeGrpcFrame(Buffer.from(message ?? "", "base64")));
    await orchestrator.until(() => orchestrator.live.length === before + 1, 60_000);
    stream.close(8);
    await orchestrator.until(() => orchestrator.live.length === before, 60_000);
  },
);
