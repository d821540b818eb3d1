/**
 * An unmodified off-chain go-livepeer 0.9.1 gateway with HTTP push, as far as an orchestrator can tell and a publisher can
 * suffer: which requests it makes on which connections, and above all what each failure costs it. Its session rules hold a
 * defect that decides everything: removing a session ends in a nil dereference, so the first retryable failure leaves the
 * session crippled, the second one loses the stream, and a failed rendition download ends the whole process.
 */
import type https from "node:https";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { errorText } from "@openpool/base";
import {
  capabilitiesOfJob,
  capabilitySetFromWords,
  type Container,
  DOWNLOAD_TIMEOUT_MS,
  EndTranscodingSessionRequestSchema,
  headersTimeoutMs,
  hexToBytes,
  isNonRetryable,
  misfit,
  needOf,
  needToWire,
  type OrchestratorInfo,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  type Profile,
  SegDataSchema,
  segmentTimeoutMs,
  setProfiles,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { keccak } from "hash-wasm";
import {
  connectH2,
  createDownloadAgent,
  dialUnary,
  goClientSettings,
  type H2Connection,
  parseHostPort,
  requestH2,
  requestHttp1,
  unlessRefused,
} from "./wire.ts";

/** What the publisher of a segment gets. */
export type PublisherAnswer =
  | { readonly kind: "renditions"; readonly renditions: readonly Buffer[]; readonly pixels: readonly bigint[] }
  /** 422: the orchestrator said that the input is bad. The stream goes on. */
  | { readonly kind: "unprocessable"; readonly text: string }
  /** 503 `No sessions available`. */
  | { readonly kind: "no-sessions" }
  /** The request is closed without any answer: the gateway has tripped over its defect. */
  | { readonly kind: "closed"; readonly why: string }
  /** The gateway process is gone, and every stream with it. */
  | { readonly kind: "exited"; readonly why: string };

export interface StockGatewayOptions {
  /** `-orchAddr`: `https://HOST:PORT`, one or several. */
  readonly orchestrators: readonly string[];
  readonly profiles: readonly Profile[];
  readonly container?: Container;
  /** `-orchMinLivepeerVersion`. */
  readonly minVersion?: string;
  /**
   * It waits for everything so many times as long as a stock one; default: 1. For what is about something else: a machine
   * that all peers run on may stand still for longer than a gateway waits.
   */
  readonly patience?: number;
  /** Wall clock in ms, for the age of tokens and of segments in flight. */
  readonly now?: () => number;
}

export interface StockStream {
  readonly manifestId: string;
  /**
   * Pushes a segment over HTTP, as a publisher does. Several may be under way. `onAnswer` is waited for before the
   * renditions are fetched.
   */
  push(
    seq: number,
    data: Uint8Array,
    durationMs: number,
    onAnswer?: (urls: readonly string[]) => Promise<void>,
  ): Promise<PublisherAnswer>;
  /** Waits for the refresh that the last push has started, if it has. */
  settled(): Promise<void>;
  /** The stream ends: every session that it ever had is ended at its orchestrator. */
  end(): Promise<void>;
}

export interface StockGateway extends AsyncDisposable {
  /** Why the process is gone, if it is. */
  readonly exited: string | undefined;
  /** Calls of GetOrchestrator and POSTs to /segment so far. */
  readonly calls: { readonly getOrchestrator: number; readonly segment: number };
  openStream(manifestId: string): Promise<StockStream>;
}

interface Session {
  /** The key under which the stream knows it: the first info's URI. */
  readonly key: string;
  info: OrchestratorInfo;
  /** Seconds of the last round trip per second of source; 0: never used. */
  latencyScore: number;
  /** When each segment on its way was sent. One that was never accounted for stays for ever. */
  readonly inFlight: { readonly sentMs: number; readonly durationMs: number }[];
}

const TOKEN_MARGIN_MS = 180_000;
const DISCOVERY_CUTOFF_MS = 6_000;
const CALL_TIMEOUT_MS = 3_000;
const REFRESH_TIMEOUT_MS = 2_500;

export function startStockGateway(options: StockGatewayOptions): StockGateway {
  const { now = Date.now, patience = 1 } = options;
  const container = options.container ?? "mpegts";
  const profiles = options.profiles.map((profile) => ({ ...profile, container }));
  const need = needOf(capabilitiesOfJob(profiles, { slicing: true }), options.minVersion);
  const capabilities = needToWire(need);
  const agent: https.Agent = createDownloadAgent();
  const posting = new Map<string, Promise<H2Connection>>();
  const calls = { getOrchestrator: 0, segment: 0 };
  const numOrchestrators = Math.min(options.orchestrators.length, 8);
  const refreshBelow = Math.min(8, Math.ceil(numOrchestrators / 2));
  let exited: string | undefined;
  // The client for /segment adds its protocols to a configuration that the gRPC dial shares.
  let hasPosted = false;
  const grpcAlpn = (): readonly string[] => (hasPosted ? ["h2", "http/1.1"] : ["h2"]);

  const getOrchestrator = async (uri: string, timeoutMs: number): Promise<OrchestratorInfo> => {
    calls.getOrchestrator++;
    const request: MessageInitShape<typeof OrchestratorRequestSchema> = { address: new Uint8Array(20), capabilities };
    const bytes = toBinary(OrchestratorRequestSchema, create(OrchestratorRequestSchema, request));
    const answer = await dialUnary(parseHostPort(uri), "/net.Orchestrator/GetOrchestrator", bytes, {
      alpn: grpcAlpn(),
      timeoutMs: timeoutMs * patience,
    });
    if (answer.status !== 0 || !answer.answer) throw new Error(answer.message || `rpc error ${answer.status}`);
    const info = fromBinary(OrchestratorInfoSchema, answer.answer);
    const { bitstring = [], version = "" } = info.capabilities ?? {};
    const offered = { capabilities: capabilitySetFromWords(bitstring), version };
    if (capabilities.bitstring.length > bitstring.length || misfit(offered, need)) throw new Error("incompatible");
    if (!info.transcoder || !info.authToken) throw new Error("unusable answer");
    return info;
  };

  const postConnection = async (uri: string): Promise<H2Connection> => {
    const pooled = await posting.get(uri)?.catch(() => undefined);
    if (pooled && !pooled.session.closed && !pooled.session.destroyed) return pooled;
    hasPosted = true;
    const dialled = connectH2(parseHostPort(uri), {
      alpn: ["h2", "http/1.1"],
      settings: goClientSettings,
      timeoutMs: 2_000 * patience,
    });
    posting.set(uri, dialled);
    return dialled;
  };

  const exit = (why: string): PublisherAnswer => {
    exited ??= why;
    return { kind: "exited", why };
  };

  /** One POST and what it brings; a thrown error is one that a stock gateway would retry elsewhere, if it could. */
  const submit = async (
    session: Session,
    manifestId: string,
    seq: number,
    data: Uint8Array,
    durationMs: number,
    onAnswer: ((urls: readonly string[]) => Promise<void>) | undefined,
  ): Promise<PublisherAnswer> => {
    calls.segment++;
    const segData = create(SegDataSchema, {
      manifestId: new TextEncoder().encode(manifestId),
      seq: BigInt(seq),
      hash: hexToBytes(await keccak(data, 256)),
      profiles: new TextEncoder().encode("invalid"),
      duration: durationMs,
      capabilities,
    });
    if (session.info.authToken) segData.authToken = session.info.authToken;
    setProfiles(segData, profiles);
    const uri = session.info.transcoder;
    const startedMs = performance.now();
    const limitMs = headersTimeoutMs(durationMs) * patience;
    const headers = {
      ":path": `${new URL(uri).pathname.replace(/\/$/, "")}/segment`,
      "livepeer-segment": Buffer.from(toBinary(SegDataSchema, segData)).toString("base64"),
      "livepeer-payment": "",
      "content-type": "video/MP2T",
      "accept-encoding": "gzip",
    };
    const answer = await unlessRefused(async () =>
      requestH2((await postConnection(uri)).session, headers, data, {
        headersMs: limitMs - (performance.now() - startedMs),
        totalMs: segmentTimeoutMs(durationMs) * patience,
      }),
    );
    if (answer.status !== 200) throw new Error(answer.body.toString().trim());
    session.latencyScore = (performance.now() - startedMs) / 1000 / Math.max(1.5, durationMs / 1000);
    const result = fromBinary(TranscodeResultSchema, answer.body);
    if (result.result.case === "error") {
      if (!isNonRetryable(result.result.value)) throw new Error(result.result.value);
      session.inFlight.shift();
      return { kind: "unprocessable", text: result.result.value };
    }
    if (result.result.case !== "data") throw new Error("UnknownResponse");
    if (result.info) session.info = result.info;
    const { segments } = result.result.value;
    // The session counts as done with the segment before the downloads begin.
    session.inFlight.shift();
    if (segments.length > profiles.length) return exit("a result too many: index out of range");
    await onAnswer?.(segments.map(({ url }) => url));
    const renditions: Buffer[] = [];
    const timeoutMs = DOWNLOAD_TIMEOUT_MS * patience;
    for (const download of await Promise.allSettled(
      segments.map(({ url }) => requestHttp1(url, { agent, timeoutMs })),
    )) {
      if (download.status === "rejected") return exit(`rendition download: ${errorText(download.reason)}`);
      if (download.value.status !== 200) return exit(`rendition download: ${download.value.status}`);
      renditions.push(download.value.body);
    }
    return { kind: "renditions", renditions, pixels: segments.map(({ pixels }) => pixels) };
  };

  const openStream = async (manifestId: string): Promise<StockStream> => {
    const known = new Map<string, Session>();
    let selector: Session[] = [];
    let last: Session | undefined;
    let refreshing: Promise<void> | undefined;

    /** Asks all orchestrators; those that are known already are thrown away, whatever became of their sessions. */
    const refresh = (): Promise<void> =>
      (refreshing ??= (async () => {
        const found: OrchestratorInfo[] = [];
        const asked = options.orchestrators.map((uri) =>
          getOrchestrator(uri, CALL_TIMEOUT_MS).then((info) => void found.push(info)),
        );
        let waitMs = 500;
        for (let waitedMs = 0; waitedMs < DISCOVERY_CUTOFF_MS * patience && found.length === 0; waitMs *= 2) {
          const done = await Promise.race([Promise.allSettled(asked).then(() => true), sleep(waitMs)]);
          if (done) break;
          waitedMs += waitMs;
        }
        for (const info of found) {
          if (known.has(info.transcoder)) continue;
          const session: Session = { key: info.transcoder, info, latencyScore: 0, inFlight: [] };
          known.set(session.key, session);
          selector.push(session);
        }
      })().finally(() => (refreshing = undefined)));

    const take = (): Session | undefined => {
      const tried = selector.filter(({ latencyScore }) => latencyScore > 0);
      const best = tried.sort((a, b) => a.latencyScore - b.latencyScore)[0];
      const untried = selector.find(({ latencyScore }) => latencyScore === 0);
      const chosen = best && (best.latencyScore <= 1 || !untried) ? best : untried;
      selector = selector.filter((one) => one !== chosen);
      return chosen;
    };

    const choose = (durationMs: number): Session | undefined => {
      if (selector.length < refreshBelow) void refresh().catch(() => {});
      for (;;) {
        const chosen = chooseAny(durationMs);
        if (!chosen) return undefined;
        if (chosen !== last && last && known.has(last.info.transcoder)) selector.push(last);
        last = chosen;
        // Looked up by the latest info, kept under the first one's URI.
        if (known.get(chosen.info.transcoder) === chosen) return chosen;
        last = undefined;
      }
    };

    const chooseAny = (durationMs: number): Session | undefined => {
      const oldest = last?.inFlight[0];
      const ageMs = oldest ? now() - oldest.sentMs : 0;
      if (last && !oldest && last.latencyScore > 0 && last.latencyScore <= 1) return last;
      if (last && oldest && ageMs < (oldest.durationMs <= 1000 ? 1500 : oldest.durationMs)) return last;
      const fresh = take();
      if (fresh) return fresh;
      return last && (!oldest || ageMs < 2 * durationMs) ? last : undefined;
    };

    await refresh();
    return {
      manifestId,
      async push(seq, data, durationMs, onAnswer) {
        if (exited !== undefined) return { kind: "exited", why: exited };
        const session = choose(durationMs);
        if (!session) return { kind: "no-sessions" };
        session.inFlight.push({ sentMs: now(), durationMs });
        try {
          const expiresMs = Number(session.info.authToken?.expiration ?? 4_000_000_000n) * 1000;
          if (now() > expiresMs - TOKEN_MARGIN_MS) {
            session.info = await getOrchestrator(session.info.transcoder, REFRESH_TIMEOUT_MS);
          }
          return await submit(session, manifestId, seq, data, durationMs, onAnswer);
        } catch (error) {
          // Here the session should be removed and the segment retried. Off-chain that is a nil dereference instead.
          return { kind: "closed", why: errorText(error) };
        }
      },
      settled: async () => refreshing?.catch(() => {}),
      async end() {
        await refreshing?.catch(() => {});
        for (const { info } of known.values()) {
          if (!info.authToken) continue;
          const request = create(EndTranscodingSessionRequestSchema, { authToken: info.authToken });
          const bytes = toBinary(EndTranscodingSessionRequestSchema, request);
          const path = "/net.Orchestrator/EndTranscodingSession";
          await dialUnary(parseHostPort(info.transcoder), path, bytes, { alpn: grpcAlpn() }).catch(() => {});
        }
      },
    };
  };

  return {
    get exited() {
      return exited;
    },
    calls,
    openStream,
    async [Symbol.asyncDispose]() {
      agent.destroy();
      for (const dialled of posting.values()) await dialled.then(({ session }) => session.destroy()).catch(() => {});
    },
  };
}

function sleep(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms));
}
