import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AuthToken,
  capabilitySetFromWords,
  EndTranscodingSessionRequestSchema,
  PingPongSchema,
} from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FakeTranscoder, SOFTWARE_CAPABILITIES, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { dialUnary, hostHeader, type UnaryAnswer } from "../peers/wire.ts";
import {
  callGetOrchestrator,
  connectGateway,
  getInfo,
  getToken,
  headerOf,
  jobRequest,
  postSegment,
  readInfo,
  readRenditions,
  segData,
} from "./gateway.ts";
import { openTarget, type Target, uriOf } from "./target.ts";

let target: Target;
let transcoder: FakeTranscoder;
beforeAll(async () => {
  target = await openTarget();
  transcoder = await startFakeTranscoder({ addr: hostHeader(target.address), secret: target.secret(), capacity: 8 });
  await getInfo(target);
});
afterAll(async () => {
  await transcoder[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});

describe("GetOrchestrator", () => {
  test("answers with everything that a gateway insists on", async () => {
    const answer = await callGetOrchestrator(target);
    expect(answer.status).toBe(0);
    expect(answer.headers?.["content-type"]).toMatch(/^application\/grpc(\+proto)?$/);
    const info = readInfo(answer);
    expect(info.transcoder).toMatch(/^https:\/\/[^/]+:\d+$/);
    expect(info.authToken?.token.length).toBeGreaterThan(0);
    expect(info.authToken?.sessionId).not.toBe("");
    expect(Number(info.authToken?.expiration)).toBeGreaterThan(Date.now() / 1000 + 180);
    expect(info.capabilities).toBeDefined();
  });

  test("says nothing off-chain that a gateway would hold it to", async () => {
    const info = readInfo(await callGetOrchestrator(target));
    expect(Buffer.from(info.address).toString("hex")).toBe("00".repeat(20));
    expect(info.ticketParams).toBeUndefined();
    expect(info.priceInfo?.pixelsPerUnit ?? 1n).not.toBe(0n);
    expect(info.storage).toEqual([]);
  });

  test("announces what its transcoders can do, in a form that passes a gateway's subset test", async () => {
    const { capabilities } = readInfo(await callGetOrchestrator(target));
    const words = capabilities?.bitstring ?? [];
    const set = capabilitySetFromWords(words);
    for (const number of [0, 1, 2, 4, 5, 6, 12, 26]) expect(set & (1n << BigInt(number))).not.toBe(0n);
    expect(set & SOFTWARE_CAPABILITIES).toBe(SOFTWARE_CAPABILITIES);
    expect(words.at(-1)).not.toBe(0n);
    expect(capabilities?.mandatories).toEqual([]);
    expect(capabilities?.version).toMatch(/^\d+\.\d+\.\d+/);
  });

  test("always names the same address, and a new session each time", async () => {
    const infos = [];
    for (let i = 0; i < 5; i++) infos.push(readInfo(await callGetOrchestrator(target)));
    expect(new Set(infos.map(({ transcoder: uri }) => uri)).size).toBe(1);
    expect(new Set(infos.map(({ authToken }) => authToken?.sessionId)).size).toBe(5);
  });

  test("answers a poller, which names no capabilities", async () => {
    expect(readInfo(await callGetOrchestrator(target, { address: new Uint8Array(20) })).transcoder).not.toBe("");
  });

  test("takes empty capabilities for a job that needs nothing", async () => {
    expect(readInfo(await callGetOrchestrator(target, jobRequest(0n))).authToken).toBeDefined();
  });

  test("is quick and has no side effects: a hundred calls leave room for as many sessions as before", async () => {
    for (let i = 0; i < 100; i += 10) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => callGetOrchestrator(target)));
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(0));
    }
  });

  test("refuses bytes that are no message with an error", async () => {
    const garbage = Buffer.from([0x0a, 0xff, 0xff, 0xff]);
    const answer = await dialUnary(target.address, "/net.Orchestrator/GetOrchestrator", garbage, { timeoutMs: 3_000 });
    expect(answer.status).toBeGreaterThan(0);
  });
});

test("Ping is answered, off-chain with no bytes", async () => {
  const request = toBinary(PingPongSchema, create(PingPongSchema, { value: new Uint8Array(32).fill(9) }));
  const answer = await dialUnary(target.address, "/net.Orchestrator/Ping", request, { timeoutMs: 3_000 });
  expect(answer).toMatchObject({ status: 0, answer: new Uint8Array() });
});

describe("EndTranscodingSession", () => {
  const end = (authToken: AuthToken | undefined): Promise<UnaryAnswer> => {
    const request = create(EndTranscodingSessionRequestSchema, authToken ? { authToken } : {});
    const bytes = toBinary(EndTranscodingSessionRequestSchema, request);
    return dialUnary(target.address, "/net.Orchestrator/EndTranscodingSession", bytes, { timeoutMs: 3_000 });
  };

  test("accepts a token of its own, used or not, any number of times", async () => {
    const token = await getToken(target);
    for (let i = 0; i < 3; i++) expect(await end(token)).toMatchObject({ status: 0, answer: new Uint8Array() });
  });

  test("refuses a token that is not its own", async () => {
    const token = await getToken(target);
    for (const wrong of [
      { ...token, token: new Uint8Array(32) },
      { ...token, sessionId: "00000000" },
      { ...token, expiration: token.expiration + 1n },
    ]) {
      expect(await end(wrong)).toMatchObject({ status: 2, message: "Invalid auth token" });
    }
  });

  test("frees the session at its transcoder, and the token opens it again", async () => {
    const token = await getToken(target);
    const connection = await connectGateway(target);
    const push = async (seq: bigint): Promise<number> => {
      const data = await segData(token, { seq, manifestId: Buffer.from("ended") });
      return readRenditions(await postSegment(connection, headerOf(data))).segments.length;
    };
    expect(await push(0n)).toBe(3);
    const { sessionId } = transcoder.tasks.at(-1)!;
    await end(token);
    await transcoder.until(({ teardowns }) => teardowns.includes(sessionId));
    expect(await push(1n)).toBe(3);
    connection.session.close();
  });

  test("survives a request without a token", async () => {
    // A stock orchestrator's process ends: nothing to try on somebody else's.
    if (target.isPool) expect(await end(undefined)).toMatchObject({ status: 2, message: "Invalid auth token" });
    expect(await end(await getToken(target))).toMatchObject({ status: 0 });
  });
});

test("the announced address is where segments go", async () => {
  const { transcoder: uri } = await getInfo(target);
  if (target.isPool) expect(uri).toBe(uriOf(target));
  expect(new URL(uri).pathname).toBe("/");
});
