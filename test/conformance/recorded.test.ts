import { createHash } from "node:crypto";
import { type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AuthToken,
  EndTranscodingSessionRequestSchema,
  EndTranscodingSessionResponseSchema,
  isNonRetryable,
  multipartBoundary,
  NotifySegmentSchema,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  parseMultipart,
  PingPongSchema,
  RegisterRequestSchema,
  SegDataSchema,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { keccak } from "hash-wasm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { behaviours, type FakeTranscoder, startFakeTranscoder, type Upload } from "../peers/fake-transcoder.ts";
import {
  connectH2,
  connectTls,
  createDownloadAgent,
  dialUnary,
  type H2Connection,
  hostHeader,
  requestH2,
  requestHttp1,
  startGrpcCall,
} from "../peers/wire.ts";
import { callGetOrchestrator, connectGateway, getInfo, postSegment, readInfo, readResult } from "./gateway.ts";
import {
  bodyOf,
  dump,
  dumpBytes,
  exchanges,
  headerOf,
  readJson,
  type RecordedBody,
  type RecordedExchange,
  type RecordedHeaders,
  recordedFiles,
  type TranscoderCase,
} from "./recorded.ts";
import { openTarget, type Target, uriOf } from "./target.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const { cases } = readJson<{ cases: readonly TranscoderCase[] }>("transcoder-answers.json");
const { connections } = readJson<{
  connections: readonly { client: string; alpnOffered: string[] | null; alpn: string | null }[];
}>("connections.json");

const schemas: Readonly<Record<string, readonly [DescMessage, DescMessage]>> = {
  "/net.Orchestrator/GetOrchestrator": [OrchestratorRequestSchema, OrchestratorInfoSchema],
  "/net.Orchestrator/EndTranscodingSession": [EndTranscodingSessionRequestSchema, EndTranscodingSessionResponseSchema],
  "/net.Orchestrator/Ping": [PingPongSchema, PingPongSchema],
  "/net.Transcoder/RegisterTranscoder": [RegisterRequestSchema, NotifySegmentSchema],
};

/** The exchanges to which the filter answers yes, named by their file and number. */
function recordings(filter: (exchange: RecordedExchange) => boolean): [string, RecordedExchange][] {
  return exchanges.flatMap(([file, exchange], index) => {
    const name = `${file} (${index - exchanges.findIndex(([other]) => other === file)})`;
    return filter(exchange) ? [[name, exchange] as [string, RecordedExchange]] : [];
  });
}

const isCall = (exchange: RecordedExchange): boolean => exchange.request.grpcMessages !== undefined;
const isSegment = (exchange: RecordedExchange): boolean => exchange.expect?.["transcodeResult"] !== undefined;
const partsOf = (exchange: RecordedExchange) =>
  exchange.expect?.["parts"] as
    readonly { headers: RecordedHeaders; offset: number; length: number; sha256: string }[] | undefined;

describe("a recorded message means what stands beside it:", () => {
  test.each(recordings(isCall))("%s", (_name, { request, response, expect: meant }) => {
    const [input, output] = schemas[request.path]!;
    expect(dumpBytes(input, Buffer.from(request.grpcMessages![0]!, "base64"))).toEqual(meant?.["request"]);
    const answers = (response.grpcMessages ?? []).map((message) => dumpBytes(output, Buffer.from(message, "base64")));
    expect(request.path.includes("Transcoder/") ? answers : answers[0]).toEqual(meant?.["response"]);
  });

  test.each(recordings(({ expect: meant }) => meant?.["segData"] !== undefined))("%s", async (_name, recorded) => {
    const { request, response, expect: meant } = recorded;
    const header = headerOf(request.headers, "livepeer-segment") ?? "";
    if (header === "!!!") return expect(meant?.["segData"]).toEqual({});
    expect(dumpBytes(SegDataSchema, Buffer.from(header, "base64"))).toEqual(meant?.["segData"]);
    expect(dumpBytes(TranscodeResultSchema, bodyOf(response.body))).toEqual(meant?.["transcodeResult"]);
    expect(await keccak(bodyOf(request.body), 256)).toBe(meant?.["bodyKeccak256"]);
  });

  test.each(recordings((exchange) => partsOf(exchange) !== undefined))("%s", (_name, recorded) => {
    const { request } = recorded;
    const boundary = multipartBoundary(headerOf(request.headers, "content-type") ?? "");
    const parts = parseMultipart(bodyOf(request.body), boundary ?? "", { maxParts: 10, maxPartBytes: 1 << 24 });
    if (typeof parts === "string") throw new Error(parts);
    expect(
      parts.map(({ headers, data }) => ({ headers: [...headers], length: data.length, sha256: sha256(data) })),
    ).toEqual(
      partsOf(recorded)?.map(({ headers, length, sha256: sum }) => ({
        headers: headers.map(([name, value]) => [name.toLowerCase(), value]),
        length,
        sha256: sum,
      })),
    );
  });

  test.each(cases.map((one) => [one.case, one] as const))("a task of a stock transcoder: %s", (_name, one) => {
    const bytes = Buffer.from(one.notifySegment, "base64");
    expect(dumpBytes(NotifySegmentSchema, bytes)).toEqual(one.expect.notifySegment);
  });
});

describe("played back,", () => {
  let target: Target;
  let transcoder: FakeTranscoder;
  let gateway: H2Connection;
  const agent = createDownloadAgent();
  beforeAll(async () => {
    target = await openTarget();
    transcoder = await startFakeTranscoder({
      addr: hostHeader(target.address),
      secret: target.secret(),
      capacity: 500,
    });
    gateway = await connectGateway(target);
    await getInfo(target);
  });
  afterEach(() => {
    transcoder.behaviour = behaviours.ready();
  });
  afterAll(async () => {
    gateway.session.destroy();
    agent.destroy();
    await transcoder[Symbol.asyncDispose]();
    await target[Symbol.asyncDispose]();
  });

  const call = (path: string, message: Uint8Array) => dialUnary(target.address, path, message, { timeoutMs: 3_000 });
  const freshToken = async (): Promise<AuthToken> => {
    const { authToken } = readInfo(await callGetOrchestrator(target));
    if (!authToken) throw new Error("no token");
    return authToken;
  };

  test.each(connections.map((one) => [one.client, one] as const))(
    "the ALPN offer of a %s is met",
    async (_name, one) => {
      const socket = await connectTls(target.address, one.alpnOffered ?? []);
      expect(socket.alpnProtocol).toBe(one.alpn ?? false);
      socket.destroy();
    },
  );

  test.each(recordings(({ request }) => request.path.endsWith("/GetOrchestrator")))(
    "GetOrchestrator is answered in the shape that gateways took: %s",
    async (name, { request, expect: meant }) => {
      const answer = await call(request.path, Buffer.from(request.grpcMessages![0]!, "base64"));
      expect(answer.status).toBe(0);
      const ours = dump(OrchestratorInfoSchema, readInfo(answer));
      const theirs = meant?.["response"] as typeof ours;
      expect(Object.keys(ours)).toEqual(Object.keys(theirs));
      for (const part of ["capabilities", "auth_token"] as const) {
        expect(Object.keys(ours[part] as object)).toEqual(Object.keys(theirs[part] as object));
      }
      expect(ours["address"]).toBe(theirs["address"]);
      // With a software transcoder connected; one recording was made without any.
      if (name.includes("no-transcoders")) return;
      expect(ours["capabilities"]).toMatchObject({
        bitstring: (theirs["capabilities"] as { bitstring: unknown }).bitstring,
      });
    },
  );

  test.each(recordings(({ request }) => request.path.endsWith("/Ping")))("%s", async (_name, recorded) => {
    const answer = await call(recorded.request.path, Buffer.from(recorded.request.grpcMessages![0]!, "base64"));
    expect(dumpBytes(PingPongSchema, answer.answer ?? Buffer.from([1]))).toEqual(recorded.expect?.["response"]);
  });

  test.each(recordings(({ request }) => request.path.endsWith("/EndTranscodingSession")))(
    "EndTranscodingSession takes its own tokens only: %s",
    async (_name, { request, response }) => {
      const bytes = Buffer.from(request.grpcMessages![0]!, "base64");
      expect(await call(request.path, bytes)).toMatchObject({ status: 2, message: "Invalid auth token" });
      const own = Object.assign(fromBinary(EndTranscodingSessionRequestSchema, bytes), {
        authToken: await freshToken(),
      });
      const answer = await call(request.path, toBinary(EndTranscodingSessionRequestSchema, own));
      expect(String(answer.status)).toBe(headerOf(response.trailers, "grpc-status"));
      expect(answer.answer).toEqual(new Uint8Array(Buffer.from(response.grpcMessages![0]!, "base64")));
    },
  );

  test.each(recordings(({ request }) => request.path.endsWith("/RegisterTranscoder")))(
    "a registration ends as it did, or stays: %s",
    async (_name, { request, response }) => {
      const registration = fromBinary(RegisterRequestSchema, Buffer.from(request.grpcMessages![0]!, "base64"));
      const refusal = headerOf(response.trailers, "grpc-message");
      if (refusal === undefined) {
        const owner = Buffer.from(registration.ethereumAddress).toString("hex");
        registration.secret = target.isPool && owner !== "" ? `0x${owner}.recorded` : target.secret("recorded");
      }
      const { session } = await connectH2(target.address);
      const bytes = toBinary(RegisterRequestSchema, registration);
      const { ended } = startGrpcCall(session, request.path, bytes, () => {});
      // Refusals come at once; the answers to calls that were made after it come behind them.
      const quiet = (async () => {
        for (let i = 0; i < 5; i++) await call("/net.Orchestrator/Ping", new Uint8Array());
        return "stays";
      })();
      const end = await Promise.race([ended, quiet]);
      if (refusal === undefined) expect(end).toBe("stays");
      else expect(end).toMatchObject({ status: Number(headerOf(response.trailers, "grpc-status")), message: refusal });
      session.destroy();
    },
  );

  /** The upload of a recorded transcoder that made these renditions, byte for byte, or its parts put together again. */
  const uploadOf = (
    renditions: readonly { body: RecordedBody; pixels: string; phash: RecordedBody | undefined }[],
  ): Upload => {
    const sums = renditions.map(({ body }) => body.sha256);
    const recorded = exchanges.find(([, exchange]) => {
      const parts = partsOf(exchange)?.filter(({ headers }) => headerOf(headers, "pixels") !== undefined);
      return parts?.length === sums.length && parts.every((part, i) => part.sha256 === sums[i]);
    })?.[1];
    if (recorded) {
      const contentType = headerOf(recorded.request.headers, "content-type") ?? "";
      return { kind: "body", contentType, body: bodyOf(recorded.request.body) };
    }
    const parts = renditions.flatMap(({ body, pixels, phash }) => {
      const contentType = body.file?.endsWith(".mp4") ? "video/mp4" : "video/mp2t";
      const video = { data: bodyOf(body), pixels: BigInt(pixels), contentType };
      const hash = { data: bodyOf(phash), pixels: undefined, contentType: "application/octet-stream" };
      return phash ? [video, hash] : [video];
    });
    return { kind: "renditions", parts };
  };

  interface RecordedResult {
    readonly data?: { readonly segments: readonly { url: string; pixels?: string; perceptual_hash_url?: string }[] };
    readonly error?: string;
    readonly info: Readonly<Record<string, unknown>>;
  }

  test.each(recordings(isSegment))(
    "a segment is answered in the shape that gateways took: %s",
    async (_name, recorded) => {
      const theirs = recorded.expect?.["transcodeResult"] as RecordedResult;
      const downloadOf = (url: string | undefined): RecordedExchange | undefined =>
        url === undefined
          ? undefined
          : exchanges.find(
              ([, { request }]) => request.method === "GET" && request.path === new URL(url).pathname,
            )?.[1];
      const renditions = (theirs.data?.segments ?? []).map((segment) => ({
        ...segment,
        pixels: segment.pixels ?? "0",
        download: downloadOf(segment.url),
        phash: downloadOf(segment.perceptual_hash_url)?.response.body,
      }));
      const made = renditions.flatMap(({ download, pixels, phash }) =>
        download?.response.body ? [{ body: download.response.body, pixels, phash }] : [],
      );
      const complete = theirs.data !== undefined && made.length === renditions.length;
      transcoder.behaviour = () =>
        complete ? uploadOf(made) : { kind: "error", text: theirs.error ?? "TranscoderInvalidVideo" };
      const before = transcoder.tasks.length;

      const authToken = await freshToken();
      const header = Buffer.from(headerOf(recorded.request.headers, "livepeer-segment") ?? "", "base64");
      const segData = Object.assign(fromBinary(SegDataSchema, header), { authToken });
      const source = bodyOf(recorded.request.body);
      const headers = { "content-type": headerOf(recorded.request.headers, "content-type") };
      const value = Buffer.from(toBinary(SegDataSchema, segData)).toString("base64");
      const ours = readResult(await postSegment(gateway, value, { headers, body: source }));

      const info = ours.info && dump(OrchestratorInfoSchema, ours.info);
      expect(Object.keys(info ?? {})).toEqual(Object.keys(theirs.info));
      expect(info?.["auth_token"]).toEqual(dump(SegDataSchema, segData)["auth_token"]);
      expect(ours.seq).toBe(segData.seq);
      const task = transcoder.tasks[before];
      if (task) expect(task.source.equals(source)).toBe(true);

      if (!complete) {
        // An orchestrator of ours answers what cannot be saved so that the gateway's session lives on.
        if (target.isPool) expect(ours.result.case === "error" && isNonRetryable(ours.result.value)).toBe(true);
        else expect(ours.result).toEqual({ case: "error", value: theirs.error ?? "TranscoderInvalidVideo" });
        return;
      }
      if (ours.result.case !== "data") throw new Error(`refused: ${String(ours.result.value)}`);
      expect(ours.result.value.segments.map(({ pixels }) => String(pixels))).toEqual(
        renditions.map(({ pixels }) => pixels),
      );
      for (const [i, segment] of ours.result.value.segments.entries()) {
        for (const [url, body] of [
          [segment.url, made[i]?.body],
          [segment.perceptualHashUrl, made[i]?.phash],
        ] as const) {
          if (!body) continue;
          const download = await requestHttp1(url, { agent, headers: { "accept-encoding": "gzip" } });
          expect(sha256(download.body)).toBe(body.sha256);
          for (const [name, wanted] of renditions[i]?.download?.response.headers ?? []) {
            if (["Content-Length", "Content-Type", "Date"].includes(name)) continue;
            expect(download.headers[name.toLowerCase()]).toBe(wanted);
          }
        }
      }
      expect(transcoder.uploads.at(-1)).toMatchObject({ status: 200, body: "OK" });
    },
  );

  const errorTexts = new Set(cases.flatMap(({ result }) => (result?.errorText ? [result.errorText] : [])));
  for (const [, exchange] of recordings(({ expect: meant }) => typeof meant?.["errorText"] === "string")) {
    errorTexts.add(String(exchange.expect?.["errorText"]));
  }
  test("the errors that stock transcoders upload are taken", async () => {
    for (const text of errorTexts) {
      const answer = await transcoder.upload(4_611_686_018_427_387_904n, { kind: "error", text });
      expect(answer).toMatchObject({ status: 200, body: "OK" });
    }
  });

  test.each(recordings(({ request }) => headerOf(request.headers, "user-agent")?.startsWith("curl") ?? false))(
    "a malformed request is answered word for word: %s",
    async (_name, { request, response }) => {
      const headers = Object.fromEntries(request.headers.filter(([name]) => !name.startsWith(":")));
      if (headers["credentials"] !== undefined) headers["credentials"] = target.secret();
      const body = request.body?.length ? bodyOf(request.body) : undefined;
      const method = headerOf(request.headers, ":method");
      const answer = await requestH2(gateway.session, { ...headers, ":path": request.path, ":method": method }, body);
      const text = bodyOf(response.body).toString();
      // For a task that nobody has our pool does not look at the body.
      const unread = target.isPool && text.startsWith("multipart: NextPart");
      expect(answer.status).toBe(unread ? 200 : response.status);
      if (!unread && request.path !== "/discovery") expect(answer.body.toString()).toBe(text);
      if (answer.status === 200) return;
      for (const name of ["content-type", "x-content-type-options"]) {
        expect(answer.headers[name]).toBe(headerOf(response.headers, name));
      }
    },
  );

  test.each(recordings(({ request }) => request.path.endsWith(".tempfile")))(
    "a source is served as it was to a recorded transcoder: %s",
    async (_name, recorded) => {
      // The segment that it belonged to was recorded too.
      const source = recorded.response.body;
      const posted = exchanges.find(([, one]) => isSegment(one) && one.request.body?.sha256 === source?.sha256)?.[1];
      if (!posted) throw new Error("the segment of this source was not recorded");
      const seen: unknown[] = [];
      transcoder.behaviour = async (task) => {
        const headers = Object.fromEntries(recorded.request.headers.filter(([name]) => name !== "Host"));
        const answer = await requestHttp1(task.url, { headers });
        seen.push(answer.status, answer.headers["content-length"], sha256(answer.body));
        return { kind: "error", text: "TranscoderInvalidVideo" };
      };
      const header = Buffer.from(headerOf(posted.request.headers, "livepeer-segment") ?? "", "base64");
      const segData = Object.assign(fromBinary(SegDataSchema, header), { authToken: await freshToken() });
      const value = Buffer.from(toBinary(SegDataSchema, segData)).toString("base64");
      await postSegment(gateway, value, { body: bodyOf(posted.request.body) });
      expect(seen.slice(0, 3)).toEqual([200, String(source?.length), source?.sha256]);
    },
  );

  test("rendition paths that were never made are not found", async () => {
    for (const [, { request }] of recordings(({ request }) => request.path.startsWith("/stream/"))) {
      expect((await requestHttp1(uriOf(target) + request.path)).status).toBe(404);
    }
  });
});

test("no recording is left out", () => {
  const others = ["connections.json", "transcoder-answers.json"];
  const played = recordings(
    (exchange) =>
      isCall(exchange) ||
      isSegment(exchange) ||
      partsOf(exchange) !== undefined ||
      exchange.request.path.startsWith("/stream/") ||
      exchange.expect?.["errorText"] !== undefined ||
      headerOf(exchange.request.headers, "user-agent")?.startsWith("curl") === true,
  );
  expect(played).toHaveLength(exchanges.length);
  expect(new Set([...exchanges.map(([file]) => file), ...others])).toEqual(new Set(recordedFiles));
});
