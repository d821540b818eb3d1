import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Clock, errorText, type Logger } from "@openpool/base";
import {
  capabilitiesOfJob,
  capabilityWords,
  type Container,
  headersTimeoutMs,
  hexToBytes,
  isNonRetryable,
  type OrchestratorInfo,
  type Profile,
  SegDataSchema,
  SegParametersSchema,
  segmentTimeoutMs,
  setProfiles,
  type TranscodeData,
  type TranscodeResult,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { keccak } from "hash-wasm";
import { openDownloader } from "./download.ts";
import { type CallOutcome, endTranscodingSession, getOrchestrator, ping } from "./orchestrator-calls.ts";
import type { Rendition, SegmentOutcome } from "./outcome.ts";
import { openSegmentPoster } from "./segment-post.ts";

export interface GatewayOptions {
  /** Where to ask for sessions: `https://HOST:PORT`. Segments go to where the answer says. */
  readonly orchestrator: string;
}

export interface GatewayDependencies {
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface SegmentToPush {
  /** Names the stream. Its first segment asks for a session, which later ones share. */
  readonly manifestId: string;
  readonly seq: bigint | number;
  readonly data: Uint8Array;
  readonly durationMs: number;
  /** What to make of it; the renditions come in this order, in the container of the source. */
  readonly profiles: readonly Profile[];
  readonly container: Container;
  /** Only this part of the segment, in ms from its start. */
  readonly clip?: { readonly fromMs: number; readonly toMs: number } | undefined;
  /** Ask for the MPEG-7 signature of every rendition. */
  readonly phash?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A Livepeer gateway reduced to what it says on the wire, off-chain: sessions, segments, downloads. */
export interface GatewayClient extends AsyncDisposable {
  /** Asks for an info with the capabilities given, outside of any stream. */
  getOrchestrator(capabilities: bigint, signal?: AbortSignal): Promise<CallOutcome<OrchestratorInfo>>;
  ping(value: Uint8Array, signal?: AbortSignal): Promise<CallOutcome<Uint8Array>>;
  /** Sends one segment and fetches what became of it. Rejects only when `signal` fires; nothing is retried. */
  pushSegment(segment: SegmentToPush): Promise<SegmentOutcome>;
  /** Ends the stream's session at the orchestrator, if it has one. Best effort, as with stock gateways. */
  endStream(manifestId: string, signal?: AbortSignal): Promise<void>;
}

/** A stock gateway renews a token this long before it ends. */
const TOKEN_MARGIN_MS = 180_000;

type Session =
  { readonly kind: "session"; readonly info: OrchestratorInfo } | Exclude<SegmentOutcome, { kind: "done" }>;

export function openGatewayClient(options: GatewayOptions, dependencies: GatewayDependencies): GatewayClient {
  const { logger, clock } = dependencies;
  const poster = openSegmentPoster(clock);
  const downloader = openDownloader(clock);
  const sessions = new Map<string, Promise<Session>>();

  const openSession = async (uri: string, segment: SegmentToPush): Promise<Session> => {
    const outcome = await getOrchestrator(uri, jobCapabilities(segment), { clock, signal: segment.signal });
    if (outcome.kind === "timeout") return { kind: "timeout", waitedFor: "session" };
    if (outcome.kind === "refused") return { kind: "no-session", text: outcome.text };
    if (outcome.kind === "unreachable") return outcome;
    const info = outcome.answer;
    if (!info.transcoder || !info.authToken) return { kind: "no-session", text: "the answer names no session" };
    return { kind: "session", info };
  };

  /** The stream's session: the one it has, one that is being asked for, or a new one. */
  const sessionFor = async (segment: SegmentToPush): Promise<Session> => {
    let uri = options.orchestrator;
    for (let known = sessions.get(segment.manifestId); known; known = sessions.get(segment.manifestId)) {
      const session = await known;
      if (session.kind !== "session" || !tokenEnds(session.info, clock)) return session;
      uri = session.info.transcoder; // where a stock gateway renews its token
      if (sessions.get(segment.manifestId) === known) break; // nobody else has asked in the meantime
    }
    const asked = openSession(uri, segment);
    sessions.set(segment.manifestId, asked);
    try {
      const session = await asked;
      if (session.kind === "session") return session;
      if (sessions.get(segment.manifestId) === asked) sessions.delete(segment.manifestId);
      return session;
    } catch (error) {
      if (sessions.get(segment.manifestId) === asked) sessions.delete(segment.manifestId);
      throw error;
    }
  };

  const exchange = async (segment: SegmentToPush): Promise<SegmentOutcome> => {
    const askedMs = clock.monotonicMs();
    const hash = hexToBytes(await keccak(segment.data, 256));
    const session = await sessionFor(segment);
    if (session.kind !== "session") return session;
    const startedMs = clock.monotonicMs();
    const since = (): number => clock.monotonicMs() - startedMs;
    const posted = await poster.post({
      transcoder: session.info.transcoder,
      segmentHeader: segmentHeader(segment, hash, session.info),
      contentType: "video/MP2T", // stock gateways say so for MP4 too
      body: segment.data,
      headersTimeoutMs: headersTimeoutMs(segment.durationMs),
      totalTimeoutMs: segmentTimeoutMs(segment.durationMs),
      signal: segment.signal,
    });
    const answerMs = since();
    if (posted.kind === "timeout") {
      return { kind: "timeout", waitedFor: posted.waitedFor === "headers" ? "headers" : "answer" };
    }
    if (posted.kind === "broken") return { kind: "broken", during: "segment", text: posted.text };
    if (posted.status !== 200) {
      return { kind: "refused", status: posted.status, text: posted.body.toString().trim() };
    }
    const answer = readAnswer(posted.body);
    if (typeof answer === "string") return { kind: "broken", during: "answer", text: answer };
    const { result, info } = answer;
    // Later answers may overtake: whichever arrives last is as good, all of one session's infos name the same token.
    if (info?.transcoder && info.authToken && sessions.has(segment.manifestId)) {
      sessions.set(segment.manifestId, Promise.resolve({ kind: "session", info }));
    }
    if (result.case === "error") return { kind: "failed", text: result.value };
    if (result.case !== "data") return { kind: "broken", during: "answer", text: "neither renditions nor an error" };
    const renditions = await fetchRenditions(segment, result.value);
    if (!Array.isArray(renditions)) return renditions;
    const timings = { sessionMs: startedMs - askedMs, headersMs: posted.headersMs, answerMs, totalMs: since() };
    return { kind: "done", renditions, timings };
  };

  const fetchRenditions = async (
    segment: SegmentToPush,
    data: TranscodeData,
  ): Promise<Rendition[] | Extract<SegmentOutcome, { kind: "timeout" | "broken" }>> => {
    if (data.segments.length !== segment.profiles.length) {
      const text = `${data.segments.length} renditions for ${segment.profiles.length} profiles`;
      return { kind: "broken", during: "answer", text };
    }
    const fetched = await Promise.all(
      data.segments.map(async (one) => ({
        video: await downloader.get(one.url, segment.signal),
        phash: segment.phash ? await downloader.get(one.perceptualHashUrl, segment.signal) : undefined,
      })),
    );
    const renditions: Rendition[] = [];
    for (const [index, profile] of segment.profiles.entries()) {
      const { url, pixels } = data.segments[index]!; // as long as the profiles: checked above
      const { video, phash } = fetched[index]!;
      for (const part of phash ? [video, phash] : [video]) {
        if (part.kind === "timeout") return { kind: "timeout", waitedFor: "rendition" };
        if (part.kind === "broken") return { kind: "broken", during: "rendition", text: part.text };
      }
      if (video.kind !== "done" || (phash && phash.kind !== "done")) continue; // returned above
      renditions.push({ profile, data: video.data, pixels, url, phash: phash?.data });
    }
    return renditions;
  };

  const endStream = async (manifestId: string, signal?: AbortSignal): Promise<void> => {
    const session = await sessions.get(manifestId)?.catch(() => undefined);
    sessions.delete(manifestId);
    if (session?.kind !== "session" || !session.info.authToken) return;
    const outcome = await endTranscodingSession(session.info.transcoder, session.info.authToken, { clock, signal });
    if (outcome.kind !== "answer") logger.debug("the session was not ended", { manifestId, outcome: outcome.kind });
  };

  return {
    getOrchestrator: (capabilities, signal) => getOrchestrator(options.orchestrator, capabilities, { clock, signal }),
    ping: (value, signal) => ping(options.orchestrator, value, { clock, signal }),
    async pushSegment(segment) {
      const outcome = await exchange(segment);
      // As a stock gateway: what it would retry elsewhere costs the session, so the next segment asks for a new one.
      if (outcome.kind !== "done" && !(outcome.kind === "failed" && isNonRetryable(outcome.text))) {
        sessions.delete(segment.manifestId);
      }
      logger.debug("segment pushed", {
        manifestId: segment.manifestId,
        seq: String(segment.seq),
        outcome: outcome.kind,
        ...("text" in outcome ? { text: outcome.text } : {}),
        ...("timings" in outcome ? { totalMs: outcome.timings.totalMs } : {}),
      });
      return outcome;
    },
    endStream,
    async [Symbol.asyncDispose]() {
      await Promise.all([...sessions.keys()].map((manifestId) => endStream(manifestId)));
      poster[Symbol.dispose]();
      downloader[Symbol.dispose]();
    },
  };
}

function jobCapabilities(segment: SegmentToPush): bigint {
  return capabilitiesOfJob(inContainer(segment), { slicing: true });
}

/** Renditions come in the container of the source, as gateways with HTTP push ask for them. */
function inContainer(segment: SegmentToPush): Profile[] {
  return segment.profiles.map((profile) => ({ ...profile, container: segment.container }));
}

function tokenEnds(info: OrchestratorInfo, clock: Clock): boolean {
  return clock.now() > Number(info.authToken?.expiration ?? 0n) * 1000 - TOKEN_MARGIN_MS;
}

/** The value of `Livepeer-Segment`: base64 with padding of a SegData. */
function segmentHeader(segment: SegmentToPush, hash: Uint8Array, info: OrchestratorInfo): string {
  const segData = create(SegDataSchema, {
    manifestId: new TextEncoder().encode(segment.manifestId),
    seq: BigInt(segment.seq),
    hash,
    profiles: new TextEncoder().encode("invalid"), // what stock gateways put into the field that nobody reads any more
    duration: Math.round(segment.durationMs),
    capabilities: {
      bitstring: capabilityWords(jobCapabilities(segment)),
      constraints: {},
    },
    calcPerceptualHash: segment.phash ?? false,
  });
  if (info.authToken) segData.authToken = info.authToken;
  if (segment.clip) {
    const { fromMs, toMs } = segment.clip;
    segData.segmentParameters = create(SegParametersSchema, { from: BigInt(fromMs), to: BigInt(toMs) });
  }
  setProfiles(segData, inContainer(segment));
  return Buffer.from(toBinary(SegDataSchema, segData)).toString("base64");
}

function readAnswer(body: Uint8Array): TranscodeResult | string {
  try {
    return fromBinary(TranscodeResultSchema, body);
  } catch (error) {
    return `not a TranscodeResult: ${errorText(error)}`;
  }
}
