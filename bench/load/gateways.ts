import { randomBytes } from "node:crypto";
import type http2 from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  capabilitySet,
  capabilityWords,
  headersTimeoutMs,
  hexToBytes,
  type OrchestratorInfo,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  SegDataSchema,
  segmentTimeoutMs,
  setProfiles,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { keccak } from "hash-wasm";
import { readyProfiles, readyRenditions, SOURCE_DURATION_MS, sourceSegment } from "../../test/peers/media.ts";
import { connectH2, dialUnary, goClientSettings, type H2Connection, type HostPort } from "../../test/peers/wire.ts";
import { openPlainHttp } from "./plain-http.ts";

export interface GatewaysOptions {
  readonly address: HostPort;
  /** Streams at once. They share one connection for their segments, as the streams of one gateway do. */
  readonly streams: number;
  /** Segments in all that count. */
  readonly segments: number;
  /** Segments before them that do not. */
  readonly warmUp: number;
  /** Time between the segments of a stream, in ms; 0: as fast as they are answered. */
  readonly paceMs: number;
  /** Called when the first segment that counts is sent. */
  readonly onStart?: () => void;
}

export interface GatewaysResult {
  /** Per segment that came back right, from the start of the POST to the last byte of the last rendition, in ms. */
  readonly latenciesMs: readonly number[];
  /** To the headers of the answer. */
  readonly headersMs: readonly number[];
  /** From the first segment that counts to the last. */
  readonly tookMs: number;
  /** Segments without renditions, by reason. */
  readonly lost: ReadonlyMap<string, number>;
  /** Renditions with other bytes than the transcoder made. */
  readonly wrong: number;
}

const capabilities = { bitstring: capabilityWords(capabilitySet(0, 1, 7, 8, 9, 12, 26)), constraints: {} };
const INFO_REQUEST = toBinary(
  OrchestratorRequestSchema,
  create(OrchestratorRequestSchema, { address: new Uint8Array(20), capabilities }),
);

export async function getInfo(address: HostPort): Promise<OrchestratorInfo> {
  const answer = await dialUnary(address, "/net.Orchestrator/GetOrchestrator", INFO_REQUEST, { timeoutMs: 3_000 });
  if (!answer.answer) throw new Error(`GetOrchestrator: ${answer.message || `status ${answer.status}`}`);
  return fromBinary(OrchestratorInfoSchema, answer.answer);
}

/** Pushes segments of many streams at once; keeps nothing but times. */
export async function runGateways(options: GatewaysOptions): Promise<GatewaysResult> {
  const { address, streams, segments, warmUp } = options;
  const latenciesMs: number[] = [];
  const headersMs: number[] = [];
  const lost = new Map<string, number>();
  let wrong = 0;
  let taken = 0;
  let startedMs = performance.now();
  const renditions = openPlainHttp(address, 4_000);
  const hash = hexToBytes(await keccak(sourceSegment, 256));
  let posting: Promise<H2Connection> | undefined;

  const connection = async (): Promise<H2Connection> => {
    const pooled = await posting?.catch(() => undefined);
    if (pooled && !pooled.session.closed && !pooled.session.destroyed) return pooled;
    posting = connectH2(address, { alpn: ["h2", "http/1.1"], settings: goClientSettings });
    return posting;
  };
  const lose = (reason: string): void => void lost.set(reason, (lost.get(reason) ?? 0) + 1);

  const stream = async (): Promise<void> => {
    const segData = create(SegDataSchema, {
      manifestId: randomBytes(8),
      hash,
      profiles: Buffer.from("invalid"),
      duration: SOURCE_DURATION_MS,
      capabilities,
    });
    segData.manifestId = Buffer.from(Buffer.from(segData.manifestId).toString("hex"));
    setProfiles(segData, readyProfiles);
    let info: OrchestratorInfo | undefined;
    for (let seq = 0n; ; seq++) {
      const index = taken++;
      if (index >= warmUp + segments) return;
      try {
        info ??= await getInfo(address);
        if (index === warmUp) {
          startedMs = performance.now();
          options.onStart?.();
        }
        segData.seq = seq;
        if (info.authToken) segData.authToken = info.authToken;
        const header = Buffer.from(toBinary(SegDataSchema, segData)).toString("base64");
        const sentMs = performance.now();
        const answer = await post((await connection()).session, header);
        const result = fromBinary(TranscodeResultSchema, answer.body);
        if (result.result.case === "error") throw new Error(`result: ${result.result.value}`);
        if (result.result.case !== "data") throw new Error("an answer without renditions");
        const urls = result.result.value.segments.map(({ url }) => new URL(url).pathname);
        if (urls.length !== readyRenditions.length) throw new Error("wrong number of renditions");
        const fetched = await Promise.all(urls.map((path, i) => renditions.fetch(path, readyRenditions[i]!.data)));
        const endedMs = performance.now();
        if (fetched.includes("broken")) throw new Error("a rendition was not there");
        if (fetched.includes("wrong")) wrong++;
        if (result.info) info = result.info;
        if (index >= warmUp) {
          latenciesMs.push(endedMs - sentMs);
          headersMs.push(answer.headersAtMs - sentMs);
        }
        if (options.paceMs > 0) await sleep(options.paceMs - (endedMs - sentMs));
      } catch (error) {
        lose(error instanceof Error ? error.message : String(error));
        info = undefined;
        await sleep(100);
      }
    }
  };

  await Promise.all(Array.from({ length: streams }, stream));
  renditions[Symbol.dispose]();
  (await posting?.catch(() => undefined))?.session.destroy();
  return { latenciesMs, headersMs, tookMs: performance.now() - startedMs, lost, wrong };
}

function post(
  session: http2.ClientHttp2Session,
  segmentHeader: string,
): Promise<{ readonly body: Buffer; readonly headersAtMs: number }> {
  return new Promise((resolve, reject) => {
    const request = session.request({
      ":method": "POST",
      ":path": "/segment",
      "livepeer-segment": segmentHeader,
      "livepeer-payment": "",
      "content-type": "video/MP2T",
      "content-length": sourceSegment.length,
    });
    const chunks: Buffer[] = [];
    let headersAtMs = 0;
    let status = 0;
    const fail = (why: string): void => {
      reject(new Error(why));
      request.close(8);
    };
    const late = setTimeout(() => headersAtMs || fail("header timeout"), headersTimeoutMs(SOURCE_DURATION_MS));
    const tooLate = setTimeout(() => fail("body timeout"), segmentTimeoutMs(SOURCE_DURATION_MS));
    request.on("response", (headers) => {
      headersAtMs = performance.now();
      status = Number(headers[":status"]);
    });
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", (error) => fail(error.message));
    request.on("close", () => {
      clearTimeout(late);
      clearTimeout(tooLate);
      fail("the connection was cut"); // after an answer this changes nothing
    });
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      if (status === 200) resolve({ body, headersAtMs });
      else fail(`refused: ${status} ${body.toString().trim()}`);
    });
    request.end(sourceSegment);
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
