import { create, toBinary } from "@bufbuild/protobuf";
import { PaymentSchema, PingPongSchema } from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  callUnary,
  connectH2,
  connectTls,
  createDownloadAgent,
  goClientSettings,
  requestH2,
  requestHttp1,
} from "../peers/wire.ts";
import { connectGateway, postSegment } from "./gateway.ts";
import { openTarget, type Target, uriOf } from "./target.ts";

let target: Target;
beforeAll(async () => void (target = await openTarget()));
afterAll(() => target[Symbol.asyncDispose]());

describe("ALPN", () => {
  test.each([
    ["h2 alone", ["h2"], "h2"],
    ["h2 and http/1.1, as gateways offer from their first segment on", ["h2", "http/1.1"], "h2"],
    ["http/1.1 before h2", ["http/1.1", "h2"], "h2"],
    ["http/1.1 alone", ["http/1.1"], "http/1.1"],
    ["no extension at all, as every download comes", [], false],
  ])("%s", async (_name, offered, chosen) => {
    const socket = await connectTls(target.address, offered);
    expect(socket.alpnProtocol).toBe(chosen);
    expect(socket.getProtocol()).toBe("TLSv1.3");
    socket.destroy();
  });
});

test("a client without ALPN is served HTTP/1.1, several times on one connection", async () => {
  const agent = createDownloadAgent();
  const used = new Set<unknown>();
  agent.on("free", (socket) => used.add(socket));
  for (let i = 0; i < 3; i++) {
    expect(await requestHttp1(`${uriOf(target)}/no/such/path`, { agent })).toMatchObject({ status: 404 });
  }
  expect(used.size).toBe(1);
  agent.destroy();
});

test("gRPC and plain requests share one h2 connection", async () => {
  const { session } = await connectH2(target.address);
  const ping = toBinary(PingPongSchema, create(PingPongSchema, { value: new Uint8Array(32) }));
  const [grpc, plain, again] = await Promise.all([
    callUnary(session, "/net.Orchestrator/Ping", ping),
    requestH2(session, { ":path": "/healthz" }),
    callUnary(session, "/net.Orchestrator/Ping", ping),
  ]);
  expect([grpc.status, plain.status, again.status]).toEqual([0, 200, 0]);
  session.close();
});

describe("an unknown path is answered 404", () => {
  test("over h2", async () => {
    const { session } = await connectH2(target.address);
    const answer = await requestH2(session, { ":path": "/nope" });
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 404,
      text: "404 page not found\n",
    });
    session.close();
  });

  test("over HTTP/1.1", async () => {
    const answer = await requestHttp1(`${uriOf(target)}/nope`);
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 404,
      text: "404 page not found\n",
    });
  });
});

test("an unknown gRPC method is unimplemented", async () => {
  const { session } = await connectH2(target.address);
  expect(await callUnary(session, "/net.Orchestrator/NoSuchMethod", new Uint8Array())).toMatchObject({ status: 12 });
  session.close();
});

test("the windows are wide enough for a segment in one round trip", async () => {
  const { session } = await connectH2(target.address, { settings: goClientSettings });
  await requestH2(session, { ":path": "/healthz" });
  expect(session.remoteSettings.initialWindowSize).toBeGreaterThanOrEqual(1 << 20);
  expect(session.remoteSettings.maxHeaderListSize).toBeGreaterThanOrEqual(1 << 20);
  expect(session.remoteSettings.maxConcurrentStreams).toBeGreaterThanOrEqual(100);
  expect(session.state.remoteWindowSize).toBeGreaterThanOrEqual(1 << 20);
  session.close();
});

test("pings are answered, many of them", async () => {
  const { session } = await connectH2(target.address);
  for (let i = 0; i < 50; i++) {
    await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  }
  session.close();
});

describe("a payment header as large as honest ones get", () => {
  // 58 KB: a payment with 600 tickets. Its place in line comes before the segment header's.
  const payment = toBinary(PaymentSchema, create(PaymentSchema, { sender: new Uint8Array(43_000).fill(1) }));
  const header = Buffer.from(payment).toString("base64");

  test("is read over h2", async () => {
    const connection = await connectGateway(target);
    const answer = await postSegment(connection, "", { headers: { "livepeer-payment": header } });
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 403,
      text: "missing auth token\n",
    });
    connection.session.close();
  });

  test("is read over HTTP/1.1", async () => {
    const answer = await requestHttp1(`${uriOf(target)}/segment`, {
      method: "POST",
      headers: { "livepeer-payment": header, "content-length": 0 },
    });
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 403,
      text: "missing auth token\n",
    });
  });
});
