/** What a gateway says, one request at a time and with every field open to the test. */
import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type AuthToken,
  capabilitySet,
  capabilityWords,
  type OrchestratorInfo,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  type SegData,
  SegDataSchema,
  setProfiles,
  type TranscodeData,
  type TranscodeResult,
  TranscodeResultSchema,
} from "@openpool/protocol";
import { keccak } from "hash-wasm";
import { readyProfiles, SOURCE_DURATION_MS, sourceSegment } from "../peers/media.ts";
import {
  connectH2,
  dialUnary,
  goClientSettings,
  type H2Answer,
  type H2Connection,
  requestH2,
  type UnaryAnswer,
} from "../peers/wire.ts";
import type { Target } from "./target.ts";

/** Bits of an H.264 stream over HTTP push: codec, MPEG-TS, the three H.264 profiles, auth token, slicing. */
export const JOB_CAPABILITIES = capabilitySet(0, 1, 7, 8, 9, 12, 26);

/** Nothing here is about how long a gateway waits; a machine may stand still meanwhile. */
const PATIENCE_MS = 60_000;

type Addressed = Pick<Target, "address">;

export function callGetOrchestrator(
  target: Addressed,
  request: MessageInitShape<typeof OrchestratorRequestSchema> = jobRequest(),
): Promise<UnaryAnswer> {
  const bytes = toBinary(OrchestratorRequestSchema, create(OrchestratorRequestSchema, request));
  return dialUnary(target.address, "/net.Orchestrator/GetOrchestrator", bytes, { timeoutMs: PATIENCE_MS });
}

export function jobRequest(capabilities = JOB_CAPABILITIES): MessageInitShape<typeof OrchestratorRequestSchema> {
  return {
    address: new Uint8Array(20),
    capabilities: { bitstring: capabilityWords(capabilities), constraints: {} },
  };
}

export function readInfo(answer: UnaryAnswer): OrchestratorInfo {
  if (!answer.answer) throw new Error(`no info: ${answer.status} ${answer.message}`);
  return fromBinary(OrchestratorInfoSchema, answer.answer);
}

/** An info for a job, as soon as the target has room for one. */
export async function getInfo(target: Addressed): Promise<OrchestratorInfo> {
  // A registration is not acknowledged: the only sign of it is that there is room.
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await callGetOrchestrator(target);
    if (answer.answer || performance.now() > deadline) return readInfo(answer);
  }
}

export async function getToken(target: Addressed): Promise<AuthToken> {
  const { authToken } = await getInfo(target);
  if (!authToken) throw new Error("the info has no auth token");
  return authToken;
}

/** The pooled connection of a gateway's `/segment` client. */
export function connectGateway(target: Addressed): Promise<H2Connection> {
  return connectH2(target.address, { alpn: ["h2", "http/1.1"], settings: goClientSettings });
}

/** A SegData as a gateway fills it for the ready-made media. */
export async function segData(
  authToken: AuthToken | undefined,
  change: Partial<SegData> = {},
  body: Uint8Array = sourceSegment,
): Promise<SegData> {
  const made = create(SegDataSchema, {
    manifestId: Buffer.from("stream"),
    hash: Buffer.from(await keccak(body, 256), "hex"),
    profiles: Buffer.from("invalid"),
    duration: SOURCE_DURATION_MS,
    capabilities: { bitstring: capabilityWords(JOB_CAPABILITIES), constraints: {} },
    ...(authToken ? { authToken } : {}),
  });
  setProfiles(made, readyProfiles);
  return Object.assign(made, change);
}

export function headerOf(data: SegData): string {
  return Buffer.from(toBinary(SegDataSchema, data)).toString("base64");
}

export interface PostOptions {
  /** Headers besides the usual ones, or instead of them; undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array;
}

/** Posts a segment as a gateway does. */
export function postSegment(
  connection: H2Connection,
  segmentHeader: string | undefined,
  options: PostOptions = {},
): Promise<H2Answer> {
  const headers = {
    ":path": "/segment",
    "livepeer-segment": segmentHeader,
    "livepeer-payment": "",
    "content-type": "video/MP2T",
    ...options.headers,
  };
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  return requestH2(connection.session, given, options.body ?? sourceSegment, { totalMs: 2 * PATIENCE_MS });
}

export function readResult(answer: { readonly status: number; readonly body: Uint8Array }): TranscodeResult {
  if (answer.status !== 200) throw new Error(`${answer.status} ${Buffer.from(answer.body).toString()}`);
  return fromBinary(TranscodeResultSchema, answer.body);
}

/** The renditions of an answer; an error in it fails the test with its text. */
export function readRenditions(answer: { readonly status: number; readonly body: Uint8Array }): TranscodeData {
  const { result } = readResult(answer);
  if (result.case === "data") return result.value;
  throw new Error(`no renditions: ${result.case === "error" ? result.value : "nothing set"}`);
}

/** A stream over a connection of its own, segment after segment under one token. */
export interface RawStream extends Disposable {
  /** What its gateway reads of the next segment: `renditions`, or the status and the text. */
  push(): Promise<string>;
}

export async function openStream(
  target: Addressed,
  token: AuthToken,
  { capabilities = JOB_CAPABILITIES, durationMs = SOURCE_DURATION_MS } = {},
): Promise<RawStream> {
  const connection = await connectGateway(target);
  const manifestId = Buffer.from(randomUUID());
  let seq = 0n;
  return {
    async push() {
      const data = await segData(token, { manifestId, seq: seq++, duration: durationMs });
      data.capabilities!.bitstring = capabilityWords(capabilities);
      const answer = await postSegment(connection, headerOf(data));
      if (answer.status !== 200) return `${answer.status} ${answer.body.toString().trim()}`;
      const { result } = readResult(answer);
      return result.case === "data" ? "renditions" : `200 ${result.value ?? ""}`;
    },
    [Symbol.dispose]: () => connection.session.destroy(),
  };
}
