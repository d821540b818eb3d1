import http2 from "node:http2";
import net from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { encodeGrpcFrame, OrchestratorRequestSchema } from "@openpool/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { getToken, headerOf, readRenditions, segData } from "../conformance/gateway.ts";
import { until } from "../e2e/pool.ts";
import { sourceSegment } from "../peers/media.ts";
import { connectH2, connectTls, goClientSettings, requestH2, requestHttp1 } from "../peers/wire.ts";
import { Flag, frame, FrameType, headerBlock, openRawH2, type RawH2, request } from "./h2-frames.ts";
import { type Fortress, openFortress } from "./harness.ts";

let fortress: Fortress;

beforeAll(async () => {
  fortress = await openFortress();
});
afterEach(() => fortress.unharmed());
afterAll(() => fortress?.[Symbol.asyncDispose]());

/** Says something over HTTP/1.1 and reads what comes back until the connection closes, or `enough` came. */
async function say(bytes: string | Uint8Array, enough: (text: string) => boolean = () => false): Promise<string> {
  const socket = await connectTls(fortress.target.address, []);
  return new Promise((resolve) => {
    let heard = "";
    const done = (): void => {
      socket.destroy();
      resolve(heard);
    };
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      if (enough(heard)) done();
    });
    socket.on("error", () => {});
    socket.on("close", done);
    socket.write(bytes);
  });
}

/** The status codes of the answers in what was heard. */
const statuses = (heard: string): number[] =>
  [...heard.matchAll(/(?:^|\n|\r|[^\r\n])HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]));

async function segmentHeader(change: Parameters<typeof segData>[1] = {}): Promise<string> {
  const token = await getToken(fortress.target);
  return headerOf(await segData(token, { manifestId: Buffer.from(fortress.name()), ...change }));
}

describe("what is no TLS", () => {
  test.each<[string, string | Uint8Array]>([
    ["plain HTTP", "GET / HTTP/1.1\r\nHost: pool\r\n\r\n"],
    ["zeros", Buffer.alloc(4_096)],
    ["noise", Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 167 + 13) % 256))],
    [
      "half a ClientHello and then something else",
      Buffer.concat([Buffer.from("1603010200010001fc0303", "hex"), Buffer.alloc(600, 7)]),
    ],
    ["SSH", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["a PROXY line", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"],
  ])("is hung up on: %s", async (_, bytes) => {
    const socket = net.connect(fortress.target.address);
    socket.on("error", () => {});
    const heard: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
    socket.write(bytes);
    await new Promise((resolve) => socket.once("close", resolve));
    // At most a TLS alert.
    expect(Buffer.concat(heard).length).toBeLessThan(16);
  });

  test("is forgotten when it leaves: five hundred connections that say nothing", async () => {
    const sockets = Array.from({ length: 500 }, () => net.connect(fortress.target.address));
    for (const socket of sockets) socket.on("error", () => {});
    await until(async () => (await fortress.connections()) >= 500);
    await fortress.unharmed();
    for (const socket of sockets) socket.destroy();
  });

  test("leaves no trace when it breaks off in the middle of the handshake", async () => {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => connectTls(fortress.target.address, ["h2"])));
    for (const { tcp } of sockets) tcp.resetAndDestroy();
  });
});

describe("HTTP/1.1 that is none is answered and hung up on:", () => {
  const post = (headers: string, body = ""): string =>
    `POST /segment HTTP/1.1\r\nHost: pool\r\n${headers}\r\n\r\n${body}`;
  test.each<[string, string, number]>([
    ["no request at all", "hello?\r\n\r\n", 400],
    ["an unknown version", "GET / HTTP/9.9\r\n\r\n", 400],
    ["an unknown method", "FROBNICATE / HTTP/1.1\r\nHost: pool\r\n\r\n", 400],
    ["a NUL in the path", "GET /\0 HTTP/1.1\r\nHost: pool\r\n\r\n", 400],
    ["a header without a name", "GET / HTTP/1.1\r\nHost: pool\r\n: x\r\n\r\n", 400],
    ["a folded header", "GET / HTTP/1.1\r\nHost: pool\r\nA: b\r\n c\r\n\r\n", 400],
    ["300 KB of header", `GET / HTTP/1.1\r\nHost: pool\r\nX: ${"x".repeat(300_000)}\r\n\r\n`, 431],
    ["300 KB of path", `GET /${"x".repeat(300_000)} HTTP/1.1\r\nHost: pool\r\n\r\n`, 431],
    ["a negative length", post("Content-Length: -1"), 400],
    ["a length that is no number", post("Content-Length: NaN"), 400],
    ["a length with a sign", post("Content-Length: +5", "hello"), 400],
    ["a length in hexadecimal", post("Content-Length: 0x5", "hello"), 400],
    ["a length with an exponent", post("Content-Length: 1e3"), 400],
    ["a length beyond all numbers", post(`Content-Length: ${"9".repeat(40)}`), 400],
    ["two lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello"), 400],
    ["a length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
    ["an encoding that is none", post("Transfer-Encoding: gzip, zebra", "hello"), 400],
    [
      "a chunk without a size",
      post("Livepeer-Segment: AAAA\r\nTransfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
      400,
    ],
  ])("%s", async (_, bytes, status) => {
    expect(statuses(await say(bytes))[0]).toBe(status);
  });
});

describe("HTTP/1.1 that is only unusual is served:", () => {
  test("twenty requests in one breath, answered in their order", async () => {
    const paths = Array.from({ length: 20 }, (_, i) => (i % 2 ? "/healthz" : "/none"));
    const heard = await say(
      paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: pool\r\n\r\n`).join(""),
      (text) => statuses(text).length === 20,
    );
    expect(statuses(heard)).toEqual(paths.map((path) => (path === "/none" ? 404 : 200)));
  });

  test("ten thousand headers, of which nobody reads more than the first", async () => {
    const headers = "Abcdefghijklm: nopqrstuvwxy\r\n".repeat(9_000);
    expect(statuses(await say(`GET / HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n${headers}\r\n`))).toEqual([404]);
  });

  test("a refused segment with its body and another request behind it: the first is answered, and no guess made", async () => {
    const heard = await say(
      `POST /segment HTTP/1.1\r\nHost: pool\r\nContent-Length: 5\r\n\r\nhelloGET /healthz HTTP/1.1\r\nHost: pool\r\n\r\n`,
    );
    expect(statuses(heard)).toEqual([403]);
  });

  test("a segment in chunks", async () => {
    const header = await segmentHeader();
    const socket = await connectTls(fortress.target.address, []);
    const heard: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
    socket.write(
      `POST /segment HTTP/1.1\r\nHost: pool\r\nConnection: close\r\nLivepeer-Segment: ${header}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    for (let at = 0; at < sourceSegment.length; at += 100_000) {
      const chunk = sourceSegment.subarray(at, at + 100_000);
      socket.write(Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")]));
    }
    socket.write("0\r\n\r\n");
    await new Promise((resolve) => socket.once("close", resolve));
    const text = Buffer.concat(heard).toString("latin1");
    expect(statuses(text)).toEqual([200]);
    const urls = [...text.matchAll(/https:\/\/127\.0\.0\.1:\d+\/stream\/1\/[\w-]{36}\/\d\.ts/g)].map(([url]) => url);
    expect(urls).toHaveLength(3);
    for (const url of urls) await requestHttp1(url);
  });

  test("a client that waits to be told to go on", async () => {
    const header = await segmentHeader({ hash: new Uint8Array(32) });
    const heard = await say(
      `POST /segment HTTP/1.1\r\nHost: pool\r\nLivepeer-Segment: ${header}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
      (text) => text.includes("100 Continue"),
    );
    expect(heard.startsWith("HTTP/1.1 100 Continue\r\n\r\n")).toBe(true);
  });

  test("a client that expects what nobody promised", async () => {
    expect(
      statuses(await say("GET / HTTP/1.1\r\nHost: pool\r\nConnection: close\r\nExpect: miracles\r\n\r\n")),
    ).toEqual([417]);
  });

  test.each([
    [
      "an address in place of a path",
      "GET https://elsewhere/segment HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n",
    ],
    [
      "a wish for WebSocket",
      "GET /segment2 HTTP/1.1\r\nHost: pool\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    ],
    [
      "a wish for h2c",
      "GET /x HTTP/1.1\r\nHost: pool\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    ],
    ["a path out of the folder", "GET /stream/../../etc/passwd HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n"],
    [
      "the path of another process",
      "GET /stream/999/../../../etc/passwd HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n",
    ],
  ])("%s is nothing that is here", async (_, bytes) => {
    expect(statuses(await say(bytes))).toEqual([404]);
  });

  test("a tunnel is not dug", async () => {
    expect(await say("CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n")).toBe("");
  });

  test("a gateway that leaves in the middle of its body", async () => {
    const header = await segmentHeader();
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = await connectTls(fortress.target.address, []);
        socket.on("error", () => {});
        socket.write(
          `POST /segment HTTP/1.1\r\nHost: pool\r\nLivepeer-Segment: ${header}\r\nContent-Length: ${sourceSegment.length}\r\n\r\n`,
        );
        socket.write(sourceSegment.subarray(0, 300_000));
        return socket;
      }),
    );
    await until(() => fortress.status().jobsInFlight > 0);
    for (const { tcp } of sockets) tcp.resetAndDestroy();
  });
});

describe("a body larger than any segment", () => {
  test.each(["300000001", "999999999999999"])("announced with %s bytes is refused before it comes", async (length) => {
    const header = await segmentHeader();
    const heard = await say(
      `POST /segment HTTP/1.1\r\nHost: pool\r\nLivepeer-Segment: ${header}\r\nContent-Length: ${length}\r\n\r\n`,
      (text) => text.includes("TranscoderInvalidVideo"),
    );
    expect(statuses(heard)).toEqual([413]);
    const { session } = await connectH2(fortress.target.address, { settings: goClientSettings });
    const answer = await requestH2(session, {
      ":method": "POST",
      ":path": "/segment",
      "livepeer-segment": header,
      "content-length": length,
    }).catch((error: unknown) => error);
    // The client's own library may notice first that the length is not true.
    expect([413, undefined]).toContain((answer as { status?: number }).status);
    session.destroy();
  });
});

/** Until the other end is tired of it. */
async function flood(raw: RawH2, bytes: Uint8Array, times: number): Promise<void> {
  for (let i = 0; i < times; i++) if (!(await raw.write(bytes))) return;
}

const batch = (make: (i: number) => Uint8Array, count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

describe("HTTP/2 that is abused ends, and nothing else does:", () => {
  test("requests reset as soon as they are made, three thousand of them", async () => {
    const raw = await openRawH2(fortress.target.address);
    const block = request("POST", "/segment", [
      ["livepeer-segment", await segmentHeader()],
      ["content-length", "1000"],
    ]);
    const cancel = Buffer.from([0, 0, 0, 8]);
    let stream = 1;
    for (let i = 0; i < 30 && !raw.closed; i++) {
      const bytes = batch(() => {
        const id = stream;
        stream += 2;
        return Buffer.concat([
          frame(FrameType.headers, Flag.endHeaders, id, block),
          frame(FrameType.rst, 0, id, cancel),
        ]);
      }, 100);
      await raw.write(bytes);
    }
    expect(await raw.ended).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
  });

  test.each([
    ["PINGs", frame(FrameType.ping, 0, 0, Buffer.alloc(8))],
    ["SETTINGS", frame(FrameType.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]))],
  ])("a flood of %s whose answers are not read", async (_, one) => {
    const raw = await openRawH2(fortress.target.address);
    raw.socket.pause();
    await Promise.race([
      flood(
        raw,
        batch(() => one, 1_000),
        300,
      ),
      raw.ended,
      until(() => raw.socket.writableLength > 1 << 20),
    ]);
    await fortress.unharmed();
    raw.socket.destroy();
  });

  test("a header that never ends", async () => {
    const raw = await openRawH2(fortress.target.address);
    await raw.write(frame(FrameType.headers, Flag.none, 1, request("GET", "/")));
    await flood(
      raw,
      batch(() => frame(FrameType.continuation, Flag.none, 1, headerBlock([["x", "y".repeat(100)]])), 100),
      100,
    );
    expect(["closed", 1, 2, 11]).toContain(await raw.ended);
  });

  test("two megabytes of header in one request", async () => {
    const raw = await openRawH2(fortress.target.address);
    const field = headerBlock([["x", "y".repeat(16_000)]]);
    await raw.write(frame(FrameType.headers, Flag.none, 1, request("GET", "/")));
    for (let i = 0; i < 128; i++) if (!(await raw.write(frame(FrameType.continuation, Flag.none, 1, field)))) break;
    await raw.write(frame(FrameType.continuation, Flag.endHeaders, 1));
    // Ended or ignored: either way nothing else is harmed, which `afterEach` asks again when its connection is gone.
    await fortress.unharmed();
    raw.socket.destroy();
  });

  const get: readonly (readonly [string, string])[] = [
    [":method", "GET"],
    [":scheme", "https"],
    [":authority", "pool"],
  ];
  const window = frame(FrameType.window, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]));
  const broken: readonly (readonly [string, Buffer])[] = [
    ["DATA for nobody", frame(FrameType.data, 0, 0, Buffer.alloc(10))],
    ["DATA on a stream that nobody opened", frame(FrameType.data, 0, 7, Buffer.alloc(10))],
    ["a stream with an even number", frame(FrameType.headers, Flag.endHeaders, 2, request("GET", "/"))],
    ["a window beyond all windows", Buffer.concat([window, window])],
    ["a window update of nothing", frame(FrameType.window, 0, 0, Buffer.alloc(4))],
    ["SETTINGS of seven bytes", frame(FrameType.settings, 0, 0, Buffer.alloc(7))],
    ["a PING of three bytes", frame(FrameType.ping, 0, 0, Buffer.alloc(3))],
    ["a frame larger than allowed", frame(FrameType.data, 0, 1, Buffer.alloc(1 << 19))],
    ["a header block that is noise", frame(FrameType.headers, Flag.endHeaders, 1, Buffer.alloc(64, 0xff))],
    ["CONTINUATION of nothing", frame(FrameType.continuation, Flag.endHeaders, 1)],
  ];

  test.each(broken)("%s", async (_, bytes) => {
    const raw = await openRawH2(fortress.target.address);
    await raw.write(bytes);
    expect(["closed", 1, 2, 3, 4, 5, 6, 9]).toContain(await raw.ended);
    raw.socket.destroy();
  });

  test("a broken frame behind a request: the connection is cleared away with what was asked on it", async () => {
    const header = await segmentHeader();
    const raws = await Promise.all(
      broken.map(async ([, bytes]) => {
        const raw = await openRawH2(fortress.target.address);
        const block = request("POST", "/segment", [
          ["livepeer-segment", header],
          ["content-length", "100000"],
        ]);
        await raw.write(frame(FrameType.headers, Flag.endHeaders, 1, block));
        await raw.write(Buffer.concat([frame(FrameType.data, 0, 1, Buffer.alloc(1_000)), bytes]));
        return raw;
      }),
    );
    // Each is told so, or hung up on.
    for (const raw of raws) expect(["closed", 1, 2, 3, 4, 5, 6, 9]).toContain(await raw.ended);
    // Nothing more is read from such a connection, so that its client has left is not seen either: what it held goes when
    // the upload has stood still for five seconds. `unharmed` waits for that.
    for (const raw of raws) raw.socket.destroy();
  });

  test.each<[string, readonly (readonly [string, string])[]]>([
    ["without a path", get],
    ["with an empty path", [...get, [":path", ""]]],
    ["with two paths", [...get, [":path", "/"], [":path", "/x"]]],
    ["with a header in capitals", [...get, [":path", "/"], ["X-Y", "z"]]],
    ["with a line break in a header", [...get, [":path", "/"], ["x", "a\r\nb: c"]]],
    ["with a length that is none", [...get, [":path", "/segment"], ["content-length", "-5"]]],
    [
      "for a tunnel",
      [
        [":method", "CONNECT"],
        [":authority", "db.internal:5432"],
      ],
    ],
    ["that is an answer", [[":status", "200"]]],
  ])("a request %s", async (_, headers) => {
    const raw = await openRawH2(fortress.target.address);
    await raw.write(frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, headerBlock(headers)));
    // Ended or ignored: either way nothing else is harmed, which `afterEach` asks again when its connection is gone.
    await fortress.unharmed();
    raw.socket.destroy();
  });

  test("more requests at once than allowed: those beyond are refused, the others are answered", async () => {
    const { session } = await connectH2(fortress.target.address, { settings: goClientSettings });
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(250);
    const answers = await Promise.all(Array.from({ length: 600 }, () => requestH2(session, { ":path": "/healthz" })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    session.destroy();
  });

  test("a peer that leaves no window for its answer gets none, and keeps nobody waiting", async () => {
    const data = await requestH2(
      (await connectH2(fortress.target.address, { settings: goClientSettings })).session,
      { ":method": "POST", ":path": "/segment", "livepeer-segment": await segmentHeader() },
      sourceSegment,
    );
    const { segments } = readRenditions(data);
    const path = new URL(segments[2]!.url).pathname;
    const raw = await openRawH2(fortress.target.address, Buffer.from([0, 4, 0, 0, 0, 0]));
    for (let stream = 1; stream < 400; stream += 2) {
      await raw.write(frame(FrameType.headers, Flag.endHeaders | Flag.endStream, stream, request("GET", path)));
    }
    for (const { url } of segments) expect((await requestHttp1(url)).status).toBe(200);
    raw.socket.destroy();
    await raw.ended;
  });

  test("a connection cut in the middle of a hundred answers", async () => {
    const connections = await Promise.all(
      Array.from({ length: 10 }, () => connectH2(fortress.target.address, { settings: goClientSettings })),
    );
    const header = await segmentHeader();
    for (const { session } of connections) {
      session.on("error", () => {});
      for (let i = 0; i < 10; i++) {
        const stream = session.request({
          ":method": "POST",
          ":path": "/segment",
          "livepeer-segment": header,
          "content-length": sourceSegment.length,
        });
        stream.on("error", () => {});
        stream.end(sourceSegment);
      }
    }
    await until(() => fortress.status().jobsInFlight > 0);
    for (const { socket } of connections) socket.tcp.resetAndDestroy();
  });
});

describe("gRPC that is none:", () => {
  const info = toBinary(OrchestratorRequestSchema, create(OrchestratorRequestSchema, {}));
  const flagged = (flag: number): Buffer => {
    const bytes = Buffer.from(encodeGrpcFrame(info));
    bytes[0] = flag;
    return bytes;
  };
  const sized = (length: number): Buffer => {
    const bytes = Buffer.alloc(5);
    bytes.writeUInt32BE(length, 1);
    return bytes;
  };

  /** Calls with a body as it is, and reads how the call ended. */
  async function call(
    body: Uint8Array,
    headers: http2.OutgoingHttpHeaders = {},
  ): Promise<{ status: string; message: string; answered: boolean }> {
    const { session } = await connectH2(fortress.target.address);
    return new Promise((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/net.Orchestrator/GetOrchestrator",
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      let end: http2.IncomingHttpHeaders = {};
      let bytes = 0;
      stream.on("response", (one) => (end = { ...end, ...one }));
      stream.on("trailers", (one) => (end = { ...end, ...one }));
      stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
      stream.on("error", () => {});
      stream.on("close", () => {
        session.destroy();
        resolve({
          status: String(end["grpc-status"]),
          message: String(end["grpc-message"] ?? ""),
          answered: bytes > 0,
        });
      });
      stream.end(body);
    });
  }

  test.each<[string, Uint8Array, string, RegExp]>([
    ["no message", Buffer.alloc(0), "13", /ended inside a message/],
    ["half a prefix", Buffer.from([0, 0]), "13", /ended inside a message/],
    ["half a message", sized(100), "13", /ended inside a message/],
    ["a message of 4 GB", sized(0xffff_ffff), "8", /received message larger than max \(4294967295 vs\. \d+\)/],
    [
      "a message just too large",
      Buffer.concat([sized(256 * 1024 + 1), Buffer.alloc(256 * 1024 + 1)]),
      "8",
      /larger than max/,
    ],
    ["a compressed message", flagged(1), "12", /compressed/],
    ["a flag that there is not", flagged(77), "12", /compressed/],
    ["noise in place of protobuf", encodeGrpcFrame(Buffer.alloc(100, 0xff)), "13", /error unmarshalling request/],
  ])("%s", async (_, body, status, message) => {
    const end = await call(body);
    expect(end.status).toBe(status);
    expect(decodeURIComponent(end.message)).toMatch(message);
    expect(end.answered).toBe(false);
  });

  test("what follows the message is dropped", async () => {
    expect(await call(Buffer.concat([encodeGrpcFrame(info), Buffer.alloc(500_000, 0xff)]))).toMatchObject({
      status: "0",
      answered: true,
    });
  });

  test("a message in a hundred thousand pieces costs no more than a whole one", async () => {
    const raw = await openRawH2(fortress.target.address);
    await raw.write(
      frame(
        FrameType.headers,
        Flag.endHeaders,
        1,
        request("POST", "/net.Orchestrator/GetOrchestrator", [
          ["content-type", "application/grpc"],
          ["te", "trailers"],
        ]),
      ),
    );
    await raw.write(frame(FrameType.data, 0, 1, sized(200_000)));
    // Joined anew with each piece, this takes minutes, and the test is given up.
    await flood(
      raw,
      batch(() => frame(FrameType.data, 0, 1, Buffer.alloc(1)), 1_000),
      100,
    );
    await fortress.unharmed();
    raw.socket.destroy();
  }, 90_000);

  test.each([
    ["an unknown method of 10 KB", { ":path": `/net.Orchestrator/${"x".repeat(10_000)}` }, "12"],
    ["a method with line breaks in its name", { ":path": "/net.Orchestrator/a%0d%0ab" }, "12"],
  ])("%s", async (_, headers, status) => {
    expect((await call(encodeGrpcFrame(info), headers)).status).toBe(status);
  });

  test.each([
    ["GET", { ":method": "GET" }],
    ["HEAD", { ":method": "HEAD" }],
    ["PUT", { ":method": "PUT" }],
  ])("a call by %s is no call", async (_, headers) => {
    expect((await call(headers[":method"] === "PUT" ? info : Buffer.alloc(0), headers)).status).toBe("undefined");
  });
});

test("of all of these no connection is left", async () => {
  // What HTTP/2 has ended itself is found by asking for a sign of life: looked at every five seconds, gone ten after it was
  // asked. On a machine that stands still that takes a multiple of it.
  await until(async () => (await fortress.connections()) <= HONEST_CONNECTIONS, 60_000);
});

/** What the honest peers of the test keep open. */
const HONEST_CONNECTIONS = 10;
