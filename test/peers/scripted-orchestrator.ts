/**
 * An orchestrator whose every answer is chosen by the test, for tests of what talks to orchestrators. Where the script
 * says nothing it answers like a stock one, off-chain.
 */
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import tls from "node:tls";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  capabilitiesToWire,
  capabilitySetFromWords,
  decodeGrpcFrame,
  encodeGrpcFrame,
  encodeGrpcMessage,
  EndTranscodingSessionRequestSchema,
  HTTP2_CONNECTION_MEMORY_MB,
  NotifySegmentSchema,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  PingPongSchema,
  type Profile,
  profilesOfSegment,
  type RegisterRequest,
  RegisterRequestSchema,
  type SegData,
  SegDataSchema,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { SOFTWARE_CAPABILITIES } from "./fake-transcoder.ts";
import { readyRenditionsFor } from "./media.ts";

export interface SegmentRequest {
  readonly segData: SegData;
  readonly manifestId: string;
  readonly seq: number;
  readonly profiles: readonly Profile[];
  readonly body: Buffer;
  readonly headers: http2.IncomingHttpHeaders;
  /** Which POST it is, from 0. */
  readonly index: number;
}

/** How one `POST /segment` goes. */
export type SegmentScript =
  /** The renditions (default: the ready-made ones) and an info (default: that of the session; null: none). */
  | {
      readonly kind: "renditions";
      readonly urls?: readonly string[];
      readonly info?: MessageInitShape<typeof OrchestratorInfoSchema> | null;
    }
  /** 200, then this error. */
  | { readonly kind: "error"; readonly text: string }
  | { readonly kind: "status"; readonly status: number; readonly text: string }
  /** 200 and an empty body. */
  | { readonly kind: "empty" }
  | { readonly kind: "bytes"; readonly body: Uint8Array }
  /** RST_STREAM, or the TCP connection cut. */
  | { readonly kind: "reset" }
  | { readonly kind: "cut" };

export interface SegmentTiming {
  /** Before the answer's headers. */
  readonly headersAfterMs?: number;
  /** What the body waits for. */
  readonly bodyAfter?: Promise<unknown>;
}

export interface OrchestratorScript {
  /** Text that GetOrchestrator is refused with; undefined: an info. */
  getOrchestrator?: (index: number) => string | MessageInitShape<typeof OrchestratorInfoSchema> | undefined;
  segment?: (request: SegmentRequest) => (SegmentScript & SegmentTiming) | undefined;
  /** How a rendition GET goes; undefined: as it should. */
  rendition?: (path: string) => { readonly status?: number; readonly afterMs?: number } | undefined;
  /** What a registration leads to: a refusal, or (undefined) an open stream. */
  register?: (request: RegisterRequest) => { readonly status: number; readonly text: string } | undefined;
}

export interface Registration {
  readonly request: RegisterRequest;
  send(notify: MessageInitShape<typeof NotifySegmentSchema>): void;
  /** Ends the stream with trailers. */
  end(status: number, text?: string): void;
  /** Resets the stream. */
  reset(code: number): void;
}

export interface ResultUpload {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ScriptedOrchestrator extends AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly uri: string;
  readonly script: OrchestratorScript;
  readonly segments: readonly SegmentRequest[];
  readonly registrations: readonly Registration[];
  readonly results: readonly ResultUpload[];
  /** Session ids that gateways have ended. */
  readonly ended: readonly string[];
  /** One entry a TLS connection: the protocol that was negotiated, false for none. */
  readonly alpn: readonly (string | false | null)[];
  /** Calls of GetOrchestrator. */
  readonly infoCalls: number;
  /** Bytes to serve on `/stream/<name>`. */
  serve(name: string, data: Uint8Array): string;
  /** Waits until the condition holds; checked whenever something arrived. */
  until(condition: () => boolean, timeoutMs?: number): Promise<void>;
  /** Stops listening and cuts every connection; `listen` comes back on the same port. */
  goAway(): Promise<void>;
  listen(): Promise<void>;
}

const pem = (name: string): Buffer => readFileSync(new URL(`../fixtures/tls/test-only.${name}.pem`, import.meta.url));
/** An answer that is still owed keeps no process alive. */
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

export async function startScriptedOrchestrator(script: OrchestratorScript = {}): Promise<ScriptedOrchestrator> {
  const segments: SegmentRequest[] = [];
  const registrations: Registration[] = [];
  const results: ResultUpload[] = [];
  const ended: string[] = [];
  const alpn: (string | false | null)[] = [];
  const stored = new Map<string, Uint8Array>();
  const sockets = new Set<net.Socket>();
  const socketOf = new WeakMap<http2.Http2Session, tls.TLSSocket>();
  const listeners = new Set<() => void>();
  let infoCalls = 0;
  let sessionCount = 0;
  let uri = "";

  const changed = (): void => {
    for (const listener of listeners) listener();
  };

  const newInfo = (): MessageInitShape<typeof OrchestratorInfoSchema> => ({
    transcoder: uri,
    address: new Uint8Array(20),
    capabilities: capabilitiesToWire(SOFTWARE_CAPABILITIES, "0.9.1"),
    authToken: {
      token: new Uint8Array(32).fill(7),
      sessionId: (++sessionCount).toString(16).padStart(8, "0"),
      expiration: BigInt(Math.floor(Date.now() / 1000) + 1800),
    },
  });

  const grpcError = (stream: http2.ServerHttp2Stream, status: number, text: string): void => {
    const headers = { ":status": 200, "content-type": "application/grpc", "grpc-status": String(status) };
    stream.respond({ ...headers, "grpc-message": encodeGrpcMessage(text) }, { endStream: true });
  };
  const openGrpc = (stream: http2.ServerHttp2Stream): ((status: number, text?: string) => void) => {
    let ending = { status: 0, text: "" };
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": String(ending.status), "grpc-message": encodeGrpcMessage(ending.text) }),
    );
    return (status, text = "") => {
      ending = { status, text };
      stream.end();
    };
  };

  const onCall = (stream: http2.ServerHttp2Stream, path: string, message: Uint8Array): void => {
    const answer = (bytes: Uint8Array): void => {
      const end = openGrpc(stream);
      stream.write(encodeGrpcFrame(bytes));
      end(0);
    };
    switch (path) {
      case "/net.Orchestrator/GetOrchestrator": {
        fromBinary(OrchestratorRequestSchema, message);
        const chosen = script.getOrchestrator?.(infoCalls);
        infoCalls++;
        changed();
        if (typeof chosen === "string") return grpcError(stream, 2, chosen);
        return answer(toBinary(OrchestratorInfoSchema, create(OrchestratorInfoSchema, chosen ?? newInfo())));
      }
      case "/net.Orchestrator/Ping":
        return answer(toBinary(PingPongSchema, create(PingPongSchema, {})));
      case "/net.Orchestrator/EndTranscodingSession":
        ended.push(fromBinary(EndTranscodingSessionRequestSchema, message).authToken?.sessionId ?? "");
        changed();
        return answer(new Uint8Array());
      case "/net.Transcoder/RegisterTranscoder": {
        const request = fromBinary(RegisterRequestSchema, message);
        const refusal = script.register?.(request);
        if (refusal) return grpcError(stream, refusal.status, refusal.text);
        let end: ((status: number, text?: string) => void) | undefined;
        registrations.push({
          request,
          send(notify) {
            end ??= openGrpc(stream); // like a stock node: no headers before the first task
            const bytes = toBinary(NotifySegmentSchema, create(NotifySegmentSchema, notify));
            stream.write(encodeGrpcFrame(bytes));
          },
          end(status, text = "") {
            if (end) end(status, text);
            else grpcError(stream, status, text);
          },
          reset: (code) => stream.close(code),
        });
        return changed();
      }
      default:
        return grpcError(stream, 12, "unknown method");
    }
  };

  const onSegment = async (
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    body: Buffer,
  ): Promise<void> => {
    const segData = fromBinary(SegDataSchema, Buffer.from(String(headers["livepeer-segment"] ?? ""), "base64"));
    const profiles = profilesOfSegment(segData);
    const request: SegmentRequest = {
      segData,
      manifestId: Buffer.from(segData.manifestId).toString(),
      seq: Number(segData.seq),
      profiles: typeof profiles === "string" ? [] : profiles,
      body,
      headers,
      index: segments.length,
    };
    segments.push(request);
    changed();
    const chosen = script.segment?.(request) ?? { kind: "renditions" };
    if (chosen.headersAfterMs) await sleep(chosen.headersAfterMs);
    if (stream.destroyed) return;
    if (chosen.kind === "cut") return void (stream.session && socketOf.get(stream.session)?.destroy());
    if (chosen.kind === "reset") return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    if (chosen.kind === "status") {
      stream.respond({ ":status": chosen.status, "content-type": "text/plain; charset=utf-8" });
      return void stream.end(`${chosen.text}\n`);
    }
    stream.respond({ ":status": 200 });
    await chosen.bodyAfter;
    if (stream.destroyed) return;
    if (chosen.kind === "empty") return void stream.end();
    if (chosen.kind === "bytes") return void stream.end(chosen.body);
    const session = segData.authToken?.sessionId ?? "none";
    const base = newInfo();
    const info = { ...base, ...(segData.authToken ? { authToken: segData.authToken } : {}) };
    const result = create(TranscodeResultSchema, { seq: segData.seq, info });
    if (chosen.kind === "error") result.result = { case: "error", value: chosen.text };
    else {
      if (chosen.info === null) delete result.info;
      else if (chosen.info) result.info = create(OrchestratorInfoSchema, chosen.info);
      const ready = readyRenditionsFor(request.profiles) ?? [];
      const urls = chosen.urls ?? ready.map(({ data }, i) => serve(`${session}/${i}/${request.seq}.ts`, data));
      const made = urls.map((url, i) => ({
        url,
        pixels: ready[i]?.pixels ?? 0n,
        perceptualHashUrl: segData.calcPerceptualHash ? serve(`${session}/${i}/${request.seq}.phash`, PHASH) : "",
      }));
      result.result = create(TranscodeResultSchema, { result: { case: "data", value: { segments: made } } }).result;
    }
    stream.end(toBinary(TranscodeResultSchema, result));
  };

  const onStream = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    stream.on("error", () => {});
    const path = String(headers[":path"]);
    const chunks: Buffer[] = [];
    const isGrpc = String(headers["content-type"]).startsWith("application/grpc");
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const body = Buffer.concat(chunks);
      if (isGrpc) {
        const frame = decodeGrpcFrame(body, 1 << 20);
        return frame.kind === "message" ? onCall(stream, path, frame.message) : grpcError(stream, 13, frame.kind);
      }
      if (path === "/segment") return void onSegment(stream, headers, body);
      if (path === "/transcodeResults") {
        results.push({ headers, body });
        stream.respond({ ":status": 200, "content-type": "text/plain; charset=utf-8" });
        stream.end("OK");
        return changed();
      }
      stream.respond({ ":status": 404 });
      stream.end("404 page not found\n");
    });
  };

  const onGet = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const path = String(request.url).replace(/^\/stream\//, "");
    const chosen = script.rendition?.(path);
    if (chosen?.afterMs) await sleep(chosen.afterMs);
    const data = stored.get(path);
    const status = chosen?.status ?? (data ? 200 : 404);
    response.writeHead(status, { "content-length": data && status === 200 ? data.length : 0 });
    response.end(status === 200 ? data : undefined);
  };

  const serve = (name: string, data: Uint8Array): string => {
    stored.set(name, data);
    return `${uri}/stream/${name}`;
  };

  const h1 = http.createServer((request, response) => void onGet(request, response));
  const h2 = http2.createServer({
    settings: { initialWindowSize: 4 << 20 },
    maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
  });
  h2.on("stream", onStream);
  // A session shows its socket only through a proxy that cannot cut it.
  let connecting: tls.TLSSocket | undefined;
  h2.on("session", (session) => {
    session.on("error", () => {});
    if (connecting) socketOf.set(session, connecting);
  });
  const front = tls.createServer(
    { cert: pem("cert"), key: pem("key"), ALPNProtocols: ["h2", "http/1.1"] },
    (socket) => {
      alpn.push(socket.alpnProtocol);
      connecting = socket;
      (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket);
    },
  );
  front.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      front.once("error", reject);
      front.listen(uri ? Number(new URL(uri).port) : 0, "127.0.0.1", () => {
        const address = front.address();
        if (typeof address === "object" && address) uri = `https://127.0.0.1:${address.port}`;
        resolve();
      });
    });
  const goAway = (): Promise<void> =>
    new Promise((resolve) => {
      front.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  await listen();

  return {
    get uri() {
      return uri;
    },
    get infoCalls() {
      return infoCalls;
    },
    script,
    segments,
    registrations,
    results,
    ended,
    alpn,
    serve,
    goAway,
    listen,
    until(condition, timeoutMs = 60_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          listeners.delete(check);
          reject(new Error("the scripted orchestrator waited in vain"));
        }, timeoutMs);
        const check = (): void => {
          if (!condition()) return;
          clearTimeout(timer);
          listeners.delete(check);
          resolve();
        };
        listeners.add(check);
        check();
      });
    },
    [Symbol.asyncDispose]: goAway,
  };
}

const PHASH = Buffer.from("a perceptual hash");

/** The capability numbers that a segment's request names, as one set. */
export function requestedCapabilities(segData: SegData): bigint {
  return capabilitySetFromWords(segData.capabilities?.bitstring ?? []);
}
