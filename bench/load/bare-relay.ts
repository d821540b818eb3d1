/**
 * The least that an orchestrator written for Node does with a segment: it moves every byte over TLS and hashes the source,
 * as it must. Nothing is checked, recorded, tried again or bounded. What the pool costs beyond this is its own; what this
 * costs nobody can save without leaving Node or TLS. Prints its address; ends with its standard input.
 */
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import tls from "node:tls";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  decodeGrpcFrame,
  encodeGrpcFrame,
  NotifySegmentSchema,
  OrchestratorInfoSchema,
  SegDataSchema,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { startKeccak } from "../../packages/pool/src/bodies/keccak.ts";

const pem = (name: string): Buffer => readFileSync(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url));
const keccak = await startKeccak();
/** By path; a source is forgotten when it was answered, a rendition when it was fetched. */
const bodies = new Map<string, Uint8Array>();
const waiting = new Map<string, (parts: readonly Uint8Array[]) => void>();
const workers: http2.ServerHttp2Stream[] = [];
let tasks = 0;

const grpcHeaders = { ":status": 200, "content-type": "application/grpc" };
function openGrpc(stream: http2.ServerHttp2Stream): void {
  stream.respond(grpcHeaders, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
}

/** The whole body in one buffer; `onChunk` sees it as it comes. */
function receive(stream: http2.ServerHttp2Stream, bytes: number, onChunk: (chunk: Buffer) => void): Promise<Buffer> {
  return new Promise((resolve) => {
    const body = Buffer.allocUnsafeSlow(bytes);
    let at = 0;
    stream.on("data", (chunk: Buffer) => {
      chunk.copy(body, at);
      onChunk(body.subarray(at, at + chunk.length));
      at += chunk.length;
    });
    stream.on("end", () => resolve(body.subarray(0, at)));
  });
}

async function onSegment(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): Promise<void> {
  const hash = keccak.create();
  const body = await receive(stream, Number(headers["content-length"]), (chunk) => hash.update(chunk));
  const digest = await hash.digest();
  const segData = fromBinary(SegDataSchema, Buffer.from(String(headers["livepeer-segment"]), "base64"));
  if (!segData.hash.every((byte, i) => byte === digest[i])) return stream.close();
  stream.respond({ ":status": 200 });
  const task = ++tasks;
  const source = `/source/${task}`;
  bodies.set(source, body);
  const url = `https://127.0.0.1:${port}${source}`;
  const notify = create(NotifySegmentSchema, { url, taskId: BigInt(task), segData });
  const parts = await new Promise<readonly Uint8Array[]>((resolve) => {
    waiting.set(String(task), resolve);
    workers[task % workers.length]?.write(encodeGrpcFrame(toBinary(NotifySegmentSchema, notify)));
  });
  bodies.delete(source);
  const segments = parts.map((data, i) => {
    const path = `/rendition/${task}/${i}`;
    bodies.set(path, data);
    return { url: `https://127.0.0.1:${port}${path}`, pixels: 1n, perceptualHashUrl: "" };
  });
  const result = create(TranscodeResultSchema, { seq: segData.seq, result: { case: "data", value: { segments } } });
  stream.end(toBinary(TranscodeResultSchema, result));
}

async function onResult(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): Promise<void> {
  const body = await receive(stream, Number(headers["content-length"]), () => {});
  stream.respond({ ":status": 200 }, { endStream: true });
  const parts: Uint8Array[] = [];
  for (let at = body.indexOf("\r\n\r\n"); at >= 0; at = body.indexOf("\r\n\r\n", at)) {
    const head = body.subarray(Math.max(0, at - 300), at).toString("latin1");
    const length = Number(/content-length: (\d+)(?![\s\S]*content-length)/i.exec(head)?.[1]);
    parts.push(body.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  const task = String(headers["taskid"]);
  waiting.get(task)?.(parts);
  waiting.delete(task);
}

function onCall(stream: http2.ServerHttp2Stream, path: string): void {
  let request = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    request = Buffer.concat([request, chunk]);
    if (decodeGrpcFrame(request, 1 << 20).kind !== "message") return;
    openGrpc(stream);
    if (path.endsWith("/RegisterTranscoder")) {
      workers.push(stream);
      return void stream.on("close", () => workers.splice(workers.indexOf(stream), 1));
    }
    const info = create(OrchestratorInfoSchema, { transcoder: `https://127.0.0.1:${port}` });
    stream.end(encodeGrpcFrame(toBinary(OrchestratorInfoSchema, info)));
  });
}

// The settings of the pool's own front.
const KEEP_ALIVE_MS = 95_000;
const h2 = http2.createServer({
  settings: { initialWindowSize: 4 << 20, maxFrameSize: 1 << 18, maxConcurrentStreams: 250 },
  maxSessionMemory: 4_000,
});
h2.on("session", (session) => session.setLocalWindowSize(64 << 20));
h2.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const path = String(headers[":path"]);
  if (path === "/segment") void onSegment(stream, headers);
  else if (path === "/transcodeResults") void onResult(stream, headers);
  else onCall(stream, path);
});
const h1 = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
  const path = String(request.url);
  const body = bodies.get(path);
  response.writeHead(body ? 200 : 404, { "content-length": body?.length ?? 0 });
  response.end(body);
  if (path.startsWith("/rendition/")) bodies.delete(path);
});
const front = tls.createServer(
  { cert: pem("test-only.cert"), key: pem("test-only.key"), noDelay: true, ALPNProtocols: ["h2", "http/1.1"] },
  (socket) => (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket),
);
await new Promise<void>((resolve) => void front.listen(0, "127.0.0.1", resolve));
const address = front.address();
const port = typeof address === "object" && address ? address.port : 0;
process.stdout.write(`127.0.0.1:${port}\n`);
process.stdin.on("end", () => process.exit(0)).resume();
