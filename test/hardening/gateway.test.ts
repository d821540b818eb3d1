import http from "node:http";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  AuthTokenSchema,
  capabilityWords,
  EndTranscodingSessionRequestSchema,
  isNonRetryable,
  OrchestratorRequestSchema,
  type Profile,
  type SegData,
  SegParametersSchema,
  setProfiles,
} from "@openpool/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  connectGateway,
  getToken,
  headerOf,
  JOB_CAPABILITIES,
  postSegment,
  readRenditions,
  readResult,
  segData,
} from "../conformance/gateway.ts";
import { uriOf } from "../conformance/target.ts";
import { readyProfiles, sourceSegment } from "../peers/media.ts";
import { callUnary, connectH2, dialUnary, goClientSettings, type H2Connection, requestHttp1 } from "../peers/wire.ts";
import { type Fortress, openFortress } from "./harness.ts";

let fortress: Fortress;
let connection: H2Connection;

beforeAll(async () => {
  fortress = await openFortress();
  connection = await connectGateway(fortress.target);
});
afterEach(() => fortress.unharmed({ warnings: 1 }));
afterAll(async () => {
  connection?.session.destroy();
  await fortress?.[Symbol.asyncDispose]();
});

const dataOf = async (change: Partial<SegData> = {}, body?: Uint8Array): Promise<SegData> =>
  segData(await getToken(fortress.target), { manifestId: Buffer.from(fortress.name()), ...change }, body);

const withProfiles = async (profiles: readonly Profile[]): Promise<SegData> => {
  const data = await dataOf();
  setProfiles(data, profiles);
  return data;
};

const profile = (change: Partial<Profile>): Profile => ({ ...readyProfiles[0]!, ...change });

/** What a gateway reads, and whether it costs it its session. */
async function refusal(data: SegData, body?: Uint8Array): Promise<{ status: number; text: string }> {
  const answer = await postSegment(connection, headerOf(data), body ? { body } : {});
  return { status: answer.status, text: answer.body.toString().trim() };
}

describe("what no transcoder can do is refused before one is asked, in words that cost no session:", () => {
  test.each<[string, readonly Profile[], string]>([
    ["no profiles", [], "Invalid argument"],
    ["a hundred profiles", Array.from({ length: 100 }, () => profile({})), "Too many outputs"],
    ["a picture two billion wide", [profile({ width: 2 ** 31 - 1 })], "TranscoderInvalidResolution"],
    ["a picture of negative height", [profile({ height: -240 })], "TranscoderInvalidResolution"],
    ["a million pictures a second", [profile({ fps: 1_000_000 })], "Invalid argument"],
    ["a negative bitrate", [profile({ bitrate: -1 })], "Invalid argument"],
    ["a quality that there is not", [profile({ quality: 4_000_000_000 })], "Invalid argument"],
    ["a negative GOP", [profile({ gopMs: -2_000 })], "TranscoderInvalidGOP"],
  ])("%s", async (_, profiles, text) => {
    const before = fortress.worker!.tasks.length;
    expect(await refusal(await withProfiles(profiles))).toEqual({ status: 400, text });
    expect(isNonRetryable(text)).toBe(true);
    expect(fortress.worker!.tasks.length).toBe(before);
  });

  test.each([
    ["that ends before it begins", 2_000n, 1_000n],
    ["that begins after the longest segment", 300_000n, 0n],
    ["of nothing", 700n, 700n],
  ])("a clip %s", async (_, from, to) => {
    const data = await dataOf({ segmentParameters: create(SegParametersSchema, { from, to }) });
    expect(await refusal(data)).toEqual({ status: 400, text: "Invalid argument" });
  });
});

test("a clip that ends in half a billion years ends with the segment", async () => {
  const data = await dataOf({ segmentParameters: create(SegParametersSchema, { from: 0n, to: 2n ** 64n - 1n }) });
  const { segments } = readRenditions(await postSegment(connection, headerOf(data)));
  await fetchAll(segments.map(({ url }) => url));
});

describe("names are never more than names:", () => {
  test.each<[string, Uint8Array]>([
    ["empty", Buffer.alloc(0)],
    ["a way out of the folder", Buffer.from("../../../../etc/passwd")],
    ["an absolute path", Buffer.from("/etc/cron.d/x\0")],
    ["4 KB", Buffer.alloc(4_096, "x")],
    ["no UTF-8", Buffer.from([0xff, 0xfe, 0x80, 0x00, 0xc3, 0x28])],
    ["a line break and a header", Buffer.from("a\r\nSet-Cookie: x=1\r\n\r\n<html>")],
  ])("a manifest id that is %s", async (_, manifestId) => {
    const result = readRenditions(await postSegment(connection, headerOf(await dataOf({ manifestId }))));
    for (const { url } of result.segments)
      expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+\/stream\/1\/[0-9a-f-]{36}\/\d\.ts$/);
    const task = fortress.worker!.tasks.at(-1)!;
    expect(task.manifestId).toMatch(/^[0-9a-f]{24}$/);
    await fetchAll(result.segments.map(({ url }) => url));
  });

  test.each([
    ["%zz", "%zz"],
    ["slashes", "../../../tmp/x"],
    ["line breaks", "a\r\nb\nc"],
    ["10 KB", "x".repeat(10_000)],
    ["nothing", ""],
    ["a NUL", "a\0b"],
  ])("a profile name of %s", async (_, name) => {
    const data = await withProfiles(readyProfiles.map((one) => ({ ...one, name })));
    const result = readRenditions(await postSegment(connection, headerOf(data)));
    const urls = result.segments.map(({ url }) => url);
    expect(urls).toHaveLength(3);
    for (const { name: told } of fortress.worker!.tasks.at(-1)!.profiles) expect(told).toMatch(/^[\w .:+()-]{1,64}$/);
    await fetchAll(urls);
  });

  test.each([-1n, -(2n ** 63n), 2n ** 63n - 1n])("a sequence number of %s", async (seq) => {
    const answer = readResult(await postSegment(connection, headerOf(await dataOf({ seq }))));
    expect(answer.seq).toBe(seq);
    expect(fortress.worker!.tasks.at(-1)!.seq).toBe(seq);
    await fetchAll(answer.result.case === "data" ? answer.result.value.segments.map(({ url }) => url) : []);
  });
});

async function fetchAll(urls: readonly string[]): Promise<void> {
  for (const url of urls) expect((await requestHttp1(url)).status).toBe(200);
}

describe("sources that are none are told so at once, and cost nothing but themselves:", () => {
  const early = { status: 200, text: "TranscoderInvalidVideo" };
  test.each<[string, () => Uint8Array]>([
    ["nothing at all", () => Buffer.alloc(0)],
    ["one byte", () => Buffer.from([0x47])],
    ["24 KB of text", () => Buffer.from("<html>not a video</html>".repeat(1_000))],
    ["a megabyte of zeros", () => Buffer.alloc(1 << 20)],
  ])("%s", async (_, make) => {
    const body = make();
    const answer = await postSegment(connection, headerOf(await dataOf({}, body)), { body });
    const { result, info } = readResult(answer);
    expect({ status: answer.status, text: result.value }).toEqual(early);
    expect(result.case).toBe("error");
    expect(info?.authToken).toBeDefined();
  });
});

describe("headers", () => {
  test("of capabilities without end are no work: nobody has them", async () => {
    const { capabilities } = await dataOf();
    const bitstring = Array.from({ length: 150_000 }, () => 1n);
    const data = await dataOf({ capabilities: { ...capabilities!, bitstring } });
    const answer = await requestHttp1(`${uriOf(fortress.target)}/segment`, {
      method: "POST",
      headers: { "livepeer-segment": headerOf(data) },
    });
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({
      status: 403,
      text: "incompatible capabilities\n",
    });
  });

  test("in GetOrchestrator of capabilities without end are answered as quickly as any other", async () => {
    const bitstring = Array.from({ length: 200_000 }, () => 1n);
    const request = toBinary(
      OrchestratorRequestSchema,
      create(OrchestratorRequestSchema, { capabilities: { bitstring, constraints: {} } }),
    );
    const answer = await dialUnary(fortress.target.address, "/net.Orchestrator/GetOrchestrator", request);
    expect({ status: answer.status, message: answer.message }).toEqual({
      status: 2,
      message: "Invalid orchestrator request: OrchestratorCapped",
    });
  });

  test("of a version with a thousand numbers are read all the same", async () => {
    const minVersion = `${"1".repeat(1_000)}.`.repeat(20);
    const constraints = { $typeName: "net.Capabilities.Constraints" as const, minVersion, PerCapability: {} };
    const { capabilities } = await dataOf();
    const answer = await postSegment(
      connection,
      headerOf(await dataOf({ capabilities: { ...capabilities!, constraints } })),
    );
    // Not a version: a stock orchestrator lets it pass, and so does the pool.
    for (const { url } of readRenditions(answer).segments) await requestHttp1(url);
  });
});

async function freshConnection(): Promise<H2Connection> {
  return connectH2(fortress.target.address, { settings: goClientSettings });
}

describe("a session", () => {
  test("survives a storm of ends, of its own and of others, and a token of nobody", async () => {
    const token = await getToken(fortress.target);
    const { session } = await freshConnection();
    const end = (authToken: typeof token | undefined) =>
      callUnary(
        session,
        "/net.Orchestrator/EndTranscodingSession",
        toBinary(
          EndTranscodingSessionRequestSchema,
          create(EndTranscodingSessionRequestSchema, authToken ? { authToken } : {}),
        ),
      );
    const ends = await Promise.all(Array.from({ length: 200 }, (_, i) => end(i % 2 ? token : undefined)));
    expect(new Set(ends.map(({ status }) => status))).toEqual(new Set([0, 2]));
    const huge = create(AuthTokenSchema, {
      sessionId: "s".repeat(200_000),
      token: new Uint8Array(32),
      expiration: -1n,
    });
    expect(await end(huge)).toMatchObject({ status: 2, message: "Invalid auth token" });
    session.destroy();
    const data = await segData(token, { manifestId: Buffer.from(fortress.name()) });
    await fetchAll(readRenditions(await postSegment(connection, headerOf(data))).segments.map(({ url }) => url));
  });

  test("is not opened by segments that never were: a thousand names fill nothing", async () => {
    const token = await getToken(fortress.target);
    const before = fortress.status().sessions;
    const header = async (i: number): Promise<string> =>
      headerOf(await segData(token, { manifestId: Buffer.from(`made up ${i}`), hash: new Uint8Array(32) }));
    for (let i = 0; i < 300; i += 50) {
      const posts = Array.from({ length: 50 }, async (_, n) =>
        postSegment(connection, await header(i + n), { body: Buffer.from("x") }),
      );
      expect(new Set((await Promise.all(posts)).map(({ status }) => status))).toEqual(new Set([403]));
    }
    // Some of before may have gone idle meanwhile.
    expect(fortress.status().sessions).toBeLessThanOrEqual(before);
  });

  test("is not lost to a wall clock that says its token has expired", async () => {
    const manifestId = Buffer.from(fortress.name());
    // As if an hour had passed between the two.
    for (const expiresInS of [3_600, -1]) {
      const expiration = BigInt(Math.floor(Date.now() / 1000) + expiresInS);
      const data = await segData(await fortress.target.forgeToken("00000000000000ff", expiration), { manifestId });
      await fetchAll(readRenditions(await postSegment(connection, headerOf(data))).segments.map(({ url }) => url));
    }
  });
});

describe("a segment by URL", () => {
  /** Serves whatever the test says, on this machine; the test's gateway is local too, so the pool may fetch from it. */
  async function serving<T>(listener: http.RequestListener, use: (url: string) => Promise<T>): Promise<T> {
    const server = http.createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    try {
      return await use(`http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }
  const byUrl = async (url: string | Uint8Array) => {
    const answer = await postSegment(connection, headerOf(await dataOf()), {
      headers: { "content-type": "application/vnd+livepeer.uri" },
      body: Buffer.from(url as string),
    });
    return { status: answer.status, text: answer.body.toString().trim() };
  };
  const badRequest = { status: 400, text: "BadRequest" };

  test.each([
    ["is no URL", "not a url"],
    ["is empty", ""],
    ["is 100 KB long", `http://127.0.0.1/${"x".repeat(100_000)}`],
    ["is no UTF-8", "http://\u00ff\u00fe/"],
    ["names a file", "file:///etc/passwd"],
    ["names a script", "javascript:alert(1)"],
    ["names a port that nobody listens on", "http://127.0.0.1:1/"],
    ["names this pool's own door without TLS", "http://127.0.0.1:0/"],
  ])("that %s is refused", async (_, url) => {
    expect(await byUrl(url)).toEqual(badRequest);
  });

  test("that leads elsewhere is not followed", async () => {
    let followed = 0;
    const outcome = await serving(
      (request, response) => {
        if (request.url === "/secret") followed++;
        response.writeHead(302, { location: "/secret" }).end();
      },
      (url) => byUrl(url),
    );
    expect(outcome).toEqual(badRequest);
    expect(followed).toBe(0);
  });

  test("to something without end is given up", async () => {
    const outcome = await serving(
      (_, response) => {
        response.writeHead(200, { "content-length": 300_000_001 });
        response.write("x");
      },
      (url) => byUrl(url),
    );
    expect(outcome).toEqual({ status: 413, text: "TranscoderInvalidVideo" });
  });

  test("to something that does not come while its gateway listens is given up in words that cost no session", async () => {
    const outcome = await serving(
      (_, response) => {
        response.writeHead(200, { "content-length": 1_000 });
        response.write("x");
      },
      (url) => byUrl(url),
    );
    expect(outcome).toEqual({ status: 500, text: "TranscoderInvalidVideo" });
  });

  test("to something that breaks off in the middle is refused", async () => {
    const outcome = await serving(
      (_, response) => {
        response.writeHead(200, { "content-length": 1_000 });
        response.write("x");
        setImmediate(() => response.destroy());
      },
      (url) => byUrl(url),
    );
    expect(outcome).toEqual(badRequest);
  });

  test("to another source than promised is refused", async () => {
    const outcome = await serving(
      (_, response) => void response.end(sourceSegment.subarray(1)),
      (url) => byUrl(url),
    );
    expect(outcome).toEqual({ status: 403, text: "Forbidden" });
  });
});

describe("methods that nobody uses", () => {
  const paths = [
    "/",
    "/segment",
    "/transcodeResults",
    "/stream/1/none/0.ts",
    "/healthz",
    "/net.Orchestrator/Ping",
    "/../../etc/passwd",
  ];
  test.each(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])(
    "%s is answered on every path",
    async (method) => {
      const { session } = await freshConnection();
      for (const path of paths) {
        const one = await requestHttp1(`${uriOf(fortress.target)}${path}`, { method });
        const other = await statusOverH2(session, method, path);
        expect([path, other]).toEqual([path, one.status]);
        expect([200, 401, 403, 404, 405]).toContain(one.status);
        if (method === "HEAD") expect(one.body).toHaveLength(0);
      }
      session.destroy();
    },
  );

  test("are refused where there is something to download", async () => {
    const { segments } = readRenditions(await postSegment(connection, headerOf(await dataOf())));
    for (const method of ["PUT", "DELETE", "POST"]) {
      const answer = await requestHttp1(segments[0]!.url, { method });
      expect({ status: answer.status, allow: answer.headers.allow }).toEqual({ status: 405, allow: "GET, HEAD" });
    }
    await fetchAll(segments.map(({ url }) => url));
  });

  test("do not start a segment twice: HEAD with a good one is answered without a body", async () => {
    const header = headerOf(await dataOf());
    const answer = await requestHttp1(`${uriOf(fortress.target)}/segment`, {
      method: "HEAD",
      headers: { "livepeer-segment": header },
    });
    expect(answer.body).toHaveLength(0);
  });
});

function statusOverH2(session: H2Connection["session"], method: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": method, ":path": path }, { endStream: true });
    stream.on("response", (headers) => {
      stream.on("error", () => {});
      stream.resume();
      stream.on("close", () => resolve(Number(headers[":status"])));
    });
    stream.on("error", reject);
  });
}

test("durations: none is two seconds, five minutes is the most", async () => {
  for (const duration of [0, 1, 300_000]) {
    const answer = await postSegment(connection, headerOf(await dataOf({ duration })));
    await fetchAll(readRenditions(answer).segments.map(({ url }) => url));
  }
  expect(await refusal(await dataOf({ duration: 2 ** 31 - 1 }))).toEqual({ status: 403, text: "invalid duration" });
  expect(await refusal(await dataOf({ duration: -(2 ** 31) }))).toEqual({ status: 403, text: "invalid duration" });
  expect(capabilityWords(JOB_CAPABILITIES)).toHaveLength(1);
});
