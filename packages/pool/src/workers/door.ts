import type http2 from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { addressGroup, type Clock, createEventBudget, errorText, type Logger, plainText } from "@openpool/base";
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
  MAX_RIG_REPORT_BYTES,
  registerText,
  RESULT_AUTHORIZATION,
  rigReportSchema,
  type RigName,
  segmentText,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { announcedLength, fillBody, openBody } from "../bodies/body.ts";
import { readSmallBody } from "../bodies/small-body.ts";
import type { AttemptId } from "../dispatch/types.ts";
import { answerNotFound, isDownload, sendBytes } from "../front/download.ts";
import { answerText, type Exchange } from "../front/exchange.ts";
import { endGrpc, openGrpcStream, readGrpcRequest } from "../front/grpc.ts";
import type { JobDesk, UploadedResult } from "../jobs/desk.ts";
import type { Store } from "../store/types.ts";
import type { Connection, Connections } from "./connections.ts";
import { type Identities, isIdentityRefusal } from "./identity.ts";
import type { RigNames } from "./rig-names.ts";
import type { RigReports } from "./rig-reports.ts";
import { Uploads } from "./uploads.ts";

export interface WorkersDoorDeps {
  readonly desk: JobDesk;
  readonly connections: Connections;
  readonly identities: Identities;
  readonly memory: BodyMemory;
  readonly reports: RigReports;
  readonly names: Pick<RigNames, "admit">;
  readonly store: Store;
  readonly logger: Logger;
  readonly clock: Clock;
  /** False while the pool hands its workers over: a new registration belongs to the next process. */
  readonly accepting: () => boolean;
  /** A rig joined or left. */
  readonly onRigsChanged: () => void;
  /** Asked about every registration once it is there: `veto` ends it. */
  readonly onJoined?: (connection: Connection) => Promise<{ readonly veto: string | undefined }>;
}

/** Sessions that a single registration may offer; beyond it somebody mistyped. */
const MAX_CAPACITY = 10_000;
/** An error text is a line or two; FFmpeg's can be longer. */
const MAX_ERROR_BYTES = 64 * 1024;
/** A worker may not need longer than this to send what it made, … */
const UPLOAD_TIMEOUT_MS = 60_000;
/** … nor stand still for so long. */
const STALL_MS = 5_000;
/** An error text or a report is on its way for a moment only. */
const SMALL_UPLOAD_TIMEOUT_MS = 10_000;
/** Of the memory for bodies, what one address may be sending at once. */
const UPLOADS_SHARE = 0.5;
/** The capabilities that exist have numbers far below; what a worker makes up beyond them is not announced. */
const KNOWN_CAPABILITIES = (1n << 64n) - 1n;

/** Where workers register, fetch sources and bring results. */
export class WorkersDoor {
  readonly #deps: WorkersDoorDeps;
  /** What one name, and what one address may put into logs and events: names cost nothing. */
  readonly #nameBudget: (key: string) => boolean;
  readonly #peerBudget: (key: string) => boolean;
  /** Registrations that one address may begin: a large site at once, and again and again, but not for ever. */
  readonly #registrationBudget: (key: string) => boolean;
  /** Reports of one rig: one a registration, and a network that fails now and then. */
  readonly #reportBudget: (key: string) => boolean;
  readonly #uploads: Uploads;

  constructor(deps: WorkersDoorDeps) {
    this.#deps = deps;
    this.#nameBudget = createEventBudget({ burst: 20, perMinute: 20 }, deps.clock);
    this.#peerBudget = createEventBudget({ burst: 1_000, perMinute: 120 }, deps.clock);
    this.#registrationBudget = createEventBudget({ burst: 5_000, perMinute: 1_200 }, deps.clock);
    this.#reportBudget = createEventBudget({ burst: 10, perMinute: 4 }, deps.clock);
    this.#uploads = new Uploads({ mostBytesOfOne: deps.memory.limitBytes * UPLOADS_SHARE }, deps);
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
    const { logger, desk, connections } = this.#deps;
    if (!connections.hasRoomFor(peer) || !this.#registrationBudget(addressGroup(peer))) {
      // Not for ever: whoever honestly has so many comes back and finds room.
      endGrpc(stream, GrpcStatus.RESOURCE_EXHAUSTED, "too many registrations from this address");
      return;
    }
    const identity = this.#deps.identities.identify(request.secret, request.ethereumAddress);
    if (isIdentityRefusal(identity)) {
      const { reason, explanation, worker } = identity;
      if (this.#record(peer, `${peer} ${reason}`, "rig.refused", undefined, { reason, explanation, worker })) {
        logger.warn("a worker was refused", { peer, reason, explanation });
      }
      // The one text that makes a stock transcoder stop instead of knocking for ever.
      endGrpc(stream, GrpcStatus.UNKNOWN, registerText.invalidSecret);
      return;
    }
    const { worker } = identity;
    if (request.capacity <= 0n) {
      this.#record(peer, `${peer} zero-capacity`, "rig.refused", identity, { reason: "zero-capacity", worker });
      endGrpc(stream, GrpcStatus.UNKNOWN, registerText.zeroCapacity);
      return;
    }
    if (stream.destroyed || stream.closed) return;
    if (!this.#deps.names.admit(identity)) {
      this.#record(peer, `${peer} too-many-names`, "rig.refused", identity, { reason: "too-many-names", worker });
      endGrpc(stream, GrpcStatus.RESOURCE_EXHAUSTED, "too many new rigs are here under this address");
      return;
    }
    openGrpcStream(stream);
    const capacity = Number(request.capacity < BigInt(MAX_CAPACITY) ? request.capacity : BigInt(MAX_CAPACITY));
    const capabilities = request.capabilities
      ? capabilitySetFromWords(request.capabilities.bitstring) & KNOWN_CAPABILITIES
      : DEFAULT_CAPABILITIES;
    const version = plainText(request.capabilities?.version ?? "", 64);
    const rig = formatRig(identity);
    const offer = {
      rig: identity,
      capacity,
      capabilities,
      secretHash: this.#deps.identities.hashOf(request.secret),
      peer,
      authority,
      version,
    };
    const connection = connections.open(stream, offer, {
      onFinishing: ({ connection: id }) => {
        logger.debug("rig takes no more tasks", { rig, peer });
        desk.finishing(id);
        this.#deps.onRigsChanged();
      },
      onGone: (gone, why) => {
        if (this.#record(peer, rig, "rig.left", identity, { why, connection: gone.connection })) {
          logger.info("rig left", { rig, why, peer });
        }
        desk.disconnected(gone.connection);
        this.#deps.onRigsChanged();
      },
    });
    if (this.#record(peer, rig, "rig.joined", identity, { capacity, version, connection: connection.connection })) {
      logger.info("rig joined", { rig, capacity, version, peer });
    }
    desk.connected(connection);
    this.#deps.onRigsChanged();
    this.#deps.onJoined?.(connection).then(
      ({ veto }) => {
        if (veto === undefined) return;
        logger.info("rig let go by a hook", { rig, veto });
        // It leaves before it is refused, so that a refusal is the last that is known of it.
        connection.end(veto);
        const explanation = `the hook workerJoined: ${veto}`;
        this.#record(peer, rig, "rig.refused", identity, { reason: "vetoed", explanation, worker });
      },
      (error: unknown) => logger.warn("a hook could not be asked", { rig, error: errorText(error) }),
    );
  }

  // ---- what a rig tells about its machine

  /** POST of a rig report, by who holds a registration under the same secret. */
  async takeReport(exchange: Exchange): Promise<void> {
    const { connections, identities, reports, logger } = this.#deps;
    const secret = exchange.header("credentials") ?? "";
    const identity = identities.identify(secret, new Uint8Array());
    if (exchange.header("authorization") !== RESULT_AUTHORIZATION || isIdentityRefusal(identity)) {
      return answerText(exchange, 401, "Unauthorized");
    }
    const rig = formatRig(identity);
    // Names cost nothing: only those of rigs that are here, or were a moment ago, are worth a row.
    if (!connections.holders.holds(identities.hashOf(secret), identity)) {
      return answerText(exchange, 409, "no registration is open under this secret");
    }
    if (!this.#reportBudget(rig)) return answerText(exchange, 429, "too many reports");
    const body = await this.#smallBody(exchange, `report of ${rig}`, MAX_RIG_REPORT_BYTES);
    if (!body) return answerText(exchange, 429, "too many reports at once, or one that came too slowly");
    if (!body.whole) return answerText(exchange, 413, "the report is too large");
    const report = rigReportSchema.safeParse(parseJson(body.text));
    if (!report.success) {
      const [issue] = report.error.issues;
      return answerText(exchange, 400, `${issue?.path.join(".") || "the report"}: ${issue?.message ?? "is not valid"}`);
    }
    try {
      await reports.keep(identity, report.data);
    } catch (error) {
      logger.warn("a rig's report was not kept", { rig, error: errorText(error) });
      return answerText(exchange, 503, "the report cannot be kept now");
    }
    answerText(exchange, 204, "");
  }

  /** A body of a few kilobytes, not whole when it is larger; undefined when it is late, cut off or one too many. */
  async #smallBody(
    exchange: Exchange,
    key: string,
    maxBytes: number,
  ): Promise<{ readonly text: string; readonly whole: boolean } | undefined> {
    const { peer } = exchange;
    const upload = this.#uploads.begin({ key, peer, bytes: maxBytes, withinMs: SMALL_UPLOAD_TIMEOUT_MS });
    if (!upload) return undefined;
    try {
      return await readSmallBody(exchange.body, { maxBytes, signal: upload.signal });
    } finally {
      upload.end();
    }
  }

  // ---- sources

  /** GET of a source by its unguessable URL; cut through while it still arrives. */
  async serveSource(urlToken: string, exchange: Exchange): Promise<void> {
    const source = this.#deps.desk.sourceOf(urlToken);
    if (!source) return answerNotFound(exchange);
    if (!isDownload(exchange)) return;
    const { input, onClosed } = source;
    const cut = (): void => exchange.abort();
    if (input.state === "confirmed" && (exchange.method === "HEAD" || exchange.header("range") !== undefined)) {
      const letGo = input.hold();
      onClosed.add(cut);
      exchange.onClose(() => {
        onClosed.delete(cut);
        letGo();
      });
      return sendBytes(exchange, input.bytes, "");
    }
    const length = input.state === "confirmed" ? input.bytes.length : input.announcedBytes;
    if (length === undefined) return answerNotFound(exchange);
    onClosed.add(cut);
    exchange.begin(200, { "content-type": "video/mp2t", "content-length": length });
    const whole = await input.pipeTo(exchange.output);
    onClosed.delete(cut);
    if (!whole) exchange.abort();
  }

  // ---- results

  /** POST /transcodeResults, checked in the order of a stock orchestrator. */
  async takeResult(exchange: Exchange): Promise<void> {
    const { desk, connections, identities } = this.#deps;
    const secretHash = identities.hashOf(exchange.header("credentials") ?? "");
    const holder = connections.holders.anyOf(secretHash);
    const refuse = (status: number, text: string, why: string, rig = holder): void => {
      this.#recordRefused(exchange.peer, rig, why);
      answerText(exchange, status, text);
    };
    if (exchange.header("authorization") !== RESULT_AUTHORIZATION) {
      return refuse(401, "Unauthorized", "its authorization is not that of a transcoder");
    }
    if (!holder) return refuse(401, "Unauthorized", "no rig has registered with its secret");
    const contentType = exchange.header("content-type") ?? "";
    const mediaType = contentType.split(";", 1)[0]!.trim().toLowerCase();
    if (mediaType === "") return refuse(415, "mime: no media type", "it has no media type");
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+(\/[!#$%&'*+.^_`|~0-9a-z-]+)?$/.test(mediaType)) {
      return refuse(415, "mime: expected token after slash", "its media type is none");
    }
    const taskText = exchange.header("taskid") ?? "";
    if (!/^[+-]?\d{1,19}$/.test(taskText)) return refuse(400, "Invalid Task ID", "its task id is no number");
    const taskId = BigInt(taskText);
    const found = desk.attemptOf(taskId);
    if (found && !connections.holders.holds(secretHash, found.rig)) {
      return refuse(403, segmentText.forbidden, "the task was given to another rig");
    }
    if (identities.isDismissed(found?.rig ?? holder, secretHash)) {
      return refuse(401, "Unauthorized", "it may not work here any more", found?.rig);
    }
    const isError = mediaType === TRANSCODING_ERROR_TYPE;
    if (!isError && !/^\d{1,19}$/.test(exchange.header("pixels") ?? "")) {
      return refuse(400, "Invalid Pixels", "its pixels are no number", found?.rig);
    }
    if (!found) {
      // Ended, replaced or never given out; told apart from an answer only by our record. Who was told to stop says that it did.
      if (!isError || !desk.wasGivenOut(taskId)) this.#recordRefused(exchange.peer, holder, "no open task has this id");
      return exchange.answer(200, OK_HEADERS, "OK");
    }
    if (isError) return this.#takeError(exchange, found.id);
    if (mediaType === "multipart/mixed") {
      return this.#takeRenditions(exchange, found.id, multipartBoundary(contentType));
    }
    exchange.answer(200, OK_HEADERS, "OK");
    desk.attemptFailed(found.id, { kind: "invalid-result", text: `it came as ${mediaType}` });
  }

  /** What was uploaded counts for nothing. */
  #recordRefused(peer: string, rig: RigName | undefined, why: string): void {
    if (!this.#record(peer, rig ? formatRig(rig) : `${peer} ${why}`, "result.refused", rig, { why })) return;
    this.#deps.logger.info("an upload was refused", { peer, rig: rig && formatRig(rig), why });
  }

  async #takeError(exchange: Exchange, attempt: AttemptId): Promise<void> {
    const body = await this.#smallBody(exchange, attempt, MAX_ERROR_BYTES);
    // The worker left or hangs: the end of its stream, or its lateness, says the rest.
    if (!body) return exchange.abort();
    exchange.answer(200, OK_HEADERS, "OK");
    this.#deps.desk.attemptFailed(attempt, { kind: "worker-error", text: body.text });
  }

  async #takeRenditions(exchange: Exchange, attempt: AttemptId, boundary: string | undefined): Promise<void> {
    const { clock, desk, memory } = this.#deps;
    const fail = (status: number, text: string): void => {
      answerText(exchange, status, text);
      desk.attemptFailed(attempt, { kind: "invalid-result", text });
    };
    const noMemory = (): void => {
      answerText(exchange, 503, "the pool has no memory left");
      // Not its fault: somebody takes the job again in a moment, as with a worker that is busy.
      desk.attemptFailed(attempt, { kind: "worker-error", text: "TranscoderBusy" });
    };
    if (boundary === undefined) return fail(500, "multipart: boundary is empty");
    const limits = desk.limitsOf(attempt);
    if (!limits) return exchange.answer(200, OK_HEADERS, "OK");
    desk.resultArriving(attempt);
    const announcedBytes = announcedLength(exchange.header("content-length"));
    const upload = this.#uploads.begin({
      key: attempt,
      peer: exchange.peer,
      bytes: Math.min(announcedBytes ?? limits.maxBytes, limits.maxBytes),
      withinMs: UPLOAD_TIMEOUT_MS,
    });
    if (!upload) return noMemory();
    // Whoever comes second need not finish; its memory is needed elsewhere.
    limits.onClosed.add(upload.abort);
    const options = {
      announcedBytes,
      maxBytes: limits.maxBytes,
      purpose: "result" as const,
      signal: upload.signal,
      pace: { clock, stallMs: STALL_MS, wholeMs: UPLOAD_TIMEOUT_MS },
    };
    const body = await openBody(memory, options);
    try {
      const failure = typeof body === "string" ? body : await fillBody(body, exchange.body, memory, options);
      if (upload.replaced) return exchange.abort();
      if (typeof body === "string" || failure) {
        if (!desk.limitsOf(attempt)) return exchange.answer(200, OK_HEADERS, "OK");
        if (failure === "no-memory") return noMemory();
        return fail(500, failure === "too-large" ? "http: request body too large" : "unexpected EOF");
      }
      // One part more than expected is enough to know that the count is wrong.
      const { maxParts } = limits;
      const parts = parseMultipart(body.bytes, boundary, { maxParts: maxParts + 1, maxPartBytes: MAX_SEGMENT_BYTES });
      if (typeof parts === "string") return fail(500, parts);
      const uploaded = readRenditions(parts);
      if (typeof uploaded === "string") return fail(500, uploaded);
      exchange.answer(200, OK_HEADERS, "OK");
      desk.result(attempt, { body, parts: uploaded });
    } finally {
      upload.end();
      limits.onClosed.delete(upload.abort);
      if (typeof body !== "string") body.release();
    }
  }

  /** Appends an event about a peer, within what one name and one address may cause; false: it was too much. */
  #record(
    peer: string,
    name: string,
    type: string,
    rig: RigName | undefined,
    data: Readonly<Record<string, unknown>>,
  ): boolean {
    if (!this.#nameBudget(name) || !this.#peerBudget(addressGroup(peer))) return false;
    this.#deps.store.append([{ type, worker: rig?.worker, rig: rig?.rig, data }]).catch((error: unknown) => {
      this.#deps.logger.warn("an event was not recorded", { type, error: errorText(error) });
    });
    return true;
  }
}

/** Undefined: it is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const OK_HEADERS = { "content-type": "text/plain; charset=utf-8" } as const;

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
