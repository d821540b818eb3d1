import type http2 from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { type Clock, errorText, type Logger } from "@openpool/base";
import {
  capabilitySetFromWords,
  DEFAULT_CAPABILITIES,
  formatRig,
  GrpcStatus,
  MAX_SEGMENT_BYTES,
  type MultipartPart,
  multipartBoundary,
  parseMultipart,
  type RegisterRequest,
  RegisterRequestSchema,
  registerText,
  RESULT_AUTHORIZATION,
  type RigName,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { fillBody, openBody } from "../bodies/body.ts";
import type { AttemptId } from "../dispatch/types.ts";
import { answerText, type Exchange } from "../front/exchange.ts";
import { endGrpc, openGrpcStream, readGrpcRequest } from "../front/grpc.ts";
import { answerNotFound, sendBytes } from "../gateway/renditions.ts";
import type { JobDesk, UploadedResult } from "../jobs/desk.ts";
import type { Store } from "../store/types.ts";
import type { Connections } from "./connections.ts";
import { hashSecret, type Identities, isIdentityRefusal } from "./identity.ts";
import { createEventBudget } from "./event-budget.ts";

export interface WorkersDoorDeps {
  readonly desk: JobDesk;
  readonly connections: Connections;
  readonly identities: Identities;
  readonly memory: BodyMemory;
  readonly store: Store;
  readonly logger: Logger;
  readonly clock: Clock;
  /** False while the pool hands its workers over: a new registration belongs to the next process. */
  readonly accepting: () => boolean;
  /** A rig joined or left. */
  readonly onRigsChanged: () => void;
}

/** Sessions that a single registration may offer; beyond it somebody mistyped. */
const MAX_CAPACITY = 10_000;
/** An error text is a line or two; FFmpeg's can be longer. */
const MAX_ERROR_BYTES = 64 * 1024;
/** A worker may not need longer than this to send what it made. */
const UPLOAD_TIMEOUT_MS = 60_000;

/** Where workers register, fetch sources and bring results. */
export class WorkersDoor {
  readonly #deps: WorkersDoorDeps;
  readonly #budget: (key: string) => boolean;

  constructor(deps: WorkersDoorDeps) {
    this.#deps = deps;
    this.#budget = createEventBudget({ burst: 20, perMinute: 20 }, deps.clock);
  }

  // ---- registration

  async register(stream: http2.ServerHttp2Stream, peer: string, authority: string): Promise<void> {
    const message = await readGrpcRequest(stream);
    if (!message) return;
    let request: RegisterRequest;
    try {
      request = fromBinary(RegisterRequestSchema, message);
    } catch (error) {
      endGrpc(stream, GrpcStatus.INTERNAL, `grpc: error unmarshalling request: ${errorText(error)}`);
      return;
    }
    if (!this.#deps.accepting()) {
      endGrpc(stream, GrpcStatus.UNAVAILABLE, "the pool is restarting");
      return;
    }
    const identity = this.#deps.identities.identify(request.secret, request.ethereumAddress);
    if (isIdentityRefusal(identity)) {
      this.#record(`${peer} ${identity.reason}`, "rig.refused", undefined, {
        reason: identity.reason,
        explanation: identity.explanation,
        worker: identity.worker,
      });
      this.#deps.logger.warn("a worker was refused", {
        peer,
        reason: identity.reason,
        explanation: identity.explanation,
      });
      // The one text that makes a stock transcoder stop instead of knocking for ever.
      endGrpc(stream, GrpcStatus.UNKNOWN, registerText.invalidSecret);
      return;
    }
    if (request.capacity <= 0n) {
      this.#record(`${peer} zero-capacity`, "rig.refused", identity, { reason: "zero-capacity" });
      endGrpc(stream, GrpcStatus.UNKNOWN, registerText.zeroCapacity);
      return;
    }
    if (stream.destroyed) return;
    openGrpcStream(stream);
    const capacity = Number(request.capacity < BigInt(MAX_CAPACITY) ? request.capacity : BigInt(MAX_CAPACITY));
    const capabilities = request.capabilities
      ? capabilitySetFromWords(request.capabilities.bitstring)
      : DEFAULT_CAPABILITIES;
    const version = request.capabilities?.version ?? "";
    const { logger, desk, connections } = this.#deps;
    const rig = formatRig(identity);
    const offer = {
      rig: identity,
      capacity,
      capabilities,
      secretHash: hashSecret(request.secret),
      peer,
      authority,
      version,
    };
    const connection = connections.open(stream, offer, (gone, why) => {
      logger.info("rig left", { rig, why, peer });
      this.#record(rig, "rig.left", identity, { why, connection: gone.connection });
      desk.disconnected(gone.connection);
      this.#deps.onRigsChanged();
    });
    logger.info("rig joined", { rig, capacity, version, peer });
    this.#record(rig, "rig.joined", identity, { capacity, version, connection: connection.connection });
    desk.connected(connection);
    this.#deps.onRigsChanged();
  }

  // ---- sources

  /** GET of a source by its unguessable URL; cut through while it still arrives. */
  async serveSource(urlToken: string, exchange: Exchange): Promise<void> {
    const source = this.#deps.desk.sourceOf(urlToken);
    if (!source || (exchange.method !== "GET" && exchange.method !== "HEAD")) return answerNotFound(exchange);
    const { input, onClosed } = source;
    if (input.state === "confirmed" && (exchange.method === "HEAD" || exchange.header("range") !== undefined)) {
      const letGo = input.hold();
      exchange.onClose(letGo);
      return sendBytes(exchange, input.bytes, "");
    }
    const length = input.state === "confirmed" ? input.bytes.length : input.announcedBytes;
    if (length === undefined) return answerNotFound(exchange);
    const cut = (): void => exchange.abort();
    onClosed.add(cut);
    exchange.start(200, { "content-type": "video/mp2t", "content-length": length });
    const whole = await input.pipeTo(exchange.output);
    onClosed.delete(cut);
    if (!whole) exchange.abort();
  }

  // ---- results

  /** POST /transcodeResults, checked in the order of a stock orchestrator. */
  async takeResult(exchange: Exchange): Promise<void> {
    const { desk, connections } = this.#deps;
    const secretHash = hashSecret(exchange.header("credentials") ?? "");
    const rig = connections.identityOf(secretHash);
    if (exchange.header("authorization") !== RESULT_AUTHORIZATION || !rig) {
      return answerText(exchange, 401, "Unauthorized");
    }
    const contentType = exchange.header("content-type") ?? "";
    const mediaType = contentType.split(";", 1)[0]!.trim().toLowerCase();
    if (mediaType === "") return answerText(exchange, 415, "mime: no media type");
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+(\/[!#$%&'*+.^_`|~0-9a-z-]+)?$/.test(mediaType)) {
      return answerText(exchange, 415, "mime: expected token after slash");
    }
    const taskText = exchange.header("taskid") ?? "";
    if (!/^[+-]?\d{1,19}$/.test(taskText)) return answerText(exchange, 400, "Invalid Task ID");
    const found = desk.lookup(BigInt(taskText), rig);
    if (found.kind === "not-yours") {
      this.#deps.logger.warn("a result came from another worker than the one that has the task", {
        rig: formatRig(rig),
      });
      this.#record(formatRig(rig), "result.refused", rig, { why: "the task was given to another rig" });
      return answerText(exchange, 403, segmentForbidden);
    }
    if (mediaType === TRANSCODING_ERROR_TYPE)
      return this.#takeError(exchange, found.kind === "open" ? found.attempt : undefined);
    if (!/^\d{1,19}$/.test(exchange.header("pixels") ?? "")) return answerText(exchange, 400, "Invalid Pixels");
    if (found.kind === "unknown") {
      // Ended, replaced or never given out; told apart from an answer only by our record.
      this.#record(formatRig(rig), "result.refused", rig, { why: "no open task has this id" });
      return exchange.answer(200, OK_HEADERS, "OK");
    }
    if (mediaType !== "multipart/mixed") return exchange.answer(200, OK_HEADERS, "OK");
    return this.#takeRenditions(exchange, found.attempt, multipartBoundary(contentType));
  }

  async #takeError(exchange: Exchange, attempt: AttemptId | undefined): Promise<void> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of exchange.body) {
        bytes += (chunk as Uint8Array).length;
        if (bytes <= MAX_ERROR_BYTES) chunks.push(chunk as Uint8Array);
      }
    } catch {
      return; // the worker left; its stream's end says the rest
    }
    exchange.answer(200, OK_HEADERS, "OK");
    // Strip nothing: a gateway compares the whole text.
    if (attempt)
      this.#deps.desk.attemptFailed(attempt, { kind: "worker-error", text: Buffer.concat(chunks).toString() });
  }

  async #takeRenditions(exchange: Exchange, attempt: AttemptId, boundary: string | undefined): Promise<void> {
    const { desk, memory } = this.#deps;
    const fail = (status: number, text: string): void => {
      answerText(exchange, status, text);
      desk.attemptFailed(attempt, { kind: "invalid-result", text });
    };
    if (boundary === undefined) return fail(500, "multipart: boundary is empty");
    desk.resultArriving(attempt);
    const announced = exchange.header("content-length");
    const maxParts = desk.partsExpected(attempt);
    const options = {
      announcedBytes: announced === undefined ? undefined : Number(announced),
      maxBytes: Math.max(1, maxParts) * (MAX_SEGMENT_BYTES + 4096),
      purpose: "result" as const,
      signal: AbortSignal.timeout(UPLOAD_TIMEOUT_MS),
    };
    const body = await openBody(memory, options);
    if (typeof body === "string")
      return fail(500, body === "no-memory" ? "the pool has no memory left" : "http: request body too large");
    try {
      const failure = await fillBody(body, exchange.body, memory, options);
      if (failure) return fail(500, failure === "too-large" ? "http: request body too large" : "unexpected EOF");
      // One part more than expected is enough to know that the count is wrong.
      const parts = parseMultipart(body.bytes, boundary, { maxParts: maxParts + 1, maxPartBytes: MAX_SEGMENT_BYTES });
      if (typeof parts === "string") return fail(500, parts);
      const uploaded = readRenditions(parts);
      if (typeof uploaded === "string") return fail(500, uploaded);
      exchange.answer(200, OK_HEADERS, "OK");
      desk.result(attempt, { body, parts: uploaded });
    } finally {
      body.release();
    }
  }

  /** Appends an event about a peer, within what one peer may cause. */
  #record(budgetKey: string, type: string, rig: RigName | undefined, data: Readonly<Record<string, unknown>>): void {
    if (!this.#budget(budgetKey)) return;
    this.#deps.store.append([{ type, worker: rig?.worker, rig: rig?.rig, data }]).catch((error: unknown) => {
      this.#deps.logger.warn("an event was not recorded", { type, error: errorText(error) });
    });
  }
}

const OK_HEADERS = { "content-type": "text/plain; charset=utf-8" } as const;
const segmentForbidden = "Forbidden";

/** Parts with `Pixels` are renditions; one without, and exactly octet-stream, is the signature of the one before it. */
function readRenditions(parts: readonly MultipartPart[]): UploadedResult["parts"] | string {
  const renditions: { data: Uint8Array; claimedPixels: bigint; perceptualHash: Uint8Array | undefined }[] = [];
  for (const part of parts) {
    const pixels = part.headers.get("pixels");
    if (pixels !== undefined) {
      if (!/^\d{1,19}$/.test(pixels))
        return `strconv.ParseInt: parsing ${JSON.stringify(pixels.slice(0, 40))}: invalid syntax`;
      renditions.push({ data: part.data, claimedPixels: BigInt(pixels), perceptualHash: undefined });
    } else if (part.headers.get("content-type") === "application/octet-stream") {
      const last = renditions.at(-1);
      if (!last) return "Unknown perceptual hash";
      last.perceptualHash = part.data;
    }
  }
  return renditions;
}
