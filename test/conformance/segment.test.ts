import { create, toJson } from "@bufbuild/protobuf";
import {
  type AuthToken,
  AuthTokenSchema,
  capabilitySet,
  capabilityWords,
  isNonRetryable,
  profileToWire,
  type SegData,
  SegParametersSchema,
  type VideoProfile,
  VideoProfileSchema,
} from "@openpool/protocol";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { behaviours, type FakeTask, type FakeTranscoder, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions, sourceSegment } from "../peers/media.ts";
import { startScriptedOrchestrator } from "../peers/scripted-orchestrator.ts";
import { createDownloadAgent, type H2Connection, hostHeader, requestH2, requestHttp1 } from "../peers/wire.ts";
import {
  callGetOrchestrator,
  connectGateway,
  getInfo,
  getToken,
  headerOf,
  postSegment,
  readRenditions,
  readResult,
  segData,
} from "./gateway.ts";
import { openTarget, type Target, uriOf } from "./target.ts";

let target: Target;
let transcoder: FakeTranscoder;
let connection: H2Connection;
let token: AuthToken;
let manifests = 0;

beforeAll(async () => {
  target = await openTarget();
  transcoder = await startFakeTranscoder({ addr: hostHeader(target.address), secret: target.secret(), capacity: 64 });
  connection = await connectGateway(target);
});
afterAll(async () => {
  connection.session.destroy();
  await transcoder[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});
beforeEach(async () => {
  manifests++;
  token = await getToken(target);
});
afterEach(() => {
  transcoder.behaviour = behaviours.ready();
});

/** A stream of its own for every test. */
const manifest = (): Buffer => Buffer.from(`stream-${manifests}`);
const dataOf = (change: Partial<SegData> = {}, body?: Uint8Array): Promise<SegData> =>
  segData(token, { manifestId: manifest(), ...change }, body);

async function push(change: Partial<SegData> = {}, body: Uint8Array = sourceSegment) {
  return postSegment(connection, headerOf(await dataOf(change, body)), { body });
}

/** Posts a segment, waits for the task that it leads to, and leaves. */
async function taskOf(change: Partial<SegData>): Promise<FakeTask> {
  const before = transcoder.tasks.length;
  transcoder.behaviour = behaviours.hang();
  const stream = connection.session.request({
    ":method": "POST",
    ":path": "/segment",
    "livepeer-segment": headerOf(await dataOf(change)),
    "livepeer-payment": "",
    "content-type": "video/MP2T",
    "content-length": sourceSegment.length,
  });
  stream.on("error", () => {});
  stream.end(sourceSegment);
  await transcoder.until(({ tasks }) => tasks.length > before);
  stream.close(8);
  return transcoder.tasks.at(-1)!;
}

/** The source, with packets behind it that no demuxer looks at. */
function padded(packets: number): Buffer {
  const packet = Buffer.alloc(188, 0xff);
  packet.set([0x47, 0x1f, 0xff, 0x10]);
  return Buffer.concat([sourceSegment, ...Array.from({ length: packets }, () => packet)]);
}

describe("a segment comes back as renditions", () => {
  test("in the order of the profiles, with their pixels, its number and a complete info", async () => {
    const { transcoder: uri } = await getInfo(target);
    const answer = await push({ seq: 4_000_000_000_000n });
    const { seq, info } = readResult(answer);
    const { segments } = readRenditions(answer);
    expect(seq).toBe(4_000_000_000_000n);
    expect(segments.map(({ pixels }) => pixels)).toEqual(readyRenditions.map(({ pixels }) => pixels));
    for (const [i, { url }] of segments.entries()) {
      expect(url).toMatch(/^https?:\/\//);
      const { status, body } = await requestHttp1(url);
      expect(status).toBe(200);
      expect(body.equals(readyRenditions[i]!.data)).toBe(true);
    }
    expect(info?.transcoder).toBe(uri);
    expect(info?.authToken && toJson(AuthTokenSchema, info.authToken)).toEqual(toJson(AuthTokenSchema, token));
    expect(info?.capabilities?.bitstring).not.toEqual([]);
    expect(info?.ticketParams).toBeUndefined();
  });

  test("over HTTP/1.1 too", async () => {
    const answer = await requestHttp1(`${uriOf(target)}/segment`, {
      method: "POST",
      headers: {
        "livepeer-segment": headerOf(await dataOf()),
        "livepeer-payment": "",
        "content-type": "video/MP2T",
        "content-length": sourceSegment.length,
      },
      body: sourceSegment,
      timeoutMs: 10_000,
    });
    expect(readRenditions(answer).segments).toHaveLength(3);
  });

  test("without a payment header", async () => {
    const answer = await postSegment(connection, headerOf(await dataOf()), {
      headers: { "livepeer-payment": undefined },
    });
    expect(readRenditions(answer).segments).toHaveLength(3);
  });

  test("when the body is a URL to fetch it from", async () => {
    await using server = await startScriptedOrchestrator();
    const url = server.serve("source.ts", sourceSegment);
    const answer = await postSegment(connection, headerOf(await dataOf()), {
      headers: { "content-type": "application/vnd+livepeer.uri" },
      body: Buffer.from(url),
    });
    expect(readRenditions(answer).segments).toHaveLength(3);
    expect(transcoder.tasks.at(-1)?.source.equals(sourceSegment)).toBe(true);
  });

  test("without a duration", async () => {
    expect(readRenditions(await push({ duration: 0 })).segments).toHaveLength(3);
  });

  test("when it has 20 MB", async () => {
    const body = padded(100_000);
    expect(readRenditions(await push({}, body)).segments).toHaveLength(3);
    expect(transcoder.tasks.at(-1)?.source.length).toBe(body.length);
  });

  test("again when it is sent again, and anew when it has changed", async () => {
    for (const body of [sourceSegment, sourceSegment, padded(1)]) {
      const before = transcoder.tasks.length;
      expect(readRenditions(await push({ seq: 3n }, body)).segments).toHaveLength(3);
      expect(transcoder.tasks.length).toBe(before + 1);
      expect(transcoder.tasks.at(-1)?.source.equals(body)).toBe(true);
    }
  });

  test("out of order", async () => {
    for (const seq of [9n, 2n, 5n]) expect(readResult(await push({ seq })).seq).toBe(seq);
  });

  test("of eight streams at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const data = await segData(await getToken(target), { manifestId: Buffer.from(`${manifests}-${i}`) });
        return postSegment(connection, headerOf(data));
      }),
    );
    expect(answers.map((answer) => readRenditions(answer).segments.length)).toEqual(Array(8).fill(3));
  });

  test("of eight segments of one stream at once, as far as its queue goes", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, (_, seq) => push({ seq: BigInt(seq) })));
    const results = answers.map((answer) => readResult(answer).result);
    const served = results.filter(({ case: kind }) => kind === "data").length;
    // A stock orchestrator runs one and queues four; a gateway loses its session over the rest.
    if (target.isPool) expect(served).toBe(8);
    else expect(served).toBeGreaterThanOrEqual(5);
    for (const result of results) if (result.case === "error") expect(result.value).toBe("OrchestratorBusy");
  });

  test("with the perceptual hashes that were asked for", async () => {
    const { segments } = readRenditions(await push({ calcPerceptualHash: true }));
    for (const { perceptualHashUrl } of segments) {
      const { status, body } = await requestHttp1(perceptualHashUrl);
      expect({ status, text: body.toString() }).toEqual({ status: 200, text: "signature" });
    }
  });
});

test("headers come as soon as the segment is complete and right, the rest when it is done", async () => {
  let release: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  transcoder.behaviour = behaviours.when(() => gate);
  const before = transcoder.uploads.length;
  const stream = connection.session.request({
    ":method": "POST",
    ":path": "/segment",
    "livepeer-segment": headerOf(await dataOf()),
    "livepeer-payment": "",
    "content-type": "video/MP2T",
    "content-length": sourceSegment.length,
  });
  stream.end(sourceSegment);
  const headers = await new Promise<Record<string, unknown>>((resolve) => stream.once("response", resolve));
  expect(headers[":status"]).toBe(200);
  expect(headers["content-length"]).toBeUndefined();
  expect(transcoder.uploads.length).toBe(before);
  release?.();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  expect(readRenditions({ status: 200, body: Buffer.concat(chunks) }).segments).toHaveLength(3);
});

describe("a job reaches the transcoder with", () => {
  const named = (name: string, change: Partial<VideoProfile> = {}): VideoProfile =>
    Object.assign(create(VideoProfileSchema, { name, width: 426, height: 240, bitrate: 250_000 }), change);
  const none = { fullProfiles: [], fullProfiles2: [], fullProfiles3: [] };

  test.each<[string, Partial<SegData>]>([
    ["field 33", { ...none, fullProfiles: [named("thirty-three")] }],
    ["field 34", { ...none, fullProfiles2: [named("thirty-four", { format: 1 })] }],
    [
      "field 35",
      { ...none, fullProfiles3: [named("thirty-five", { fps: 30_000, fpsDen: 1001, gop: -1, profile: 4 })] },
    ],
  ])("its profiles, from %s", async (_name, profiles) => {
    const { segData: sent } = (await taskOf(profiles)).notify;
    for (const field of ["fullProfiles", "fullProfiles2", "fullProfiles3"] as const) {
      expect(sent?.[field]).toEqual(profiles[field]);
    }
  });

  test("the profiles of the newest field that has any", async () => {
    const all = { fullProfiles: [named("33")], fullProfiles2: [named("34")], fullProfiles3: [named("35")] };
    expect((await taskOf(all)).profiles.map(({ name }) => name)).toEqual(["35"]);
    expect((await taskOf({ ...all, fullProfiles3: [] })).profiles.map(({ name }) => name)).toEqual(["34"]);
  });

  test("its codecs, sizes and rates as they were asked for", async () => {
    const profile = named("x", { encoder: 1, width: 1, height: 8000, quality: 30, gop: 2500, profile: 3 });
    const capabilities = capabilityWords(capabilitySet(0, 1, 9, 11, 12, 26));
    const { notify } = await taskOf({
      ...none,
      fullProfiles3: [profile],
      capabilities: { ...(await dataOf()).capabilities!, bitstring: capabilities },
    });
    expect(notify.segData?.fullProfiles3).toEqual([profile]);
    expect(notify.segData?.capabilities?.bitstring).toEqual(capabilities);
  });

  test("its clip", async () => {
    const clip = create(SegParametersSchema, { from: 500n, to: 1500n });
    expect((await taskOf({ segmentParameters: clip })).notify.segData?.segmentParameters).toEqual(clip);
  });

  test("the wish for perceptual hashes and for a fresh session", async () => {
    const { notify } = await taskOf({ calcPerceptualHash: true, ForceSessionReinit: true });
    expect(notify.segData).toMatchObject({ calcPerceptualHash: true, ForceSessionReinit: true });
  });

  test("the lowest version that it accepts", async () => {
    const words = (await dataOf()).capabilities!.bitstring;
    const capabilities = { ...(await dataOf()).capabilities!, bitstring: words };
    capabilities.constraints = Object.assign(capabilities.constraints!, { minVersion: "0.8.0" });
    expect((await taskOf({ capabilities })).notify.segData?.capabilities?.constraints?.minVersion).toBe("0.8.0");
  });
});

describe("a rendition", () => {
  const urlOfOne = async (): Promise<string> => readRenditions(await push()).segments[0]!.url;
  const [{ data }] = readyRenditions as [(typeof readyRenditions)[number]];

  test("is served over HTTP/1.1 with the headers of a live stream, keeping the connection", async () => {
    const agent = createDownloadAgent();
    const used = new Set<unknown>();
    agent.on("free", (socket) => used.add(socket));
    const url = await urlOfOne();
    for (let i = 0; i < 2; i++) {
      const answer = await requestHttp1(url, { agent });
      expect(answer.body.equals(data)).toBe(true);
      expect(answer.headers).toMatchObject({
        "content-length": String(data.length),
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "Content-Length",
        "cache-control": "max-age=5",
      });
      expect(answer.headers["transfer-encoding"]).toBeUndefined();
    }
    expect(used.size).toBe(1);
    agent.destroy();
  });

  test("is served over h2", async () => {
    const answer = await requestH2(connection.session, { ":path": new URL(await urlOfOne()).pathname });
    expect(answer.status).toBe(200);
    expect(answer.body.equals(data)).toBe(true);
  });

  test("is served to several at once", async () => {
    const url = await urlOfOne();
    const answers = await Promise.all(Array.from({ length: 5 }, () => requestHttp1(url)));
    expect(answers.every(({ body }) => body.equals(data))).toBe(true);
  });

  test("is served in parts to whoever asks for parts", async () => {
    const url = await urlOfOne();
    const part = await requestHttp1(url, { headers: { range: "bytes=100-199" } });
    const tail = await requestHttp1(url, { headers: { range: "bytes=-10" } });
    if (target.isPool) {
      expect([part.status, tail.status]).toEqual([206, 206]);
      expect(part.headers["content-range"]).toBe(`bytes 100-199/${data.length}`);
      expect(part.body.equals(data.subarray(100, 200))).toBe(true);
      expect(tail.body.equals(data.subarray(-10))).toBe(true);
      expect((await requestHttp1(url, { headers: { range: `bytes=${data.length}-` } })).status).toBe(416);
    } else {
      expect([200, 206]).toContain(part.status);
    }
  });

  test("that nobody made is not found", async () => {
    const answer = await requestHttp1(`${uriOf(target)}/stream/aabbccdd/x/1.ts`);
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({ status: 404, text: "ErrNotFound\n" });
  });
});

describe("a refused segment gets the status and the words of a stock orchestrator:", () => {
  const base64 = (bytes: readonly number[]): string => Buffer.from(bytes).toString("base64");
  const wrongEnum = (field: "format" | "profile" | "encoder") => async (): Promise<string> => {
    const profile = Object.assign(profileToWire(readyProfiles[0]!), { [field]: 99 });
    return headerOf(await dataOf({ fullProfiles3: [profile] }));
  };
  const withToken = (change: Partial<AuthToken>) => async (): Promise<string> =>
    headerOf(await dataOf({ authToken: { ...token, ...change } }));

  type Header = string | undefined | (() => Promise<string>);
  test.each<[string, Header, Record<string, string>, number, string | RegExp]>([
    ["no header", undefined, {}, 403, "missing auth token"],
    ["base64 that is none", "!!!", {}, 403, "ErrorSegEncoding"],
    ["base64 without padding", "AAA", {}, 403, "ErrorSegEncoding"],
    ["no protobuf", "AAAA", {}, 403, "proto: cannot parse invalid wire-format data"],
    [
      "payment in base64 that is none",
      "!!!",
      { "livepeer-payment": "!!!" },
      402,
      /^base64 decode error: illegal base64 data at input byte 0$/,
    ],
    [
      "payment cut off",
      "",
      { "livepeer-payment": "AAAAA" },
      402,
      "base64 decode error: illegal base64 data at input byte 4",
    ],
    [
      "payment that is no protobuf",
      "",
      { "livepeer-payment": base64([0, 0, 0]) },
      402,
      "protobuf unmarshal error: proto: cannot parse invalid wire-format data",
    ],
    ["unknown container", wrongEnum("format"), {}, 403, "unrecognized profile output format"],
    ["unknown H.264 profile", wrongEnum("profile"), {}, 403, "unrecognized encoder profile"],
    ["unknown codec", wrongEnum("encoder"), {}, 403, "unrecognized video codec"],
    ["negative duration", async () => headerOf(await dataOf({ duration: -1 })), {}, 403, "invalid duration"],
    ["too long", async () => headerOf(await dataOf({ duration: 300_001 })), {}, 403, "invalid duration"],
    ["no token", async () => headerOf(await segData(undefined)), {}, 403, "missing auth token"],
    ["token of another session", withToken({ sessionId: "another" }), {}, 403, "invalid auth token"],
    ["token with another end", withToken({ expiration: 9_999_999_999n }), {}, 403, "invalid auth token"],
    ["made-up token", withToken({ token: new Uint8Array(32) }), {}, 403, "invalid auth token"],
    [
      "another body than announced",
      async () => headerOf(await dataOf({ hash: new Uint8Array(32) })),
      {},
      403,
      "Forbidden",
    ],
    [
      "capabilities that nobody has",
      async () => {
        const { capabilities } = await dataOf();
        return headerOf(await dataOf({ capabilities: { ...capabilities!, bitstring: [1n << 60n] } }));
      },
      {},
      403,
      "incompatible capabilities",
    ],
    [
      "a URL of nothing",
      async () => headerOf(await dataOf()),
      { "content-type": "application/vnd+livepeer.uri" },
      400,
      "BadRequest",
    ],
  ])("%s", async (_name, header, headers, status, text) => {
    const before = transcoder.tasks.length;
    const value = typeof header === "function" ? await header() : header;
    const isUri = headers["content-type"] !== undefined;
    const body = isUri ? Buffer.from("https://127.0.0.1:1/none") : sourceSegment;
    const answer = await postSegment(connection, value, { headers, body });
    expect(answer.status).toBe(status);
    expect(answer.body.toString().endsWith("\n")).toBe(true);
    const said = answer.body.toString().slice(0, -1);
    if (typeof text === "string") expect(said).toBe(text);
    else expect(said).toMatch(text);
    expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(answer.headers["x-content-type-options"]).toBe("nosniff");
    expect(transcoder.tasks.length).toBe(before);
  });

  test("expired token", async () => {
    const past = BigInt(Math.floor(Date.now() / 1000) - 10);
    const expired = await target.forgeToken("00112233", past);
    if (!expired) return expect(process.env["TEST_CONFORMANCE_ADDR"]).toBeDefined();
    const answer = await postSegment(connection, headerOf(await dataOf({ authToken: expired })));
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 403,
      text: "expired auth token\n",
    });
  });

  test("the same over HTTP/1.1, with a body on its way", async () => {
    const answer = await requestHttp1(`${uriOf(target)}/segment`, {
      method: "POST",
      headers: { "livepeer-segment": "!!!", "content-length": sourceSegment.length },
      body: sourceSegment,
    });
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 403,
      text: "ErrorSegEncoding\n",
    });
  });

  test("a wrong segment does not spoil the session: the next one is served", async () => {
    await postSegment(connection, headerOf(await dataOf({ hash: new Uint8Array(32) })));
    expect(readRenditions(await push({ seq: 1n })).segments).toHaveLength(3);
  });
});

describe("a job that its transcoder cannot do is answered 200 and then with a text that", () => {
  test.each([
    ["an error that no gateway retries", behaviours.error("Invalid argument"), "Invalid argument"],
    ["a result too few", behaviours.tooFew(), "MismatchedSegments"],
    ["a result too many", behaviours.tooMany(), "MismatchedSegments"],
    ["empty results", behaviours.emptyPart(), "ZeroSegments"],
  ])("costs nothing, or is that of a stock orchestrator: %s", async (_name, behaviour, stock) => {
    transcoder.behaviour = behaviour;
    const { result } = readResult(await push());
    if (target.isPool) expect(result.case === "error" && isNonRetryable(result.value)).toBe(true);
    else expect(result).toEqual({ case: "error", value: stock });
  });
});

test("with nobody to do the work", async () => {
  await transcoder[Symbol.asyncDispose]();
  const answer = await callGetOrchestrator(target);
  // A stock orchestrator takes the session and fails its segments; a gateway that is refused at the door loses nothing.
  if (target.isPool) {
    expect(answer).toMatchObject({ status: 2, message: "Invalid orchestrator request: OrchestratorCapped" });
  } else {
    expect(readResult(await push()).result).toEqual({ case: "error", value: "no transcoders available" });
  }
});
