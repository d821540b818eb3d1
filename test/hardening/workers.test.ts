import { randomBytes } from "node:crypto";
import http2 from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  capabilitySetFromWords,
  checksumAddress,
  encodeGrpcFrame,
  hexToBytes,
  isNonRetryable,
  type NotifySegment,
  NotifySegmentSchema,
  RegisterRequestSchema,
  RESULT_AUTHORIZATION,
  RIG_REPORT_PATH,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { getInfo, getToken, headerOf, readRenditions, segData } from "../conformance/gateway.ts";
import { ADA, BOB, push, pushUnhurried, until } from "../e2e/pool.ts";
import { type Behaviour, behaviours, type FakeTranscoder, type Upload } from "../peers/fake-transcoder.ts";
import { readyRenditions, SOURCE_DURATION_MS, sourceSegment } from "../peers/media.ts";
import {
  connectH2,
  goClientSettings,
  type GrpcCall,
  type H2Connection,
  requestH2,
  requestHttp1,
  startGrpcCall,
} from "../peers/wire.ts";
import { Flag, frame, FrameType, openRawH2, request } from "./h2-frames.ts";
import { type Fortress, openFortress } from "./harness.ts";

let fortress: Fortress;
const joined: FakeTranscoder[] = [];
const opened: H2Connection[] = [];

beforeAll(async () => {
  fortress = await openFortress({}, { resident: false });
});
afterEach(async () => {
  for (const one of joined.splice(0)) await one[Symbol.asyncDispose]();
  for (const { session } of opened.splice(0)) session.destroy();
  await fortress.pool.untilConnected(0);
  await fortress.unharmed({ warnings: 4 });
});
afterAll(() => fortress?.[Symbol.asyncDispose]());

let rigs = 0;

async function join(behaviour: Behaviour, worker = BOB): Promise<FakeTranscoder> {
  const before = fortress.status().rigs.reduce((sum, rig) => sum + rig.connections, 0);
  const one = await fortress.pool.transcoder({ secret: `${worker}.rig${rigs++}`, behaviour, capacity: 100 });
  joined.push(one);
  await fortress.pool.untilConnected(before + 1);
  return one;
}

async function connect(): Promise<H2Connection> {
  const connection = await connectH2(fortress.target.address, { settings: goClientSettings });
  connection.session.on("error", () => {});
  opened.push(connection);
  return connection;
}

/** A registration and nothing more: whoever holds it does nothing but hold it. */
function register(
  { session }: H2Connection,
  change: MessageInitShape<typeof RegisterRequestSchema> = {},
  onMessage: (message: Uint8Array) => void = () => {},
): GrpcCall {
  const message = create(RegisterRequestSchema, { secret: `${BOB}.flood`, capacity: 1n, ...change });
  const bytes = toBinary(RegisterRequestSchema, message);
  return startGrpcCall(session, "/net.Transcoder/RegisterTranscoder", bytes, onMessage);
}

/** Lets a bad worker have a task to itself, then a good one join, and the bad one do its worst. */
async function overcome(worst: Behaviour): Promise<FakeTranscoder> {
  let release = (): void => {};
  const alone = new Promise<void>((resolve) => (release = resolve));
  const bad = await join(behaviours.when(() => alone, worst));
  const answered = push(fortress.gateway, fortress.name(), 0);
  await bad.until((one) => one.tasks.length === 1);
  await join(behaviours.ready(), ADA);
  release();
  expect((await answered).kind).toBe("done");
  return bad;
}

const part = (headers: string, data: Uint8Array | string): Buffer =>
  Buffer.concat([Buffer.from(`--b\r\n${headers}\r\n\r\n`), Buffer.from(data as string), Buffer.from("\r\n")]);
const multipart = (...parts: readonly Buffer[]): Upload => ({
  kind: "body",
  contentType: "multipart/mixed; boundary=b",
  body: Buffer.concat([...parts, Buffer.from("--b--\r\n")]),
});
const good = (i: number): Buffer =>
  part(`Content-Type: video/mp2t\r\nPixels: ${readyRenditions[i]!.pixels}`, readyRenditions[i]!.data);

describe("a gateway does not notice an upload", () => {
  test.each<[string, () => Upload, number]>([
    [
      "of no multipart",
      () => ({ kind: "body", contentType: "multipart/mixed; boundary=b", body: randomBytes(5_000) }),
      500,
    ],
    ["of another type", () => ({ kind: "body", contentType: "image/png", body: randomBytes(5_000) }), 200],
    ["of nothing", () => ({ kind: "body", contentType: "multipart/mixed; boundary=b", body: Buffer.alloc(0) }), 500],
    ["without a boundary", () => ({ kind: "body", contentType: "multipart/mixed", body: Buffer.alloc(10) }), 500],
    [
      "with a boundary of 4 KB",
      () => ({ kind: "body", contentType: `multipart/mixed; boundary=${"b".repeat(4_000)}`, body: Buffer.alloc(10) }),
      500,
    ],
    [
      "with a boundary that is a pattern",
      () => ({ kind: "body", contentType: 'multipart/mixed; boundary="(.*)+$"', body: Buffer.alloc(100_000, "(") }),
      500,
    ],
    [
      "of line ends, half a megabyte of them",
      () => ({ kind: "body", contentType: "multipart/mixed; boundary=b", body: Buffer.alloc(500_000, "\r\n--") }),
      500,
    ],
    [
      "that breaks off inside a part",
      () => ({ kind: "body", contentType: "multipart/mixed; boundary=b", body: good(0).subarray(0, 1_000) }),
      500,
    ],
    ["with a header that is none", () => multipart(part("Pixels 12", "x".repeat(100))), 500],
    ["with 100 KB of header", () => multipart(part(`Pixels: 5\r\nX: ${"x".repeat(100_000)}`, "x")), 500],
    ["of ten thousand parts", () => multipart(...Array.from({ length: 10_000 }, () => part("Pixels: 1", "x"))), 500],
    ["with negative pixels", () => multipart(part("Pixels: -5", readyRenditions[0]!.data), good(1), good(2)), 500],
    [
      "with more pixels than there are numbers",
      () => multipart(part(`Pixels: ${"9".repeat(30)}`, readyRenditions[0]!.data), good(1), good(2)),
      500,
    ],
    ["with pixels in words", () => multipart(part("Pixels: many", readyRenditions[0]!.data), good(1), good(2)), 500],
    [
      "with a length that lies",
      () => multipart(part("Content-Length: 99999999999\r\nPixels: 1", "x".repeat(50)), good(1), good(2)),
      200,
    ],
    [
      "with a hash of nothing",
      () => multipart(part("Content-Type: application/octet-stream", "hash"), good(0), good(1), good(2)),
      500,
    ],
    ["of one byte each", () => multipart(part("Pixels: 1", "x"), part("Pixels: 1", "x"), part("Pixels: 1", "x")), 200],
    ["of the source itself", () => multipart(...[0, 1, 2].map(() => part("Pixels: 1", sourceSegment))), 200],
  ])("%s", async (_, upload, status) => {
    const bad = await overcome(() => upload());
    expect(bad.uploads.map((one) => one.status)).toEqual([status]);
  });

  test.each<[string, string | Buffer]>([
    ["empty", ""],
    ["10 MB", "x".repeat(10_000_000)],
    ["NULs and colours", "\u0000\u001b[31mfailed\u001b[0m\r\n\u202E"],
    ["no UTF-8", Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80])],
    ["the text that every gateway believes", "TranscoderInvalidVideo"],
  ])("of an error whose text is %s", async (_, text) => {
    await overcome(() => ({
      kind: "body",
      contentType: "livepeer/transcoding-error",
      body: Buffer.from(text as string),
    }));
    const [failed] = (await fortress.pool.events("attempt.failed")).slice(-1);
    expect(String(failed?.data["text"]).length).toBeLessThanOrEqual(1_001);
  });

  test.each([299_000_000, Number.MAX_SAFE_INTEGER])(
    "announced with %s bytes: nobody waits for it, and nothing is set aside",
    async (length) => {
      await overcome(async (task) => {
        const { session } = await connect();
        const stream = session.request({ ...resultHeaders(task.taskId), "content-length": length });
        stream.on("error", () => {});
        stream.write(Buffer.alloc(100_000));
        const headers = await new Promise<http2.IncomingHttpHeaders>((resolve) => stream.once("response", resolve));
        expect(headers[":status"]).toBe(500);
        expect(fortress.status().bytesInFlight).toBeLessThan(10 << 20);
        return undefined;
      });
    },
  );

  test("without end: it is cut where no encoder goes", async () => {
    let sent = 0;
    let most = 0;
    await overcome(async (task) => {
      const { session } = await connect();
      const stream = session.request(resultHeaders(task.taskId));
      stream.on("error", () => {});
      const cut = new Promise<void>((resolve) => stream.once("close", resolve));
      stream.resume();
      const zeros = Buffer.alloc(256 * 1024);
      let open = true;
      void cut.then(() => (open = false));
      while (open) {
        sent += zeros.length;
        most = Math.max(most, fortress.status().bytesInFlight);
        if (!stream.write(zeros)) await Promise.race([cut, new Promise((resolve) => stream.once("drain", resolve))]);
      }
      return undefined;
    });
    expect(sent).toBeLessThan(80 << 20);
    expect(most).toBeLessThan(100 << 20);
  });

  test("that stands still in the middle", async () => {
    await overcome(async (task) => {
      const { session } = await connect();
      const stream = session.request({ ...resultHeaders(task.taskId), "content-length": 500_000 });
      stream.on("error", () => {});
      stream.resume();
      stream.write(Buffer.alloc(1_000));
      // Its answer says that nobody waits for it any more.
      await new Promise((resolve) => stream.once("close", resolve));
      return undefined;
    });
  });

  test("that is sent again while the first still hangs: the newer one counts", async () => {
    const held = { connections: 0, most: 0 };
    const hanging: http2.ClientHttp2Stream[] = [];
    await join(async (task) => {
      const { session } = await connect();
      for (; held.connections < 20; held.connections++) {
        const stream = session.request({
          ...resultHeaders(task.taskId, `${BOB}.rig${rigs - 1}`),
          "content-length": 1_000_000,
        });
        stream.on("error", () => {});
        stream.resume();
        hanging.push(stream);
        stream.write(Buffer.alloc(1_000));
        held.most = Math.max(held.most, fortress.status().bytesInFlight);
      }
      // All but the last are cut off, each by the one behind it.
      await until(() => hanging.filter((stream) => stream.closed).length === held.connections - 1);
      held.most = Math.max(held.most, fortress.status().bytesInFlight);
      return multipart(good(0), good(1), good(2));
    });
    expect((await pushUnhurried(fortress.gateway, fortress.name(), 0)).kind).toBe("done");
    expect(held.most).toBeLessThan(8 << 20);
    await until(() => hanging.every((stream) => stream.closed));
  });

  test("that comes before its source was complete", async () => {
    const tasks: NotifySegment[] = [];
    const early = await connect();
    register(early, { secret: `${BOB}.early` }, (message) => tasks.push(fromBinary(NotifySegmentSchema, message)));
    await fortress.pool.untilConnected(1);
    const header = headerOf(
      await segData(await getToken(fortress.target), { manifestId: Buffer.from(fortress.name()) }),
    );
    const { session } = await connect();
    const stream = session.request({
      ":method": "POST",
      ":path": "/segment",
      "livepeer-segment": header,
      "content-length": sourceSegment.length,
    });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.write(sourceSegment.subarray(0, 900_000));
    await until(() => tasks.length === 1);
    const upload = multipart(good(0), good(1), good(2));
    const answer = await requestH2(
      early.session,
      resultHeaders(tasks[0]!.taskId, `${BOB}.early`),
      upload.kind === "body" ? upload.body : undefined,
    );
    expect(answer.status).toBe(200);
    await until(async () =>
      (await fortress.pool.events("attempt.failed")).some(({ data }) => /before its source/.test(String(data["text"]))),
    );
    await join(behaviours.ready(), ADA);
    stream.end(sourceSegment.subarray(900_000));
    await new Promise((resolve) => stream.once("close", resolve));
    for (const { url } of readRenditions({ status: 200, body: Buffer.concat(chunks) }).segments) {
      expect((await requestHttp1(url)).status).toBe(200);
    }
  });
});

test("where all workers are bad, segments are lost in words that cost no gateway its session", async () => {
  await join(behaviours.hang());
  await join(behaviours.error("out of memory\u0000"));
  await join(behaviours.html());
  await join(() => multipart(good(0)));
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => push(fortress.gateway, fortress.name(), 0, SOURCE_DURATION_MS)),
  );
  for (const answer of answers) {
    expect(answer.kind).toBe("failed");
    expect(answer.kind === "failed" && isNonRetryable(answer.text)).toBe(true);
  }
});

const resultHeaders = (taskId: bigint | string, secret = `${BOB}.rig${rigs - 2}`): http2.OutgoingHttpHeaders => ({
  ":method": "POST",
  ":path": "/transcodeResults",
  authorization: RESULT_AUTHORIZATION,
  credentials: secret,
  "content-type": "multipart/mixed; boundary=b",
  taskid: String(taskId),
  pixels: "1",
});

describe("a result", () => {
  test.each<[string, http2.OutgoingHttpHeaders, number, string]>([
    ["without a secret", { credentials: undefined }, 401, "Unauthorized\n"],
    ["with a secret that nobody has", { credentials: "nobody" }, 401, "Unauthorized\n"],
    ["without authorization", { authorization: "Bearer x" }, 401, "Unauthorized\n"],
    ["of no type", { "content-type": undefined }, 415, "mime: no media type\n"],
    ["of a type that is none", { "content-type": "a/b/c" }, 415, "mime: expected token after slash\n"],
    ["of another type", { "content-type": "application/json" }, 200, "OK"],
    ["for a task of no number", { taskid: "0x12" }, 400, "Invalid Task ID\n"],
    ["for a task without a number", { taskid: undefined }, 400, "Invalid Task ID\n"],
    ["for a task beyond all numbers", { taskid: "9".repeat(40) }, 400, "Invalid Task ID\n"],
    ["for task 0", { taskid: "0" }, 200, "OK"],
    ["for a negative task", { taskid: "-9223372036854775808" }, 200, "OK"],
    ["for a task that nobody has", { taskid: "4611686018427387904" }, 200, "OK"],
    ["of negative pixels", { pixels: "-1" }, 400, "Invalid Pixels\n"],
    ["of pixels beyond all numbers", { pixels: "9".repeat(40) }, 400, "Invalid Pixels\n"],
  ])("%s is told so", async (_, headers, status, text) => {
    await join(behaviours.ready());
    const { session } = await connect();
    const all = { ...resultHeaders(12n, `${BOB}.rig${rigs - 1}`), ...headers };
    const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    const answer = await requestH2(session, given, Buffer.from("x".repeat(1_000)));
    expect({ status: answer.status, text: answer.body.toString() }).toEqual({ status, text });
  });

  test("from a rig whose worker was banned meanwhile counts no more", async () => {
    const CHEAT = "0x00000000000000000000000000000000000000bb";
    let release = (): void => {};
    const wait = new Promise<void>((resolve) => (release = resolve));
    const cheat = await join(
      behaviours.when(() => wait, behaviours.ready()),
      CHEAT,
    );
    const answered = push(fortress.gateway, fortress.name(), 0);
    await cheat.until((one) => one.tasks.length === 1);
    await fortress.pool.running.node.admin.setWorker(checksumAddress(hexToBytes(CHEAT.slice(2))), {
      banned: "a cheat",
    });
    release();
    await cheat.until((one) => one.uploads.length === 1);
    expect(cheat.uploads[0]).toMatchObject({ status: 401 });
    await join(behaviours.ready(), ADA);
    expect((await answered).kind).toBe("done");
    expect((await fortress.pool.running.node.admin.balances()).some((one) => one.worker.toLowerCase() === CHEAT)).toBe(
      false,
    );
  });

  test("of an error of nobody's task is answered before it is there", async () => {
    await join(behaviours.ready());
    const { session } = await connect();
    const stream = session.request({
      ...resultHeaders(7n, `${BOB}.rig${rigs - 1}`),
      "content-type": TRANSCODING_ERROR_TYPE,
      "content-length": 60_000,
    });
    stream.on("error", () => {});
    const status = new Promise((resolve) => stream.once("response", (headers) => resolve(headers[":status"])));
    stream.resume();
    expect(await status).toBe(200);
    stream.close();
  });

  test("that counts for nothing is refused, and recorded with the reason", async () => {
    await join(behaviours.ready());
    const secret = `${BOB}.rig${rigs - 1}`;
    const { session } = await connect();
    const before = (await fortress.pool.events("result.refused")).length;
    const post = async (change: Readonly<Record<string, string | undefined>>): Promise<number> => {
      const headers = Object.entries({ ...resultHeaders(7n, secret), ...change });
      const given = Object.fromEntries(headers.filter(([, value]) => value !== undefined));
      return (await requestH2(session, given, Buffer.from("text"))).status;
    };
    const refused: readonly (readonly [change: Record<string, string | undefined>, status: number, why: string])[] = [
      [{ credentials: undefined }, 401, "no rig has registered with its secret"],
      [{ credentials: "a stranger's" }, 401, "no rig has registered with its secret"],
      [{ authorization: "Bearer x" }, 401, "its authorization is not that of a transcoder"],
      [{ "content-type": undefined }, 415, "it has no media type"],
      [{ "content-type": "??" }, 415, "its media type is none"],
      [{ taskid: "seven" }, 400, "its task id is no number"],
      [{ pixels: "many" }, 400, "its pixels are no number"],
      [{ "content-type": "video/mp2t" }, 200, "no open task has this id"],
      [{ "content-type": TRANSCODING_ERROR_TYPE }, 200, "no open task has this id"],
    ];
    for (const [change, status] of refused) expect(await post(change)).toBe(status);
    await until(async () => (await fortress.pool.events("result.refused")).length >= before + refused.length);
    const events = (await fortress.pool.events("result.refused")).slice(before);
    expect(events.map(({ data }) => data["why"])).toEqual(refused.map(([, , why]) => why));
    expect(events.map(({ rig }) => rig === undefined)).toEqual(refused.map(([, , why]) => why.startsWith("no rig")));

    for (let i = 0; i < 100; i++) await post({ credentials: `stranger ${i}` });
    expect((await fortress.pool.events("result.refused")).length - before - refused.length).toBeLessThan(30);
  });

  test("for nobody's task, five hundred times, is a few events and no more", async () => {
    const before = (await fortress.pool.events("result.refused")).length;
    await join(behaviours.ready());
    const { session } = await connect();
    for (let i = 0; i < 10; i++) {
      await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          requestH2(session, resultHeaders(BigInt(i * 50 + n + 1), `${BOB}.rig${rigs - 1}`), Buffer.alloc(10)),
        ),
      );
    }
    const events = (await fortress.pool.events("result.refused")).length - before;
    expect(events).toBeGreaterThan(0);
    expect(events).toBeLessThan(30);
  });
});

describe("a worker that", () => {
  test("stops reading its source is cut off with its task", async () => {
    const streams: http2.ClientHttp2Stream[] = [];
    // It downloads what it was given again and again, and reads nothing of it.
    await overcome(async (task) => {
      const { session } = await connectH2(fortress.target.address, { settings: { initialWindowSize: 0 } });
      session.on("error", () => {});
      for (let i = 0; i < 100; i++) {
        const stream = session.request({ ":path": new URL(task.url).pathname });
        stream.on("error", () => {});
        streams.push(stream);
      }
      await Promise.all(streams.map((stream) => new Promise((resolve) => stream.once("response", resolve))));
      return undefined;
    });
    await until(() => streams.every((stream) => stream.closed));
    expect(new Set(streams.map((stream) => stream.rstCode))).toEqual(new Set([http2.constants.NGHTTP2_INTERNAL_ERROR]));
    streams[0]?.session?.destroy();
  });

  test("never reads its tasks does not hold them", async () => {
    const raw = await openRawH2(fortress.target.address, Buffer.from([0, 4, 0, 0, 0, 0]));
    const message = toBinary(
      RegisterRequestSchema,
      create(RegisterRequestSchema, { secret: `${BOB}.deaf`, capacity: 50n }),
    );
    const headers = request("POST", "/net.Transcoder/RegisterTranscoder", [
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ]);
    await raw.write(frame(FrameType.headers, Flag.endHeaders, 1, headers));
    await raw.write(frame(FrameType.data, Flag.endStream, 1, encodeGrpcFrame(message)));
    await fortress.pool.untilConnected(1);
    const answers = Array.from({ length: 5 }, (_, i) => push(fortress.gateway, fortress.name(), i));
    await until(() => fortress.status().jobsInFlight === 5);
    await join(behaviours.ready(), ADA);
    expect(new Set((await Promise.all(answers)).map(({ kind }) => kind))).toEqual(new Set(["done"]));
    raw.socket.destroy();
    await fortress.pool.untilConnected(1);
  });
});

describe("a registration", () => {
  test.each<[string, MessageInitShape<typeof RegisterRequestSchema>]>([
    ["an empty secret", { secret: "" }],
    ["a secret with a line break", { secret: `${BOB}.rig\n` }],
    ["a secret with a NUL", { secret: `${BOB}.rig\0` }],
    ["a secret of 4 KB", { secret: `${BOB}.${"r".repeat(4_000)}` }],
    ["a secret that is a command", { secret: "'; drop table openpool.events; -- correct-horse" }],
    ["an address of another checksum", { secret: BOB.replace("A", "a") }],
    ["the address of nobody", { secret: `0x${"0".repeat(40)}` }],
    ["half an address", { secret: "", ethereumAddress: Buffer.alloc(7, 1) }],
    ["the zero address beside a name", { secret: `${BOB}.zero`, ethereumAddress: Buffer.alloc(20) }],
    ["half an address beside a name", { secret: `${BOB}.half`, ethereumAddress: Buffer.alloc(7, 1) }],
    ["no capacity", { capacity: 0n }],
    ["a negative capacity", { capacity: -(2n ** 63n) }],
  ])("with %s is ended with a text that a transcoder understands", async (_, change) => {
    const call = register(await connect(), change);
    const end = await call.ended;
    expect(end).toMatchObject({ status: 2, rst: undefined });
    expect(["invalid secret", "zero capacity"]).toContain(end.message);
  });

  test("that is no message at all is ended", async () => {
    const { session } = await connect();
    for (const bytes of [Buffer.alloc(100, 0xff), Buffer.from([0x0a, 0x02, 0xff, 0xfe])]) {
      const call = startGrpcCall(session, "/net.Transcoder/RegisterTranscoder", bytes, () => {});
      expect([13, 2]).toContain((await call.ended).status);
    }
  });

  test("of a quintillion sessions counts as ten thousand, with a version that is one line", async () => {
    const connection = await connect();
    const version = `\u001b[2J\0\n${"9".repeat(100_000)}`;
    register(connection, {
      secret: `${BOB}.huge`,
      capacity: 10n ** 18n,
      capabilities: { version, bitstring: [5n] },
    });
    await fortress.pool.untilConnected(1);
    const rig = fortress.status().rigs.find(({ connections }) => connections > 0);
    expect(rig).toMatchObject({ capacity: 10_000, rig: "huge" });
    expect(rig?.version).toMatch(/^\[2J 9{50,70}…$/);
  });

  test("that claims every ability there is, and a hundred thousand that there are not, changes little", async () => {
    const connection = await connect();
    const bitstring = Array.from({ length: 20_000 }, () => 2n ** 64n - 1n);
    register(connection, { secret: `${BOB}.able`, capacity: 5n, capabilities: { version: "0.9.1", bitstring } });
    await fortress.pool.untilConnected(1);
    const info = await getInfo(fortress.target);
    expect(info.capabilities?.bitstring.length).toBe(1);
    expect(capabilitySetFromWords(info.capabilities?.bitstring ?? [])).toBe(2n ** 64n - 1n);
  });

  test("that goes on talking is not listened to", async () => {
    const { session } = await connect();
    const stream = session.request({
      ":method": "POST",
      ":path": "/net.Transcoder/RegisterTranscoder",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.resume();
    stream.write(
      encodeGrpcFrame(
        toBinary(RegisterRequestSchema, create(RegisterRequestSchema, { secret: `${BOB}.chatty`, capacity: 1n })),
      ),
    );
    await fortress.pool.untilConnected(1);
    for (let i = 0; i < 100; i++) {
      if (!stream.write(Buffer.alloc(256 * 1024))) await new Promise((resolve) => stream.once("drain", resolve));
    }
    expect(fortress.status().bytesInFlight).toBeLessThan(2 << 20);
  });

  test("of one rig, a thousand times at once, is a thousand places and a handful of events", async () => {
    const before = (await fortress.pool.events("rig.joined")).length;
    const connections = await Promise.all(Array.from({ length: 5 }, connect));
    await Promise.all(connections.flatMap((one) => Array.from({ length: 200 }, () => register(one))));
    await fortress.pool.untilConnected(1_000);
    expect(fortress.status().rigs.filter(({ connections: open }) => open > 0)).toMatchObject([
      { rig: "flood", capacity: 1_000 },
    ]);
    for (const { session } of connections) session.destroy();
    await fortress.pool.untilConnected(0);
    expect((await fortress.pool.events("rig.joined")).length - before).toBeLessThan(40);
  });

  test("under eight hundred made-up names is no more events than one address may cause", async () => {
    const count = async (): Promise<number> =>
      (await fortress.pool.events("rig.joined")).length + (await fortress.pool.events("rig.left")).length;
    const before = await count();
    const lines = fortress.log.length;
    for (let i = 0; i < 4; i++) {
      const connection = await connect();
      await Promise.all(
        Array.from({ length: 200 }, () => register(connection, { secret: `0x${randomBytes(20).toString("hex")}` })),
      );
      await fortress.pool.untilConnected(200);
      connection.session.destroy();
      await fortress.pool.untilConnected(0);
    }
    expect((await count()) - before).toBeLessThan(1_100);
    expect(fortress.log.length - lines).toBeLessThan(1_300);
  });

  test("under the two thousand and first new name of an address is put off, and that of another address is not", async () => {
    const connections = await Promise.all(Array.from({ length: 9 }, connect));
    const calls = await Promise.all(
      Array.from({ length: 2_010 }, (_, i) =>
        register(connections[i % connections.length]!, { secret: `${BOB}.name${i}` }),
      ),
    );
    const ends: unknown[] = [];
    for (const { ended } of calls) void ended.then(({ status }) => ends.push(status));
    await fortress.pool.untilConnected(2_000);
    await until(() => ends.length === 10);
    expect(new Set(ends)).toEqual(new Set([8]));
    await join(behaviours.ready(), ADA);
    for (const { session } of connections) session.destroy();
    await fortress.pool.untilConnected(1);
    // Whoever left makes room.
    void register(await connect(), { secret: `${BOB}.late` });
    await fortress.pool.untilConnected(2);
  });
});

describe("reports about machines", () => {
  const fine = { v: 1, software: { worker: "1", ffmpeg: "5", system: "x" }, devices: [], tests: [] };
  const device = {
    id: "nvidia:0",
    kind: "nvidia",
    model: "NVIDIA L4",
    driver: "550",
    memoryMib: 1,
    encoders: [],
    decoders: [],
    sessions: null,
    realTimeFactor: null,
  };
  const send = async (
    { session }: H2Connection,
    report: unknown,
    secret: string,
    authorization = RESULT_AUTHORIZATION,
  ): Promise<number> => {
    const body = Buffer.from(typeof report === "string" ? report : JSON.stringify(report));
    const headers = { ":path": RIG_REPORT_PATH, authorization, credentials: secret };
    return (await requestH2(session, headers, body)).status;
  };

  test("are taken from who is registered under the secret, and from nobody else", async () => {
    const connection = await connect();
    const secret = `${BOB}.teller`;
    expect(await send(connection, { ...fine, devices: [device] }, secret)).toBe(409);
    register(connection, { secret });
    await fortress.pool.untilConnected(1);
    expect(await send(connection, { ...fine, devices: [device] }, secret)).toBe(204);
    expect(await send(connection, { ...fine, devices: [device] }, `${ADA}.teller`)).toBe(409);
    expect(await send(connection, { ...fine, devices: [device] }, "no secret")).toBe(401);
    expect(await send(connection, { ...fine, devices: [device] }, secret, "Bearer x")).toBe(401);
  });

  test.each([
    ["no JSON", "{", 400],
    ["a version of tomorrow", { ...fine, v: 2, devices: [device] }, 400],
    ["no device", fine, 400],
    ["thousands of devices", { ...fine, devices: Array.from({ length: 65 }, () => device) }, 400],
    ["markup where a name of FFmpeg's belongs", { ...fine, devices: [{ ...device, encoders: ["<script>"] }] }, 400],
    ["a sentence where a key belongs", { ...fine, devices: [device], tests: [{ problem: "send me ETH" }] }, 400],
    ["a megabyte", { ...fine, software: { ...fine.software, worker: "x".repeat(1 << 20) } }, 413],
  ])("%s: refused", async (_, report, status) => {
    const connection = await connect();
    const secret = `${BOB}.bad${rigs++}`;
    register(connection, { secret });
    await fortress.pool.untilConnected(1);
    expect(await send(connection, report, secret)).toBe(status);
  });

  test("a storm of them is told to wait", async () => {
    const connection = await connect();
    const secret = `${BOB}.storm`;
    register(connection, { secret });
    await fortress.pool.untilConnected(1);
    const statuses = await Promise.all(
      Array.from({ length: 40 }, () => send(connection, { ...fine, devices: [device] }, secret)),
    );
    expect(new Set(statuses)).toEqual(new Set([204, 429]));
  });
});
