/**
 * An unmodified `livepeer -orchestrator -orchSecret …` as its transcoders see it: one shared secret, task ids from 0 on,
 * sources over HTTP/1.1, results over HTTP/2 matched by task id alone, sessions bound to the least loaded transcoder, a
 * teardown when a session ends, and the ejection of whoever is late. Written from the protocol as recorded; what gateways
 * do is left to the test, which calls `transcode`.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import tls from "node:tls";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { errorCode } from "@openpool/base";
import {
  capabilitySetFromWords,
  decodeGrpcFrame,
  DEFAULT_CAPABILITIES,
  encodeGrpcFrame,
  encodeGrpcMessage,
  HTTP2_CONNECTION_MEMORY_MB,
  misfit,
  multipartBoundary,
  type Need,
  needOf,
  needToWire,
  NotifySegmentSchema,
  OrchestratorInfoSchema,
  type OrchestratorRequest,
  OrchestratorRequestSchema,
  parseMultipart,
  type Profile,
  type RegisterRequest,
  RegisterRequestSchema,
  RESULT_AUTHORIZATION,
  type SegData,
  SegDataSchema,
  setProfiles,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import { until } from "../e2e/pool.ts";
import { readyProfiles, SOURCE_DURATION_MS, sourceSegment } from "./media.ts";

export interface StockOrchestratorOptions {
  readonly secret: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Scales the time that a transcoder has: tests of lateness cannot wait 8 s. */
  readonly timeoutScale?: number;
  /** What its sources are called: `https://HOST:PORT`; default its own address. */
  readonly serviceUri?: string;
  /** Price per pixel in wei, as `/status` says it; undefined: no CLI port. */
  readonly price?: string;
  /** Its `-maxSessions`; default: as many as anyone wants. */
  readonly maxSessions?: "auto" | number;
  /** It is on chain: it looks at the signature of who asks what it offers, and says nothing more to who has no deposit. */
  readonly onChain?: boolean;
  /** Of its go-livepeer. */
  readonly livepeer?: string;
  /** `false`: forgets the bodies of results, which would fill the memory in a long run. */
  readonly keepBodies?: boolean;
  /** Told of everything that a stock node would log. */
  readonly log?: (line: string) => void;
}

/** What a gateway would be told. */
export type Transcoded =
  | {
      readonly kind: "done";
      readonly taskId: number;
      readonly decodedPixels: number;
      readonly renditions: readonly {
        readonly data: Buffer;
        readonly pixels: number;
        readonly phash: Buffer | undefined;
      }[];
      readonly tookMs: number;
    }
  | { readonly kind: "error"; readonly taskId: number | undefined; readonly text: string; readonly tookMs: number };

export interface SegmentOrder {
  readonly session: string;
  readonly seq: number;
  readonly manifestId?: string;
  readonly source?: Buffer;
  readonly profiles?: readonly Profile[];
  readonly durationMs?: number;
  /** Set into the message as they are. */
  readonly segData?: Partial<SegData>;
  /** In place of the source's own address. */
  readonly url?: string;
  readonly capabilities?: bigint;
  /** Lowest version that the gateway accepts. */
  readonly minVersion?: string;
}

/** A transcoder as the orchestrator knows it. */
export interface RegisteredTranscoder {
  readonly request: RegisterRequest;
  readonly capacity: number;
  readonly capabilities: bigint;
  readonly version: string;
  readonly live: boolean;
  /** Sessions bound to it. */
  readonly load: number;
  /** Ends its registration as a restart of the connection would. */
  drop(): void;
  /** Sends bytes as one message. */
  sendBytes(bytes: Uint8Array): void;
  /** Sends any message at all. */
  send(notify: MessageInitShape<typeof NotifySegmentSchema>): void;
}

/** What happened that should not: a pool that is right causes none of these. */
export interface Complaints {
  /** Transcoders removed because they were late. */
  ejected: number;
  /** Results for tasks that nobody waits for any more. */
  unknownResults: number;
  /** Second results for a task. */
  duplicateResults: number;
  unauthorized: number;
  /** Uploads that did not parse. */
  broken: number;
}

export interface StockOrchestrator extends AsyncDisposable {
  /** `HOST:PORT`. */
  readonly addr: string;
  readonly cliAddr: string | undefined;
  /** All registrations, oldest first. */
  readonly transcoders: readonly RegisteredTranscoder[];
  readonly live: readonly RegisteredTranscoder[];
  readonly complaints: Complaints;
  readonly refusals: readonly string[];
  /** Protocol of each connection: false for none. */
  readonly alpn: readonly (string | false | null)[];
  /** Requests for sources: version and headers. */
  readonly sourceRequests: readonly { readonly httpVersion: string; readonly headers: http.IncomingHttpHeaders }[];
  readonly results: readonly {
    readonly taskId: string;
    readonly headers: http2.IncomingHttpHeaders;
    readonly body: Buffer;
  }[];
  secret: string;
  price: string | undefined;
  /** How a source is served; undefined: as it should be. */
  source: ((response: http.ServerResponse, path: string) => boolean) | undefined;
  /** How a result is answered that was taken; undefined: as it should be. */
  answer: ((stream: http2.ServerHttp2Stream) => void) | undefined;
  /** What it says to a registration in place of taking it, as no stock one does; undefined: it takes it. */
  refuse: ((request: RegisterRequest) => string | undefined) | undefined;
  /** With which status a proxy before it refuses a result, by its content type; undefined: it lets it through. */
  proxy: ((contentType: string) => number | undefined) | undefined;
  /** Serves a source at a path. */
  serve(path: string, data: Buffer): void;
  /** Does what a segment from a gateway leads to. Segments of one session run one after another. */
  transcode(order: SegmentOrder): Promise<Transcoded>;
  /** Ends a session: its transcoder is told. */
  endSession(session: string): void;
  /** Ends and starts anew: another certificate, task ids from 0. */
  restart(): Promise<void>;
  /** Shows another certificate to who connects from now on, as a proxy before it that has renewed its own: nothing else ends. */
  renewCertificate(): void;
  until(condition: () => boolean, timeoutMs?: number): Promise<void>;
}

const pem = (name: string): Buffer => readFileSync(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));
/** A stock node makes a new certificate at every start; two that take turns are as different. */
const identities = ["test-only", "test-only-2"].map((name) => ({ cert: pem(`${name}.cert`), key: pem(`${name}.key`) }));

const BROKEN_BODY = "multipart: NextPart: EOF";

/** Whether it is signed by the address that it names, as a gateway on chain does it. */
async function isSigned({ address, sig }: OrchestratorRequest): Promise<boolean> {
  const { bytesToHex, getAddress, keccak256, stringToBytes, verifyMessage } = await import("viem");
  const asker = getAddress(bytesToHex(address));
  const message = { raw: keccak256(stringToBytes(asker)) };
  return verifyMessage({ address: asker, message, signature: bytesToHex(sig) }).catch(() => false);
}

/** Whether the server has the port now; false: somebody else has. */
function listens(server: net.Server, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      server.off("listening", done);
      if (errorCode(error) === "EADDRINUSE") resolve(false);
      else reject(error);
    };
    const done = (): void => {
      server.off("error", failed);
      resolve(true);
    };
    server.once("error", failed);
    server.once("listening", done);
    server.listen(port, "127.0.0.1");
  });
}

interface Waiting {
  finish(
    result: { renditions: Extract<Transcoded, { kind: "done" }>["renditions"]; pixels: number } | { error: string },
  ): void;
}

interface Remote extends RegisteredTranscoder {
  live: boolean;
  load: number;
  eject(): void;
}

export async function startStockOrchestrator(options: StockOrchestratorOptions): Promise<StockOrchestrator> {
  const say = options.log ?? (() => {});
  const version = options.livepeer ?? "0.9.1";
  const sources = new Map<string, Buffer>();
  const waiting = new Map<number, Waiting>();
  const bound = new Map<string, Remote>();
  const queues = new Map<string, Promise<unknown>>();
  const all: Remote[] = [];
  const sockets = new Set<net.Socket>();
  const listeners = new Set<() => void>();
  const complaints: Complaints = { ejected: 0, unknownResults: 0, duplicateResults: 0, unauthorized: 0, broken: 0 };
  const refusals: string[] = [];
  const alpn: (string | false | null)[] = [];
  const sourceRequests: { httpVersion: string; headers: http.IncomingHttpHeaders }[] = [];
  const results: { taskId: string; headers: http2.IncomingHttpHeaders; body: Buffer }[] = [];
  const finished = new Set<number>();
  let remote: Remote[] = [];
  let nextTask = 0;
  let starts = 0;
  let port = options.port ?? 0;
  let cli: http.Server | undefined;

  const changed = (): void => {
    for (const listener of listeners) listener();
  };

  /** Begins the answer to a call; it ends with what became of it. */
  const openCall = (stream: http2.ServerHttp2Stream, failure?: string): void => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    const status = failure === undefined ? "0" : "2";
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": status, "grpc-message": encodeGrpcMessage(failure ?? "") }),
    );
  };
  const failCall = (stream: http2.ServerHttp2Stream, text: string): void => {
    openCall(stream, text);
    stream.end();
  };

  /** Whether there is a session left for a gateway, and what it is told then. */
  const onGetInfo = async (stream: http2.ServerHttp2Stream, request: OrchestratorRequest): Promise<void> => {
    if (options.onChain && !(await isSigned(request))) {
      return failCall(stream, "Invalid orchestrator request: orchestrator req sig check failed");
    }
    const offered = remote.reduce((sum, one) => sum + (one.live ? one.capacity : 0), 0);
    const { maxSessions = Infinity } = options;
    if (bound.size >= (maxSessions === "auto" ? offered : maxSessions)) {
      return failCall(stream, "Invalid orchestrator request: OrchestratorCapped");
    }
    if (options.onChain) return failCall(stream, "insufficient sender reserve");
    const info = create(OrchestratorInfoSchema, {
      transcoder: `https://127.0.0.1:${port}`,
      capabilities: { version },
    });
    openCall(stream);
    stream.end(encodeGrpcFrame(toBinary(OrchestratorInfoSchema, info)));
  };

  // ---- registrations

  const onRegister = (stream: http2.ServerHttp2Stream, request: RegisterRequest): void => {
    const refuse = (text: string): void => {
      refusals.push(text);
      say(text);
      failCall(stream, text);
      changed();
    };
    if (request.secret !== self.secret) return refuse("invalid secret");
    if (request.capacity <= 0n) return refuse("zero capacity");
    const refusal = self.refuse?.(request);
    if (refusal !== undefined) return refuse(refusal);
    let opened = false;
    const open = (): void => {
      if (opened) return;
      opened = true;
      openCall(stream);
    };
    const transcoder: Remote = {
      request,
      capacity: Number(request.capacity),
      capabilities: request.capabilities
        ? capabilitySetFromWords(request.capabilities.bitstring)
        : DEFAULT_CAPABILITIES,
      version: request.capabilities?.version ?? "",
      live: true,
      load: 0,
      sendBytes(bytes) {
        open();
        stream.write(encodeGrpcFrame(bytes));
      },
      send(notify) {
        this.sendBytes(toBinary(NotifySegmentSchema, create(NotifySegmentSchema, notify)));
      },
      drop() {
        open();
        stream.end();
      },
      eject() {
        this.live = false;
        this.drop();
      },
    };
    remote.push(transcoder);
    all.push(transcoder);
    say(`Got a RegisterTranscoder request capacity=${transcoder.capacity}`);
    let ended = false;
    const gone = (): void => {
      if (ended) return;
      ended = true;
      transcoder.live = false;
      say("Got transcoder eof, removing from live transcoders map");
      changed();
    };
    stream.once("close", gone);
    // Its context ends with its connection: from then on a Send fails, and the task goes to another one.
    stream.session?.socket.once("end", gone);
    changed();
  };

  /** The transcoder of a session, as a stock orchestrator chooses it; a text is why there is none. */
  const select = (session: string, need: Need): Remote | string => {
    for (;;) {
      if (remote.length === 0) return "no transcoders available";
      remote.sort((a, b) => b.load / b.capacity - a.load / a.capacity);
      const found = remote.findLast((one) => misfit(one, need) === undefined);
      if (!found) return "no transcoders can provide requested capabilities";
      const chosen = bound.get(session) ?? found;
      if (!chosen.live) {
        bound.delete(session);
        remote = remote.filter((one) => one !== chosen);
        continue;
      }
      if (bound.has(session)) return chosen;
      if (chosen.load >= chosen.capacity) return "no transcoders available";
      bound.set(session, chosen);
      chosen.load++;
      return chosen;
    }
  };
  const release = (session: string): void => {
    const transcoder = bound.get(session);
    if (transcoder) transcoder.load--;
    bound.delete(session);
  };

  // ---- segments

  const transcodeNow = async (order: SegmentOrder): Promise<Transcoded> => {
    const startedMs = performance.now();
    const durationMs = order.durationMs ?? SOURCE_DURATION_MS;
    const error = (text: string, taskId?: number): Transcoded => {
      release(order.session);
      return { kind: "error", taskId, text, tookMs: performance.now() - startedMs };
    };
    const need = needOf(order.capabilities ?? 0x4001003n, order.minVersion);
    const transcoder = select(order.session, need);
    if (typeof transcoder === "string") return error(transcoder);
    const taskId = nextTask++;
    const path = `/stream/${order.session}/${order.seq}.tempfile`;
    sources.set(path, order.source ?? sourceSegment);
    const segData = Object.assign(
      create(SegDataSchema, {
        manifestId: Buffer.from(order.manifestId ?? `manifest-${order.session}`),
        seq: BigInt(order.seq),
        hash: new Uint8Array(32),
        profiles: Buffer.from("invalid"),
        duration: durationMs,
        capabilities: needToWire(need),
        authToken: {
          token: createHash("sha256").update(order.session).digest(),
          sessionId: order.session,
          expiration: BigInt(Math.floor(Date.now() / 1000) + 1800),
        },
      }),
      order.segData,
    );
    setProfiles(segData, order.profiles ?? readyProfiles);
    const timeoutMs = Math.max(8_000, 4 * durationMs) * (options.timeoutScale ?? 1);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        complaints.ejected++;
        say(`Remote transcoder took too long taskId=${taskId}`);
        finished.add(taskId);
        waiting.delete(taskId);
        transcoder.eject();
        resolve(error("Remote transcoder took too long", taskId));
      }, timeoutMs);
      waiting.set(taskId, {
        finish(result) {
          clearTimeout(timer);
          waiting.delete(taskId);
          finished.add(taskId);
          sources.delete(path);
          if ("error" in result) return resolve(error(result.error, taskId));
          resolve({
            kind: "done",
            taskId,
            decodedPixels: result.pixels,
            renditions: result.renditions,
            tookMs: performance.now() - startedMs,
          });
        },
      });
      transcoder.send({
        url: order.url ?? `${options.serviceUri ?? `https://127.0.0.1:${port}`}${path}`,
        taskId: BigInt(taskId),
        orchId: "offchain",
        profiles: Buffer.from("invalid"),
        segData,
      });
    });
  };

  // ---- results

  const onResult = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, body: Buffer): void => {
    const answer = (status: number, text: string): void => {
      if (stream.destroyed) return;
      if (status === 200 && self.answer) return self.answer(stream);
      stream.respond({ ":status": status, "content-type": "text/plain; charset=utf-8" });
      stream.end(status === 200 ? text : `${text}\n`);
    };
    const refusal = self.proxy?.(String(headers["content-type"] ?? ""));
    if (refusal !== undefined) {
      stream.respond({ ":status": refusal });
      return void stream.end();
    }
    // Go compares bytes, which are UTF-8 where the secret has them; Node reads each as a character.
    const credentials = Buffer.from(String(headers["credentials"]), "latin1").toString();
    if (headers["authorization"] !== RESULT_AUTHORIZATION || credentials !== self.secret) {
      complaints.unauthorized++;
      return answer(401, "Unauthorized");
    }
    const contentType = String(headers["content-type"] ?? "");
    if (contentType === "") return answer(415, "mime: no media type");
    if (!/^-?\d+$/.test(String(headers["taskid"]))) return answer(400, "Invalid Task ID");
    const taskId = Number(headers["taskid"]);
    results.push({
      taskId: String(headers["taskid"]),
      headers,
      body: options.keepBodies === false ? Buffer.alloc(0) : body,
    });
    const task = waiting.get(taskId);
    if (!task) {
      if (finished.has(taskId)) complaints.duplicateResults++;
      else complaints.unknownResults++;
    }
    if (contentType === TRANSCODING_ERROR_TYPE) {
      answer(200, "OK");
      task?.finish({ error: body.toString() });
      return changed();
    }
    if (!/^\d+$/.test(String(headers["pixels"]))) return answer(400, "Invalid Pixels");
    if (!contentType.startsWith("multipart/mixed")) return answer(200, "OK");
    const parts = parseMultipart(body, multipartBoundary(contentType) ?? "", { maxParts: 100, maxPartBytes: 3e8 });
    if (typeof parts === "string") {
      complaints.broken++;
      // Go has a text for each way in which a body can be wrong: this is the one for most of them.
      answer(500, BROKEN_BODY);
      task?.finish({ error: BROKEN_BODY });
      return changed();
    }
    const renditions: { data: Buffer; pixels: number; phash: Buffer | undefined }[] = [];
    for (const part of parts) {
      const pixels = part.headers.get("pixels");
      if (pixels !== undefined) {
        renditions.push({ data: Buffer.from(part.data), pixels: Number(pixels), phash: undefined });
      } else if (part.headers.get("content-type") === "application/octet-stream") {
        const last = renditions.at(-1);
        if (last) last.phash = Buffer.from(part.data);
      }
    }
    answer(200, "OK");
    task?.finish({ renditions, pixels: Number(headers["pixels"]) });
    changed();
  };

  const onStream = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    stream.on("error", () => {});
    const path = String(headers[":path"]);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const isGrpc = String(headers["content-type"]).startsWith("application/grpc");
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
    });
    stream.on("end", () => {
      if (stream.aborted) return;
      const body = Buffer.concat(chunks);
      if (isGrpc && path === "/net.Transcoder/RegisterTranscoder") {
        const frame = decodeGrpcFrame(body, 4 << 20);
        return frame.kind === "message"
          ? onRegister(stream, fromBinary(RegisterRequestSchema, frame.message))
          : stream.close(1);
      }
      if (isGrpc && path === "/net.Orchestrator/GetOrchestrator") {
        const frame = decodeGrpcFrame(body, 4 << 20);
        if (frame.kind !== "message") return stream.close(1);
        return void onGetInfo(stream, fromBinary(OrchestratorRequestSchema, frame.message));
      }
      if (path === "/transcodeResults") return onResult(stream, headers, body);
      stream.respond({ ":status": 404 });
      stream.end("404 page not found\n");
    });
    stream.on("aborted", () => {
      // What broke off in the middle is an error of that task, as for Go's reader.
      const taskId = Number(headers["taskid"] ?? -1);
      if (path === "/transcodeResults" && bytes < Number(headers["content-length"] ?? 0)) {
        waiting.get(taskId)?.finish({ error: "unexpected EOF" });
      }
    });
  };

  const onGet = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const path = String(request.url);
    sourceRequests.push({ httpVersion: request.httpVersion, headers: request.headers });
    if (self.source?.(response, path)) return;
    const data = sources.get(path);
    response.writeHead(data ? 200 : 404, { "content-length": data?.length ?? 0, "cache-control": "max-age=5" });
    response.end(data);
  };

  // ---- the port

  const h1 = http.createServer(onGet);
  const open = async (): Promise<tls.Server> => {
    // As Go's server: one megabyte each for a stream and for all of a connection, 250 streams.
    const h2 = http2.createServer({
      settings: { initialWindowSize: 1 << 20, maxFrameSize: 1 << 20, maxConcurrentStreams: 250 },
      maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
    });
    h2.on("stream", onStream);
    h2.on("session", (session) => {
      session.on("error", () => {});
      session.setLocalWindowSize(1 << 20);
    });
    const front = tls.createServer(
      {
        ...identities[starts % identities.length],
        ALPNProtocols: ["h2", "http/1.1"],
        noDelay: true,
        // A client that closes its side still gets what was sent to it before that was noticed. Go writes it at once, from
        // a thread of its own; Node at the end of a turn of its event loop, and would drop it.
        allowHalfOpen: true,
      },
      (socket) => {
        socket.on("error", () => {});
        socket.once("end", () => setImmediate(() => socket.destroySoon()));
        alpn.push(socket.alpnProtocol);
        (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket);
      },
    );
    front.on("connection", (socket: net.Socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    });
    // While it was away its port may have gone to a connection of another test, which ends soon.
    await until(() => listens(front, port));
    const address = front.address();
    port = typeof address === "object" && address ? address.port : port;
    return front;
  };
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => void front.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  let front = await open();
  if (options.price !== undefined) {
    cli = http.createServer((request, response) => {
      if (request.url !== "/status") return void response.writeHead(404).end();
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({
          Version: version,
          RegisteredTranscodersNumber: remote.filter((one) => one.live).length,
          RegisteredTranscoders: remote
            .filter((one) => one.live)
            .map((one) => ({ Address: "127.0.0.1:1", Capacity: one.capacity })),
          LocalTranscoding: false,
          BroadcasterPrices: { default: self.price },
        }),
      );
    });
    await new Promise<void>((resolve) => void cli?.listen(0, "127.0.0.1", resolve));
  }
  const cliAddress = cli?.address();

  const self: StockOrchestrator = {
    get addr() {
      return `127.0.0.1:${port}`;
    },
    cliAddr: typeof cliAddress === "object" && cliAddress ? `127.0.0.1:${cliAddress.port}` : undefined,
    transcoders: all,
    get live() {
      return all.filter((one) => one.live);
    },
    complaints,
    refusals,
    alpn,
    sourceRequests,
    results,
    secret: options.secret,
    price: options.price,
    source: undefined,
    answer: undefined,
    refuse: undefined,
    proxy: undefined,
    serve: (path, data) => void sources.set(path, data),
    transcode(order) {
      const before = queues.get(order.session) ?? Promise.resolve();
      const mine = before.then(() => transcodeNow(order));
      queues.set(order.session, mine);
      return mine;
    },
    endSession(session) {
      const transcoder = bound.get(session);
      if (!transcoder) return;
      if (transcoder.live) transcoder.send({ segData: { authToken: { sessionId: session } } });
      release(session);
    },
    renewCertificate() {
      starts++;
      front.setSecureContext(identities[starts % identities.length]!);
    },
    async restart() {
      await close();
      starts++;
      for (const one of remote) one.live = false;
      remote = [];
      bound.clear();
      // Gateways see their connections break; nobody waits for these any more.
      for (const task of waiting.values()) task.finish({ error: "the orchestrator was restarted" });
      waiting.clear();
      finished.clear();
      nextTask = 0;
      front = await open();
    },
    until(condition, timeoutMs = 60_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          listeners.delete(check);
          reject(new Error("the orchestrator waited in vain"));
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
    async [Symbol.asyncDispose]() {
      await close();
      await new Promise<void>((resolve) => {
        if (!cli) return resolve();
        cli.close(() => resolve());
        cli.closeAllConnections();
      });
    },
  };
  return self;
}
