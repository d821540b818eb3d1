import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  decodeGrpcFrame,
  encodeGrpcFrame,
  encodeGrpcMessage,
  multipartBoundary,
  type MultipartPart,
  NotifySegmentSchema,
  parseMultipart,
  plainProfile,
  type Profile,
  profileToWire,
  type RegisterRequest,
  RegisterRequestSchema,
  RIG_REPORT_PATH,
} from "@openpool/protocol";

const fixture = (path: string): Buffer =>
  readFileSync(fileURLToPath(new URL(`../../../../test/fixtures/${path}`, import.meta.url)));

export const media = (name: string): Buffer => fixture(`media/${name}`);
export const testCertificate = (): Buffer => fixture("tls/test-only.cert.pem");
export const wireBody = (name: string): Buffer => fixture(`wire/bodies/${name}`);

/** A registration as the pool sees it. */
export interface PoolSideRegistration {
  readonly request: RegisterRequest;
  notify(message: MessageInitShape<typeof NotifySegmentSchema>): void;
  end(status: number, text?: string): void;
  /** Cuts every connection with the pool. */
  cut(): void;
  /** The code with which the worker, or we, reset the stream; 0: a clean end. */
  readonly closed: Promise<number>;
}

export interface Upload {
  readonly headers: http2.IncomingHttpHeaders;
  readonly taskId: string;
  /** Set for `livepeer/transcoding-error`. */
  readonly errorText: string | undefined;
  readonly parts: readonly MultipartPart[];
}

export interface FakePool extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  nextRegistration(): Promise<PoolSideRegistration>;
  nextUpload(): Promise<Upload>;
  /** Takes reports about machines from now on; answered in turn with `statuses`, then with 204. Before, it knows no such path. */
  takeReports(...statuses: number[]): void;
  nextReport(): Promise<{ readonly headers: http2.IncomingHttpHeaders; readonly body: unknown }>;
  /** Serves a source and returns its URL. */
  serve(body: Uint8Array | ((request: http.IncomingMessage, response: http.ServerResponse) => void)): string;
  /** Every further registration ends at once with this. */
  refuseWith(status: number, text: string): void;
  /** The next upload's connection is cut before an answer. */
  cutNextUpload(): void;
  readonly registrations: number;
}

function queue<T>(): { push(item: T): void; next(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    push(item) {
      const taker = waiting.shift();
      if (taker) taker(item);
      else items.push(item);
    },
    next: () =>
      new Promise((resolve) => {
        const item = items.shift();
        if (item === undefined) waiting.push(resolve);
        else resolve(item);
      }),
  };
}

/** A pool's port with nothing behind it: TLS, both HTTP versions, every answer chosen by the test. */
export async function startFakePool(port = 0): Promise<FakePool> {
  const registrations = queue<PoolSideRegistration>();
  const uploads = queue<Upload>();
  const reports = queue<{ readonly headers: http2.IncomingHttpHeaders; readonly body: unknown }>();
  let reportStatuses: number[] | undefined;
  const sources = new Map<string, Parameters<FakePool["serve"]>[0]>();
  const sockets = new Set<net.Socket>();
  let refusal: { readonly status: number; readonly text: string } | undefined;
  let cutUploads = 0;
  let registrationCount = 0;

  const onRegister = (stream: http2.ServerHttp2Stream): void => {
    let body = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => (body = Buffer.concat([body, chunk])));
    stream.on("error", () => {});
    stream.once("end", () => {
      registrationCount++;
      const frame = decodeGrpcFrame(body, 1 << 20);
      if (frame.kind !== "message") throw new Error("not a gRPC request");
      const endWith = (status: number, text: string): void => {
        const trailers = { "grpc-status": String(status), "grpc-message": encodeGrpcMessage(text) };
        if (stream.headersSent) {
          stream.once("wantTrailers", () => stream.sendTrailers(trailers));
          stream.end();
        } else {
          stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers }, { endStream: true });
        }
      };
      if (refusal) return endWith(refusal.status, refusal.text);
      const closed = new Promise<number>((resolve) => stream.once("close", () => resolve(stream.rstCode ?? 0)));
      registrations.push({
        request: fromBinary(RegisterRequestSchema, frame.message),
        // A stock orchestrator sends not even headers before there is work.
        notify(message) {
          if (!stream.headersSent) {
            stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
          }
          stream.write(encodeGrpcFrame(toBinary(NotifySegmentSchema, create(NotifySegmentSchema, message))));
        },
        end: (status, text = "") => endWith(status, text),
        cut: () => sockets.forEach((socket) => socket.destroy()),
        closed,
      });
    });
  };
  const onUpload = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => {
      if (cutUploads > 0) {
        cutUploads--;
        stream.session?.destroy();
        return;
      }
      const body = Buffer.concat(chunks);
      const boundary = multipartBoundary(String(headers["content-type"]));
      const parts = boundary ? parseMultipart(body, boundary, { maxParts: 40, maxPartBytes: 3e8 }) : [];
      if (typeof parts === "string") throw new Error(parts);
      stream.respond({ ":status": 200 });
      stream.end("OK");
      const errorText = headers["content-type"] === "livepeer/transcoding-error" ? body.toString() : undefined;
      uploads.push({ headers, taskId: String(headers["taskid"]), errorText, parts });
    });
  };
  const onReport = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => {
      stream.respond({ ":status": reportStatuses?.shift() ?? 204 }, { endStream: true });
      reports.push({ headers, body: JSON.parse(Buffer.concat(chunks).toString()) as unknown });
    });
  };
  const h2 = http2.createServer({ settings: { initialWindowSize: 4 << 20 } });
  h2.on("stream", (stream, headers) => {
    if (headers[":path"] === "/net.Transcoder/RegisterTranscoder") onRegister(stream);
    else if (headers[":path"] === "/transcodeResults") onUpload(stream, headers);
    else if (headers[":path"] === RIG_REPORT_PATH && reportStatuses) onReport(stream, headers);
    else stream.respond({ ":status": 404 }, { endStream: true });
  });
  h2.on("session", (session) => session.on("error", () => {}));
  const h1 = http.createServer((request, response) => {
    const source = sources.get(request.url ?? "");
    if (typeof source === "function") source(request, response);
    else if (source) response.end(source);
    else response.writeHead(404).end();
  });
  const server = tls.createServer({
    key: fixture("tls/test-only.key.pem"),
    cert: fixture("tls/test-only.cert.pem"),
    ALPNProtocols: ["h2", "http/1.1"],
  });
  server.on("tlsClientError", () => {});
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound ? bound.port : 0;

  return {
    address: `127.0.0.1:${boundPort}`,
    port: boundPort,
    nextRegistration: registrations.next,
    nextUpload: uploads.next,
    takeReports(...statuses) {
      reportStatuses = statuses;
    },
    nextReport: reports.next,
    serve(body) {
      const path = `/stream/s/${sources.size}.tempfile`;
      sources.set(path, body);
      return `https://127.0.0.1:${boundPort}${path}`;
    },
    refuseWith(status, text) {
      refusal = { status, text };
    },
    cutNextUpload() {
      cutUploads++;
    },
    get registrations() {
      return registrationCount;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export function testProfile(overrides: Partial<Profile> = {}): Profile {
  return plainProfile({ name: "P240", width: 426, height: 240, bitrate: 250_000, ...overrides });
}

/** A task as a stock orchestrator words it. */
export function taskMessage(task: {
  readonly url: string;
  readonly taskId?: bigint;
  readonly session?: string;
  readonly seq?: bigint;
  readonly durationMs?: number;
  readonly profiles?: readonly Profile[];
  readonly phash?: boolean;
  readonly clip?: { readonly from: bigint; readonly to: bigint };
}): MessageInitShape<typeof NotifySegmentSchema> {
  return {
    url: task.url,
    taskId: task.taskId ?? 0n,
    profiles: Buffer.from("invalid"),
    orchId: "offchain",
    segData: {
      manifestId: Buffer.from("m"),
      seq: task.seq ?? 0n,
      hash: new Uint8Array(32),
      duration: task.durationMs ?? 2000,
      authToken: { sessionId: task.session ?? "s1" },
      fullProfiles3: (task.profiles ?? [testProfile()]).map(profileToWire),
      calcPerceptualHash: task.phash ?? false,
      ...(task.clip ? { segmentParameters: task.clip } : {}),
    },
  };
}

export interface Proxy extends AsyncDisposable {
  readonly address: string;
  /** Lets nothing through any more and keeps the connections open: a peer that hangs, or a network that drops packets. */
  freeze(): void;
}

/** Passes TCP on to `port` of this machine. */
export async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.once("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound ? bound.port : 0}`,
    freeze() {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
