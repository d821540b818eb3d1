import type http2 from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Clock, createEventBudget, errorText, type Logger, type Price } from "@openpool/base";
import {
  type Ability,
  type AuthToken,
  capabilitiesToWire,
  type CapabilitySet,
  checksumAddress,
  DEFAULT_CAPABILITIES,
  DOWNLOAD_TIMEOUT_MS,
  EndTranscodingSessionRequestSchema,
  GrpcStatus,
  headersTimeoutMs,
  INVALID_VIDEO,
  LIVEPEER_VERSION,
  MAX_SEGMENT_BYTES,
  misfit,
  type Need,
  needFromWire,
  type OrchestratorInfo,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  segmentText,
  segmentTimeoutMs,
  SESSION_IDLE_MS,
  TranscodeResultSchema,
  URI_BODY_TYPE,
} from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { announcedLength, type Body, fillBody, openBody } from "../bodies/body.ts";
import type { KeccakFactory } from "../bodies/keccak.ts";
import type { Dispatcher } from "../dispatch/index.ts";
import type { JobId } from "../dispatch/types.ts";
import { answerText, type Exchange } from "../front/exchange.ts";
import { answerGrpc, endGrpc, readGrpcRequest } from "../front/grpc.ts";
import type { JobDesk } from "../jobs/desk.ts";
import type { Job, JobOutcome } from "../jobs/job.ts";
import { clipOf } from "../jobs/wishes.ts";
import { createUuidV7 } from "../store/index.ts";
import type { TokenIssuer } from "./auth-token.ts";
import { fetchSource, type SourceFailure } from "./fetch-source.ts";
import { type Rendition, type Renditions } from "./renditions.ts";
import { isRefusal, readSegmentRequest, type SegmentRequest } from "./segment-request.ts";
import { Sessions } from "../jobs/sessions.ts";

export interface GatewayDoorOptions {
  /** Exactly what is advertised, everywhere and always: a gateway keys its sessions by this text. */
  readonly serviceUri: string;
  readonly price: Price;
  readonly generation: number;
  readonly maxSessions: number | undefined;
  /** That segments may be fetched from although they are of the pool's own network; lower case. */
  readonly allowedSourceHosts: ReadonlySet<string>;
}

export interface GatewayDoorDeps {
  readonly desk: JobDesk;
  readonly dispatcher: Dispatcher;
  readonly renditions: Renditions;
  readonly tokens: TokenIssuer;
  readonly memory: BodyMemory;
  readonly keccak: KeccakFactory;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Rigs are on their way from another process: count them as if they were here. */
  readonly expectingRigs: () => boolean;
  /** The next process has the rigs already, or will in a moment, and takes the sessions that this one still gives out. */
  readonly handingOver: () => boolean;
  /** False at the end of the pool, and while others have less than their share: new sessions are sent elsewhere. */
  readonly accepting: () => boolean;
}

/** What is kept for sending the answer and for the gateway to fetch it, out of the time that it waits. */
const ANSWER_MARGIN_MS = 750;
/** A worker's whole download takes at most 4 s: a slower upload than that must be complete before it is given out. */
const CUT_THROUGH_UPLOAD_MS = 3_500;
/** A worker is asked once so much of the source is here: a request alone, made and reset, must not cost one anything. */
const CUT_THROUGH_FROM_BYTES = 8 * 1024;
/** An upload that stands still for so long, or so long that its gateway would soon give up, is given up, … */
const STALL_MS = 5_000;
/** … and one that takes longer than this, however long its segment says that it is: no stream goes on behind it. */
const UPLOAD_TIMEOUT_MS = 60_000;
/**
 * Of the time in which a gateway waits for headers, what its segment may wait for memory, for the next byte of its upload,
 * or for its source to be fetched: that it is lost must be said while the gateway still listens.
 */
const PATIENCE_SHARE = 0.75;

/** How a source that is not here is refused. All but the last say in words that cost no session that it is lost. */
const SOURCE_REFUSALS: Readonly<Record<SourceFailure, readonly [status: number, text: string]>> = {
  "too-large": [413, INVALID_VIDEO],
  "no-memory": [503, INVALID_VIDEO],
  incomplete: [500, INVALID_VIDEO],
  unusable: [400, segmentText.badRequest],
};

const RENDITION_TYPES = { mpegts: ["ts", "video/mp2t"], mp4: ["mp4", "video/mp4"] } as const;

/** Where gateways ask for terms and send segments. */
export class GatewayDoor {
  readonly sessions: Sessions;
  readonly #options: GatewayDoorOptions;
  readonly #deps: GatewayDoorDeps;
  readonly #newJobId: () => string;
  readonly #lostBudget: (key: string) => boolean;
  readonly #startedMs: number;
  /** When this process issued its first token, in unix ms. */
  #issuingSinceMs: number | undefined;
  #underWay = 0;
  #infoFor: { capabilities: CapabilitySet; info: OrchestratorInfo } | undefined;

  constructor(options: GatewayDoorOptions, deps: GatewayDoorDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonicMs();
    this.#newJobId = createUuidV7(() => deps.clock.now());
    this.#lostBudget = createEventBudget({ burst: 100, perMinute: 60 }, deps.clock);
    this.sessions = new Sessions(deps.clock, SESSION_IDLE_MS, (session) => deps.desk.endSession(session));
  }

  /** Segments that came and are not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** What the pool announces now: the default set, which never vanishes, what connected workers add, and its own version. */
  ability(): Ability {
    return {
      capabilities: DEFAULT_CAPABILITIES | this.#deps.dispatcher.capabilities(),
      version: LIVEPEER_VERSION,
    };
  }

  // ---- gRPC

  /** GetOrchestrator: called for nearly every segment, so no side effects and no database. */
  async getOrchestrator(stream: http2.ServerHttp2Stream): Promise<void> {
    const message = await readGrpcRequest(stream);
    if (!message) return;
    let need: Need;
    try {
      need = needFromWire(fromBinary(OrchestratorRequestSchema, message).capabilities);
    } catch (error) {
      return endGrpc(stream, GrpcStatus.INTERNAL, `grpc: error unmarshalling request: ${errorText(error)}`);
    }
    if (!this.#hasRoom(need)) {
      return endGrpc(stream, GrpcStatus.UNKNOWN, `Invalid orchestrator request: ${segmentText.capped}`);
    }
    const now = this.#deps.clock.now();
    this.#issuingSinceMs ??= now;
    answerGrpc(stream, toBinary(OrchestratorInfoSchema, this.#info(this.#deps.tokens.issue(now))));
  }

  /** A gateway that is refused here loses nothing; one that is accepted and then failed can lose its stream. */
  #hasRoom(need: Need): boolean {
    const { dispatcher, memory, clock, expectingRigs, handingOver, accepting } = this.#deps;
    if (memory.tight || !accepting()) return false;
    if (this.#isFull()) return false;
    // Whatever the workers are, segments of a gateway that wants a newer pool would be refused.
    if (misfit(this.ability(), need) === "version") return false;
    return dispatcher.hasRoom(need, clock.monotonicMs()) || expectingRigs() || handingOver();
  }

  async endTranscodingSession(stream: http2.ServerHttp2Stream): Promise<void> {
    const message = await readGrpcRequest(stream);
    if (!message) return;
    let token: AuthToken | undefined;
    try {
      token = fromBinary(EndTranscodingSessionRequestSchema, message).authToken;
    } catch (error) {
      return endGrpc(stream, GrpcStatus.INTERNAL, `grpc: error unmarshalling request: ${errorText(error)}`);
    }
    if (!token || !this.#deps.tokens.isGenuine(token)) return endGrpc(stream, GrpcStatus.UNKNOWN, "Invalid auth token");
    this.sessions.end(token.sessionId);
    answerGrpc(stream, new Uint8Array());
  }

  /** Ping: a signature of the bytes sent, which off-chain is empty. */
  async ping(stream: http2.ServerHttp2Stream): Promise<void> {
    if (await readGrpcRequest(stream)) answerGrpc(stream, new Uint8Array());
  }

  /** Complete, always: an info without token, or with another transcoder URI, costs the gateway its stream. */
  #info(authToken: AuthToken): OrchestratorInfo {
    const { capabilities, version } = this.ability();
    if (this.#infoFor?.capabilities !== capabilities) {
      this.#infoFor = {
        capabilities,
        info: create(OrchestratorInfoSchema, {
          transcoder: this.#options.serviceUri,
          address: new Uint8Array(20),
          capabilities: capabilitiesToWire(capabilities, version),
        }),
      };
    }
    return { ...this.#infoFor.info, authToken };
  }

  // ---- segments

  /** POST /segment. */
  async segment(exchange: Exchange): Promise<void> {
    const { clock, tokens } = this.#deps;
    const arrivedMs = clock.monotonicMs();
    const request = readSegmentRequest(
      {
        segment: exchange.header("livepeer-segment"),
        payment: exchange.header("livepeer-payment"),
        peer: exchange.peer,
      },
      {
        takes: (need, token, stream) => this.#takes(need, token, stream),
        tokens,
        nowMs: clock.now(),
        isRunning: (sessionId) => this.sessions.knows(sessionId),
      },
    );
    if (isRefusal(request)) return void this.#refuse(exchange, request.status, request.text);
    const token = request.data.authToken!;
    if (this.#isFull() && !this.#runs(token, request.stream) && !this.#wasRunning(token)) {
      // It was let in when there was room, by an info that is older than the last place: its session lives on, and has a
      // place as soon as there is one.
      return void this.#refuse(exchange, 503, INVALID_VIDEO);
    }
    const session = this.sessions.of(token.sessionId, request.stream);

    // Everything about this request ends when its gateway leaves or its time is over.
    const ended = new AbortController();
    const cancelTimeout = clock.after(segmentTimeoutMs(request.durationMs), () => ended.abort());
    exchange.onClose((complete) => {
      if (!complete) ended.abort();
    });
    this.sessions.enter(session);
    this.#underWay++;
    let worked = false;
    try {
      const isUri = exchange.header("content-type") === URI_BODY_TYPE;
      const take = isUri ? this.#uriSegment : this.#bodySegment;
      worked = await take.call(this, exchange, request, session, arrivedMs, ended);
    } finally {
      this.#underWay--;
      this.sessions.leave(session, worked);
      cancelTimeout();
    }
  }

  /**
   * Whether a segment of this kind is taken. New streams go elsewhere when nobody can do them. One that may be running is
   * never refused, which would cost its gateway the session: whoever could do it may be on the way back, and if not, the
   * answer is one that is not retried.
   */
  #takes(need: Need, token: AuthToken | undefined, stream: string): boolean {
    const { dispatcher, clock, expectingRigs } = this.#deps;
    const ability = { capabilities: DEFAULT_CAPABILITIES | dispatcher.reach(), version: LIVEPEER_VERSION };
    if (misfit(ability, need) === undefined) return true;
    if (token && (this.#runs(token, stream) || this.#isInherited(token))) return true;
    return expectingRigs() || dispatcher.mayReturn(need, clock.monotonicMs());
  }

  #isFull(): boolean {
    const { maxSessions } = this.#options;
    return maxSessions !== undefined && this.sessions.count >= maxSessions;
  }

  #runs(token: AuthToken, stream: string): boolean {
    return this.sessions.has(stream) || this.sessions.knows(token.sessionId);
  }

  /** The token is older than the first one of this process: its stream may have run in another one. */
  #isInherited(token: AuthToken): boolean {
    const { tokens } = this.#deps;
    const sinceS = Math.floor((this.#issuingSinceMs ?? Infinity) / 1000);
    return tokens.isGenuine(token) && tokens.issuedAt(token) < sinceS;
  }

  /** The stream may have run in another process until this one took over; later on it has come here, or is over. */
  #wasRunning(token: AuthToken): boolean {
    return this.#deps.clock.monotonicMs() < this.#startedMs + SESSION_IDLE_MS && this.#isInherited(token);
  }

  /** The body is the source. True: renditions of it were answered. */
  async #bodySegment(
    exchange: Exchange,
    request: SegmentRequest,
    session: string,
    arrivedMs: number,
    ended: AbortController,
  ): Promise<boolean> {
    const { clock, memory, desk } = this.#deps;
    const hasher = this.#deps.keccak.create();
    const announcedBytes = announcedLength(exchange.header("content-length"));
    const headersMs = headersTimeoutMs(request.durationMs);
    const patienceMs = headersMs * PATIENCE_SHARE;
    let received = 0;
    let startEarly = (): void => {};
    const options = {
      announcedBytes,
      maxBytes: MAX_SEGMENT_BYTES,
      purpose: "source" as const,
      signal: ended.signal,
      onChunk: (chunk: Uint8Array) => {
        hasher.update(chunk);
        received += chunk.length;
        if (received >= CUT_THROUGH_FROM_BYTES) startEarly();
      },
      pace: {
        clock,
        stallMs: Math.min(STALL_MS, patienceMs),
        wholeMs: Math.min(UPLOAD_TIMEOUT_MS, segmentTimeoutMs(request.durationMs)),
      },
    };
    const waiting = this.#within(patienceMs, ended.signal);
    const input = await openBody(memory, { ...options, signal: waiting.signal });
    waiting.cancel();
    if (typeof input === "string") return this.#refuse(exchange, ...SOURCE_REFUSALS[input]);
    try {
      const job = this.#jobOf(request, session, input, arrivedMs, exchange.peer);
      let early: Promise<JobOutcome> | undefined;
      if (announcedBytes !== undefined && headersMs <= CUT_THROUGH_UPLOAD_MS) {
        startEarly = () => (early ??= desk.run(job));
      }
      ended.signal.addEventListener("abort", () => desk.abandon(job.id), { once: true });
      const failure = await fillBody(input, exchange.body, memory, options);
      if (!failure && Buffer.from(request.data.hash).equals(await hasher.digest())) {
        return await this.#answer(exchange, request, job, early, ended.signal);
      }
      input.fail();
      desk.abandon(job.id);
      return this.#refuse(exchange, ...(failure ? SOURCE_REFUSALS[failure] : ([403, segmentText.forbidden] as const)));
    } finally {
      hasher.abandon();
      input.release();
    }
  }

  /** The body is a URL to fetch the source from. True: renditions of it were answered. */
  async #uriSegment(
    exchange: Exchange,
    request: SegmentRequest,
    session: string,
    arrivedMs: number,
    ended: AbortController,
  ): Promise<boolean> {
    const { memory, keccak } = this.#deps;
    const hasher = keccak.create();
    const patienceMs = Math.min(DOWNLOAD_TIMEOUT_MS, headersTimeoutMs(request.durationMs) * PATIENCE_SHARE);
    const waiting = this.#within(patienceMs, ended.signal);
    const input = await fetchSource(exchange.body, memory, {
      signal: waiting.signal,
      onChunk: (chunk) => hasher.update(chunk),
      allowedHosts: this.#options.allowedSourceHosts,
    });
    waiting.cancel();
    if (typeof input === "string") {
      hasher.abandon();
      return this.#refuse(exchange, ...SOURCE_REFUSALS[input]);
    }
    try {
      if (!Buffer.from(request.data.hash).equals(await hasher.digest())) {
        return this.#refuse(exchange, 403, segmentText.forbidden);
      }
      const job = this.#jobOf(request, session, input, arrivedMs, exchange.peer);
      ended.signal.addEventListener("abort", () => this.#deps.desk.abandon(job.id), { once: true });
      return await this.#answer(exchange, request, job, undefined, ended.signal);
    } finally {
      hasher.abandon();
      input.release();
    }
  }

  /** A signal that aborts after a while, or with another one; `cancel` ends the counting. */
  #within(ms: number, outer: AbortSignal): { readonly signal: AbortSignal; readonly cancel: () => void } {
    const waiting = new AbortController();
    const cancel = this.#deps.clock.after(ms, () => waiting.abort());
    outer.addEventListener("abort", () => waiting.abort(), { once: true });
    return { signal: waiting.signal, cancel };
  }

  /** The source is here and right: say so at once, and the rest when it is done. True: with renditions. */
  async #answer(
    exchange: Exchange,
    request: SegmentRequest,
    job: Job,
    early: Promise<JobOutcome> | undefined,
    ended: AbortSignal,
  ): Promise<boolean> {
    const { desk } = this.#deps;
    if (ended.aborted) {
      // Its gateway left, or its time was over, while the hash was made: nobody waits for the work.
      exchange.abort();
      return false;
    }
    job.input.confirm();
    exchange.start(200);
    const running = early ?? desk.run(job);
    desk.inputComplete(job.id);
    const outcome = await running;
    if (outcome.kind === "abandoned") exchange.abort();
    // Nobody will come for these: its gateway left while the credit was being written.
    else if (outcome.kind === "done" && ended.aborted) outcome.release();
    else exchange.finish(this.#result(request, job, outcome));
    return outcome.kind === "done";
  }

  #jobOf(request: SegmentRequest, session: string, input: Body, arrivedMs: number, peer: string): Job {
    const { data, payment } = request;
    const named = payment.sender.length === 20 && payment.sender.some((byte) => byte !== 0);
    return {
      id: this.#newJobId() as JobId,
      source: "gateway",
      sender: named ? checksumAddress(payment.sender) : peer,
      session,
      seq: data.seq,
      durationMs: request.durationMs,
      profiles: request.profiles,
      need: request.need,
      clip: clipOf(data),
      perceptualHash: data.calcPerceptualHash,
      forceSessionReinit: data.ForceSessionReinit,
      input,
      price: this.#options.price,
      priceSource: "configured",
      deadlineMs: arrivedMs + segmentTimeoutMs(request.durationMs) - ANSWER_MARGIN_MS,
    };
  }

  #result(request: SegmentRequest, job: Job, outcome: JobOutcome & { kind: "done" | "failed" }): Uint8Array {
    const info = this.#info(request.data.authToken!);
    if (outcome.kind === "failed") {
      // Anybody can send what cannot be transcoded, as fast as they like.
      const { logger } = this.#deps;
      const level = this.#lostBudget("") ? "warn" : "debug";
      logger[level]("a segment was lost", { job: job.id, seq: job.seq.toString(), reason: outcome.reason });
      return toBinary(
        TranscodeResultSchema,
        create(TranscodeResultSchema, { seq: job.seq, result: { case: "error", value: outcome.text }, info }),
      );
    }
    const published: Rendition[] = [];
    const segments = outcome.renditions.map((one, i) => {
      const [extension, contentType] = RENDITION_TYPES[one.profile.container];
      // The job's id is random enough to be unguessable, and says nothing about the stream.
      const path = `/stream/${this.#options.generation}/${job.id}/${i}.${extension}`;
      published.push({ path, data: one.data, contentType });
      const hashPath = `${path}.phash`;
      if (one.perceptualHash) published.push({ path: hashPath, data: one.perceptualHash, contentType: "" });
      return {
        url: this.#options.serviceUri + path,
        pixels: one.pixels,
        perceptualHashUrl: one.perceptualHash ? this.#options.serviceUri + hashPath : "",
      };
    });
    this.#deps.renditions.put(job.id, published, outcome.release);
    return toBinary(
      TranscodeResultSchema,
      create(TranscodeResultSchema, { seq: job.seq, result: { case: "data", value: { segments } }, info }),
    );
  }

  /** The pool is ending: a gateway that knows another orchestrator sends the segment there. */
  refuseLast(exchange: Exchange): void {
    this.#refuse(exchange, 403, segmentText.capped);
  }

  #refuse(exchange: Exchange, status: number, text: string): false {
    this.#deps.logger.debug("segment refused", { status, text, peer: exchange.peer });
    answerText(exchange, status, text);
    return false;
  }
}
