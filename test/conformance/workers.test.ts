import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  capabilitiesToWire,
  capabilitySetFromWords,
  DEFAULT_CAPABILITIES,
  EndTranscodingSessionRequestSchema,
  hexToBytes,
  type NotifySegment,
  RegisterRequestSchema,
} from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  behaviours,
  readyUpload,
  SOFTWARE_CAPABILITIES,
  startFakeTranscoder,
  type FakeTranscoderOptions,
} from "../peers/fake-transcoder.ts";
import { readyRenditions, sourceSegment } from "../peers/media.ts";
import { connectH2, dialUnary, hostHeader, requestH2, requestHttp1, startGrpcCall } from "../peers/wire.ts";
import {
  callGetOrchestrator,
  connectGateway,
  getInfo,
  getToken,
  headerOf,
  JOB_CAPABILITIES,
  jobRequest,
  postSegment,
  readInfo,
  readRenditions,
  segData,
} from "./gateway.ts";
import { openTarget, type Target, uriOf, WORKER } from "./target.ts";

let target: Target;
beforeAll(async () => void (target = await openTarget()));
afterAll(() => target[Symbol.asyncDispose]());

const start = (options: Partial<FakeTranscoderOptions> = {}) =>
  startFakeTranscoder({ addr: hostHeader(target.address), secret: target.secret(), capacity: 8, ...options });

/** A registration with nothing behind it: the messages that arrive are kept as they are. */
async function register(request: MessageInitShape<typeof RegisterRequestSchema>) {
  const { session } = await connectH2(target.address);
  const messages: Uint8Array[] = [];
  const bytes = toBinary(RegisterRequestSchema, create(RegisterRequestSchema, request));
  const call = startGrpcCall(session, "/net.Transcoder/RegisterTranscoder", bytes, (message) => {
    messages.push(message);
  });
  return {
    messages,
    ended: call.ended,
    [Symbol.asyncDispose]: () => Promise.resolve(session.destroy()),
  };
}

const software = (): MessageInitShape<typeof RegisterRequestSchema> => ({
  secret: target.secret(),
  capacity: 8n,
  capabilities: capabilitiesToWire(SOFTWARE_CAPABILITIES, "0.9.1"),
});

/** What is announced for a poller, so that no room is asked for. */
async function announced(): Promise<bigint> {
  return capabilitySetFromWords(
    readInfo(await callGetOrchestrator(target, jobRequest(0n))).capabilities?.bitstring ?? [],
  );
}

async function push(seq = 0n, manifestId = "stream") {
  const connection = await connectGateway(target);
  const data = await segData(await getToken(target), { seq, manifestId: Buffer.from(manifestId) });
  const answer = await postSegment(connection, headerOf(data));
  connection.session.close();
  return answer;
}

describe("a registration", () => {
  test("with a wrong secret is ended with the text that stops a transcoder for good", async () => {
    await using refused = await register({ ...software(), secret: "wrong" });
    expect(await refused.ended).toEqual({ status: 2, message: "invalid secret", rst: undefined });
  });

  test.each([0n, -1n])("with a capacity of %s is ended with the other such text", async (capacity) => {
    await using refused = await register({ ...software(), capacity });
    expect(await refused.ended).toEqual({ status: 2, message: "zero capacity", rst: undefined });
  });

  test("is never ended in the way that looks like an interruption", async () => {
    for (const secret of ["", "wrong", "x".repeat(10_000)]) {
      await using refused = await register({ ...software(), secret });
      const { status, rst } = await refused.ended;
      expect([status, rst]).not.toContain(1);
      expect(rst).not.toBe(8);
    }
  });

  test("is silent until there is work", async () => {
    await using quiet = await register(software());
    await getInfo(target);
    expect(quiet.messages).toEqual([]);
  });

  test("makes its optional capabilities known for as long as it lasts", async () => {
    {
      await using able = await start();
      await getInfo(target);
      expect((await announced()) & SOFTWARE_CAPABILITIES).toBe(SOFTWARE_CAPABILITIES);
      able.kill();
    }
    const optional = SOFTWARE_CAPABILITIES & ~DEFAULT_CAPABILITIES;
    await using plain = await start({ capabilities: DEFAULT_CAPABILITIES, secret: target.secret("plain") });
    await expect.poll(announced).toBe(DEFAULT_CAPABILITIES);
    expect((await announced()) & optional).toBe(0n);
    expect(plain.state.kind).toBe("registered");
  });

  test("without capabilities counts as one with the usual ones", async () => {
    await using old = await start({ withoutCapabilities: true, secret: target.secret("old") });
    expect(readRenditions(await push()).segments).toHaveLength(3);
    expect(old.tasks).toHaveLength(1);
  });

  test("of the Open Pool fork names its worker, and is as good", async () => {
    await using fork = await start({ ethereumAddress: hexToBytes(WORKER.slice(2)), version: "0.8.8" });
    expect(readRenditions(await push()).segments).toHaveLength(3);
    expect(fork.tasks).toHaveLength(1);
  });

  test("may be one of several with the same secret", async () => {
    await using first = await start();
    await using second = await start();
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => push(0n, `several-${i}`)));
    expect(answers.every((answer) => readRenditions(answer).segments.length === 3)).toBe(true);
    expect(first.tasks.length + second.tasks.length).toBe(6);
  });
});

describe("a task", () => {
  const taskFor = async (manifestId: string, seq = 1234n): Promise<NotifySegment> => {
    await using transcoder = await start();
    readRenditions(await push(seq, manifestId));
    return transcoder.tasks[0]!.notify;
  };

  test("is worded as a stock orchestrator words it", async () => {
    const { segData: data, ...task } = await taskFor("abcdef");
    expect(task.orchId).toBe("offchain");
    expect(Buffer.from(task.profiles).toString()).toBe("invalid");
    expect(task.url).toMatch(/^https?:\/\//);
    expect(task.taskId).toBeGreaterThanOrEqual(0n);
    expect(data?.seq).toBe(1234n);
    expect(data?.duration).toBe(2000);
    expect(Buffer.from(data?.hash ?? []).toString("hex")).toBe("00".repeat(32));
    expect(Buffer.from(data?.profiles ?? []).toString()).toBe("invalid");
    expect(data?.sig.length).toBe(0);
    expect(data?.storage).toEqual([]);
    expect(data?.authToken?.sessionId).not.toBe("");
    expect(data?.capabilities && capabilitySetFromWords(data.capabilities.bitstring)).toBe(JOB_CAPABILITIES);
  });

  test("of one stream always names the same session", async () => {
    await using transcoder = await start();
    const connection = await connectGateway(target);
    const token = await getToken(target);
    for (const seq of [0n, 1n, 2n]) {
      readRenditions(await postSegment(connection, headerOf(await segData(token, { seq }))));
    }
    expect(new Set(transcoder.tasks.map(({ sessionId }) => sessionId)).size).toBe(1);
    connection.session.close();
  });

  // A stock transcoder makes a file by that name, wherever it leads to.
  test.each([
    ["a folder", "a/b"],
    ["the way out", "../../x"],
    ["a NUL", "\u0000"],
    ["10 KB", "ä".repeat(5_000)],
  ])("names its stream harmlessly: %s", async (_name, manifestId) => {
    const name = Buffer.from((await taskFor(manifestId)).segData?.manifestId ?? []).toString();
    if (target.isPool) expect(name).toMatch(/^[\w-]{1,64}$/);
    else expect(name).toBe(manifestId);
  });

  test("has a source that is served over HTTP/1.1, whole and with its length", async () => {
    await using transcoder = await start({
      behaviour: async (task) => {
        const answer = await requestHttp1(task.url);
        served.push(answer.status, answer.headers["content-length"], answer.body.equals(sourceSegment));
        const wrong = await requestHttp1(`${uriOf(target)}/stream/none/0.tempfile`);
        served.push(wrong.status);
        return readyUpload(task);
      },
    });
    const served: unknown[] = [];
    readRenditions(await push());
    expect(transcoder.problems).toEqual([]);
    expect(served).toEqual([200, String(sourceSegment.length), true, 404]);
  });

  test("goes on when its transcoder's stream ends: the result is taken from whatever connection it comes", async () => {
    await using transcoder = await start({ behaviour: behaviours.loseStream(), reconnect: "never" });
    expect(readRenditions(await push()).segments).toHaveLength(3);
    expect(transcoder.uploads).toMatchObject([{ status: 200, body: "OK" }]);
  });
});

test("the end of a session is told in the bytes that a stock transcoder knows", async () => {
  await using transcoder = await start();
  const authToken = await getToken(target);
  const connection = await connectGateway(target);
  const manifestId = Buffer.from("a stream with one session");
  readRenditions(await postSegment(connection, headerOf(await segData(authToken, { manifestId }))));
  connection.session.close();
  const request = create(EndTranscodingSessionRequestSchema, { authToken });
  const bytes = toBinary(EndTranscodingSessionRequestSchema, request);
  await dialUnary(target.address, "/net.Orchestrator/EndTranscodingSession", bytes);
  await transcoder.until(({ teardowns }) => teardowns.length > 0);
  // Nothing but segData.auth_token.session_id, and no url.
  const id = Buffer.from(transcoder.tasks[0]!.sessionId);
  const field = (tag: number, value: Buffer): Buffer => Buffer.concat([Buffer.from([tag, value.length]), value]);
  const expected = field(0x1a, field(0x42, field(0x12, id)));
  expect(Buffer.from(transcoder.messages.at(-1)!).toString("hex")).toBe(expected.toString("hex"));
});

describe("an upload is answered as by a stock orchestrator:", () => {
  const upload = async (
    headers: Record<string, string>,
    body: Uint8Array = Buffer.from("x"),
  ): Promise<[number, string]> => {
    const { session } = await connectH2(target.address);
    const answer = await requestH2(session, { ":path": "/transcodeResults", ...headers }, body);
    session.close();
    return [answer.status, answer.body.toString()];
  };
  const authorization = "Livepeer-Transcoder-1.0";
  const unknown = "4611686018427387904";

  test.each<[string, () => Record<string, string>, number, string]>([
    ["no authorization", () => ({ credentials: target.secret() }), 401, "Unauthorized\n"],
    [
      "another authorization",
      () => ({ authorization: "Bearer x", credentials: target.secret() }),
      401,
      "Unauthorized\n",
    ],
    ["no credentials", () => ({ authorization }), 401, "Unauthorized\n"],
    ["wrong credentials", () => ({ authorization, credentials: "wrong" }), 401, "Unauthorized\n"],
    ["no content type", () => ({ authorization, credentials: target.secret() }), 415, "mime: no media type\n"],
    [
      "no task id",
      () => ({ authorization, credentials: target.secret(), "content-type": "livepeer/transcoding-error" }),
      400,
      "Invalid Task ID\n",
    ],
    [
      "a task id that is no number",
      () => ({
        authorization,
        credentials: target.secret(),
        "content-type": "livepeer/transcoding-error",
        taskid: "x",
      }),
      400,
      "Invalid Task ID\n",
    ],
    [
      "an error for a task that nobody has",
      () => ({
        authorization,
        credentials: target.secret(),
        "content-type": "livepeer/transcoding-error",
        taskid: unknown,
      }),
      200,
      "OK",
    ],
    [
      "pixels that are no number",
      () => ({
        authorization,
        credentials: target.secret(),
        "content-type": "multipart/mixed;boundary=a",
        taskid: unknown,
        pixels: "x",
      }),
      400,
      "Invalid Pixels\n",
    ],
    [
      "another type of body",
      () => ({
        authorization,
        credentials: target.secret(),
        "content-type": "text/plain",
        taskid: unknown,
        pixels: "1",
      }),
      200,
      "OK",
    ],
  ])("%s", async (_name, headers, status, text) => {
    await using transcoder = await start();
    await getInfo(target); // it is registered, so its secret is known
    expect(transcoder.state.kind).toBe("registered");
    expect(await upload(headers())).toEqual([status, text]);
  });

  test("renditions for a task that nobody has, or has no more", async () => {
    await using transcoder = await start();
    readRenditions(await push());
    const [task] = transcoder.tasks;
    for (const taskId of [task!.taskId, BigInt(unknown), 0x7fff_ffff_ffff_ffffn]) {
      expect(await transcoder.upload(taskId, readyUpload(task!))).toMatchObject({ status: 200, body: "OK" });
    }
  });

  test("a body that is no multipart, to its own task", async () => {
    await using transcoder = await start({
      behaviour: behaviours.inTurn(
        () => ({ kind: "body", contentType: "multipart/mixed; boundary=a", body: Buffer.from("abc") }),
        behaviours.ready(),
      ),
    });
    await push();
    expect(transcoder.uploads[0]).toEqual({
      taskId: transcoder.tasks[0]!.taskId,
      status: 500,
      body: "multipart: NextPart: EOF\n",
    });
  });

  test("the renditions of a task, with a part that is none among them", async () => {
    await using transcoder = await start({
      behaviour(task) {
        const ready = readyUpload(task);
        if (ready.kind !== "renditions") return ready;
        const noise = { data: Buffer.from("hello"), pixels: undefined, contentType: "text/plain" };
        return { kind: "renditions", parts: [noise, ...ready.parts] };
      },
    });
    const { segments } = readRenditions(await push());
    expect(segments.map(({ pixels }) => pixels)).toEqual(readyRenditions.map(({ pixels }) => pixels));
    expect(transcoder.uploads).toMatchObject([{ status: 200, body: "OK" }]);
  });
});
