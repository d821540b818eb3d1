import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { toBinary } from "@bufbuild/protobuf";
import { silentLogger } from "@openpool/base";
import { DOWNLOAD_TIMEOUT_MS, headersTimeoutMs, type Profile, TranscodeResultSchema } from "@openpool/protocol";
import { keccak } from "hash-wasm";
import { describe, expect, test } from "vitest";
import { readyProfiles, readyRenditions, SOURCE_DURATION_MS, sourceSegment } from "../../../test/peers/media.ts";
import { patientClock } from "../../../test/peers/patient-clock.ts";
import {
  type OrchestratorScript,
  requestedCapabilities,
  startScriptedOrchestrator,
} from "../../../test/peers/scripted-orchestrator.ts";
import { type GatewayClient, openGatewayClient, type SegmentToPush } from "./gateway-client.ts";

const dependencies = { logger: silentLogger, clock: patientClock() };

const segment = (seq: number, change: Partial<SegmentToPush> = {}): SegmentToPush => ({
  manifestId: "stream",
  seq,
  data: sourceSegment,
  durationMs: SOURCE_DURATION_MS,
  profiles: readyProfiles,
  container: "mpegts",
  ...change,
});

async function withOrchestrator(
  script: OrchestratorScript,
  run: (client: GatewayClient, orchestrator: Awaited<ReturnType<typeof startScriptedOrchestrator>>) => Promise<void>,
  clock = dependencies.clock,
): Promise<void> {
  await using orchestrator = await startScriptedOrchestrator(script);
  await using client = openGatewayClient({ orchestrator: orchestrator.uri }, { ...dependencies, clock });
  await run(client, orchestrator);
}

describe("a pushed segment", () => {
  test("comes back as its renditions, in the order of the profiles", () =>
    withOrchestrator({}, async (client) => {
      const outcome = await client.pushSegment(segment(0));
      if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
      expect(outcome.renditions.map(({ profile }) => profile.name)).toEqual(["P240", "P360", "P480"]);
      expect(outcome.renditions.map(({ pixels }) => pixels)).toEqual(readyRenditions.map(({ pixels }) => pixels));
      expect(outcome.renditions.every(({ data }, i) => data.equals(readyRenditions[i]!.data))).toBe(true);
      expect(outcome.timings.headersMs).toBeLessThanOrEqual(outcome.timings.answerMs);
      expect(outcome.timings.answerMs).toBeLessThanOrEqual(outcome.timings.totalMs);
    }));

  test("is announced as a stock gateway announces it", () =>
    withOrchestrator({}, async (client, orchestrator) => {
      await client.pushSegment(segment(7, { clip: { fromMs: 500, toMs: 1500 }, phash: true }));
      const [request] = orchestrator.segments;
      if (!request) throw new Error("nothing arrived");
      expect(request.manifestId).toBe("stream");
      expect(request.segData.seq).toBe(7n);
      expect(Buffer.from(request.segData.hash).toString("hex")).toBe(await keccak(sourceSegment, 256));
      expect(request.segData.duration).toBe(SOURCE_DURATION_MS);
      expect(Buffer.from(request.segData.profiles).toString()).toBe("invalid");
      expect(request.segData.fullProfiles3.map(({ name }) => name)).toEqual(["P240", "P360", "P480"]);
      expect(request.segData.segmentParameters).toMatchObject({ from: 500n, to: 1500n });
      expect(request.segData.calcPerceptualHash).toBe(true);
      expect(request.segData.authToken?.sessionId).toBe("00000001");
      expect(request.segData.capabilities?.constraints).toBeDefined();
      expect(requestedCapabilities(request.segData) & (1n << 26n)).not.toBe(0n);
      expect(request.headers["livepeer-payment"]).toBe("");
      expect(request.headers["content-type"]).toBe("video/MP2T");
      expect(request.body.equals(sourceSegment)).toBe(true);
    }));

  test("of an MP4 asks for MP4 renditions", () =>
    withOrchestrator({ segment: () => ({ kind: "error", text: "enough" }) }, async (client, orchestrator) => {
      const plain: Profile = { ...readyProfiles[0]!, h264Profile: "default" };
      await client.pushSegment(segment(0, { container: "mp4", profiles: [plain] }));
      expect(orchestrator.segments[0]?.profiles).toEqual([{ ...plain, container: "mp4" }]);
      expect(orchestrator.segments[0]?.segData.fullProfiles2).toHaveLength(1);
    }));

  test("brings its perceptual hashes where they were asked for", () =>
    withOrchestrator({}, async (client) => {
      const outcome = await client.pushSegment(segment(0, { phash: true }));
      if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
      expect(outcome.renditions.every(({ phash }) => phash !== undefined && phash.length > 0)).toBe(true);
    }));
});

test("downloads go over HTTP/1.1 without ALPN, everything else over h2", () =>
  withOrchestrator({}, async (client, orchestrator) => {
    await client.pushSegment(segment(0));
    expect(orchestrator.alpn.filter((protocol) => protocol === "h2")).toHaveLength(2); // session and segment
    expect(orchestrator.alpn.filter((protocol) => protocol === false)).toHaveLength(3); // one a rendition
  }));

describe("a session", () => {
  test("is shared by the segments of a stream, also when they are sent at once", () =>
    withOrchestrator({}, async (client, orchestrator) => {
      const outcomes = await Promise.all([0, 1, 2, 3].map((seq) => client.pushSegment(segment(seq))));
      expect(outcomes.map(({ kind }) => kind)).toEqual(["done", "done", "done", "done"]);
      expect(orchestrator.infoCalls).toBe(1);
      await client.pushSegment(segment(0, { manifestId: "another" }));
      expect(orchestrator.infoCalls).toBe(2);
    }));

  test("is renewed when its token is about to end", () => {
    const soon = (): bigint => BigInt(Math.floor(Date.now() / 1000) + 170);
    let uri = "";
    const script: OrchestratorScript = {
      getOrchestrator: (index) => ({
        transcoder: uri,
        authToken: { token: new Uint8Array(32), sessionId: `session${index}`, expiration: soon() },
      }),
    };
    return withOrchestrator(script, async (client, orchestrator) => {
      ({ uri } = orchestrator);
      await client.pushSegment(segment(0));
      await client.pushSegment(segment(1));
      expect(orchestrator.segments.map(({ segData }) => segData.authToken?.sessionId)).toEqual([
        "session0",
        "session1",
      ]);
    });
  });

  test("takes over what the answer says about it", () => {
    let uri = "";
    const authToken = { token: new Uint8Array(32), sessionId: "from-answer", expiration: 4_000_000_000n };
    const script: OrchestratorScript = {
      segment: () => ({ kind: "renditions", info: { transcoder: uri, authToken } }),
    };
    return withOrchestrator(script, async (client, orchestrator) => {
      ({ uri } = orchestrator);
      await client.pushSegment(segment(0));
      await client.pushSegment(segment(1));
      expect(orchestrator.segments[1]?.segData.authToken?.sessionId).toBe("from-answer");
    });
  });

  test("is ended at the orchestrator when the stream ends", () =>
    withOrchestrator({}, async (client, orchestrator) => {
      await client.pushSegment(segment(0));
      await client.endStream("stream");
      expect(orchestrator.ended).toEqual(["00000001"]);
      await client.endStream("stream");
      expect(orchestrator.ended).toHaveLength(1);
    }));

  test("survives an error that no gateway retries, but no other", () => {
    const texts = ["TranscoderInvalidVideo", "no transcoders available"];
    const script: OrchestratorScript = {
      segment: ({ index }) => (texts[index] ? { kind: "error", text: texts[index] } : undefined),
    };
    return withOrchestrator(script, async (client, orchestrator) => {
      const outcomes = [];
      for (const seq of [0, 1, 2]) outcomes.push(await client.pushSegment(segment(seq)));
      expect(outcomes.map((outcome) => ("text" in outcome ? outcome.text : outcome.kind))).toEqual([...texts, "done"]);
      const sessions = orchestrator.segments.map(({ segData }) => segData.authToken?.sessionId);
      expect(sessions[1]).toBe(sessions[0]);
      expect(sessions[2]).not.toBe(sessions[1]);
    });
  });
});

describe("a lost segment says what happened:", () => {
  const LONG_MS = 10_000;
  const cases: readonly (readonly [string, OrchestratorScript, expected: object, givenUpAfterMs?: number])[] = [
    ["no session", { getOrchestrator: () => "OrchestratorCapped" }, { kind: "no-session", text: "OrchestratorCapped" }],
    [
      "refused",
      { segment: () => ({ kind: "status", status: 403, text: "invalid auth token" }) },
      { kind: "refused", status: 403, text: "invalid auth token" },
    ],
    [
      "failed",
      { segment: () => ({ kind: "error", text: "Too many outputs" }) },
      { kind: "failed", text: "Too many outputs" },
    ],
    ["no answer", { segment: () => ({ kind: "empty" }) }, { kind: "broken", during: "answer" }],
    [
      "nonsense",
      { segment: () => ({ kind: "bytes", body: Buffer.from("hello") }) },
      { kind: "broken", during: "answer" },
    ],
    ["stream reset", { segment: () => ({ kind: "reset" }) }, { kind: "broken", during: "segment" }],
    ["connection cut", { segment: () => ({ kind: "cut" }) }, { kind: "broken", during: "segment" }],
    ["rendition gone", { rendition: () => ({ status: 404 }) }, { kind: "broken", during: "rendition" }],
    [
      "rendition late",
      { rendition: () => ({ afterMs: 600_000 }) },
      { kind: "timeout", waitedFor: "rendition" },
      DOWNLOAD_TIMEOUT_MS,
    ],
    [
      "late headers",
      { segment: () => ({ kind: "empty", headersAfterMs: 600_000 }) },
      { kind: "timeout", waitedFor: "headers" },
      headersTimeoutMs(LONG_MS),
    ],
    [
      "one rendition too few",
      { segment: () => ({ kind: "renditions", urls: ["https://127.0.0.1:1/x"] }) },
      { kind: "broken", during: "answer", text: "1 renditions for 3 profiles" },
    ],
    [
      "a URL that is none",
      { segment: () => ({ kind: "renditions", urls: ["%zz", "%zz", "%zz"] }) },
      { kind: "broken", during: "rendition" },
    ],
  ];
  const rows = cases.map(([name, script, expected, atOnceMs]) => [name, script, expected, atOnceMs] as const);
  test.concurrent.each(rows)("%s", async (_name, script, expected, givenUpAfterMs) =>
    withOrchestrator(
      script,
      async (client) => {
        expect(await client.pushSegment(segment(0, { durationMs: LONG_MS }))).toMatchObject(expected);
      },
      patientClock(givenUpAfterMs),
    ),
  );

  test("nobody listens", async () => {
    const orchestrator = await startScriptedOrchestrator();
    await orchestrator.goAway();
    await using client = openGatewayClient({ orchestrator: orchestrator.uri }, dependencies);
    expect(await client.pushSegment(segment(0))).toMatchObject({
      kind: "unreachable",
      text: expect.stringContaining("nobody listens at 127.0.0.1:"),
    });
  });

  const pem = (name: string): Buffer =>
    readFileSync(new URL(`../../../test/fixtures/tls/test-only.${name}.pem`, import.meta.url));
  const overTls = (protocol: string): net.Server => {
    const options = { cert: pem("cert"), key: pem("key"), ALPNProtocols: [protocol] };
    return tls.createServer(options, (socket) => void socket.on("error", () => {}).write("hello ".repeat(20)));
  };
  test.each<[string, () => net.Server, string]>([
    ["a port without TLS", () => net.createServer((socket) => void socket.end("HTTP/1.1 400\r\n\r\n")), "speak TLS"],
    ["a port that hangs up", () => net.createServer((socket) => void socket.destroy()), "closed the connection"],
    ["TLS without HTTP/2", () => overTls("http/1.1"), "does not offer HTTP/2"],
    ["HTTP/2 that is none", () => overTls("h2"), "rotocol error"],
  ])("%s is no orchestrator, and ends nothing but the segment", async (_, open, text) => {
    const sockets = new Set<net.Socket>();
    const server = open().listen(0, "127.0.0.1");
    server.on("connection", (socket: net.Socket) => void sockets.add(socket.on("error", () => {})));
    await once(server, "listening");
    const address = server.address();
    const orchestrator = `https://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
    try {
      await using client = openGatewayClient({ orchestrator }, dependencies);
      const outcome = await client.pushSegment(segment(0));
      expect(outcome).toEqual({ kind: "unreachable", text: expect.stringContaining(text) });
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });
});

test("a segment can be given up while it is under way", () =>
  withOrchestrator({ segment: () => ({ kind: "empty", headersAfterMs: 60_000 }) }, async (client, orchestrator) => {
    const giveUp = new AbortController();
    const pushed = client.pushSegment(segment(0, { signal: giveUp.signal }));
    await orchestrator.until(() => orchestrator.segments.length === 1);
    giveUp.abort(new Error("enough"));
    await expect(pushed).rejects.toThrow("enough");
  }));

test("ping is answered, off-chain with no bytes", () =>
  withOrchestrator({}, async (client) => {
    expect(await client.ping(new Uint8Array(32))).toEqual({ kind: "answer", answer: new Uint8Array() });
  }));

test("an answer with more than the whole of it is refused rather than collected", () =>
  withOrchestrator({ segment: () => ({ kind: "bytes", body: Buffer.alloc(17 << 20) }) }, async (client) => {
    expect(await client.pushSegment(segment(0))).toMatchObject({ kind: "broken", during: "segment" });
  }));

test("an error is told from an answer by the field that is set", () => {
  const body = toBinary(TranscodeResultSchema, {
    $typeName: "net.TranscodeResult",
    seq: 1n,
    result: { case: undefined },
  });
  return withOrchestrator({ segment: () => ({ kind: "bytes", body }) }, async (client) => {
    expect(await client.pushSegment(segment(1))).toMatchObject({ kind: "broken", during: "answer" });
  });
});
