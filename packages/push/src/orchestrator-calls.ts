import http2 from "node:http2";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Clock, errorText } from "@openpool/base";
import {
  type AuthToken,
  capabilityWords,
  decodeGrpcFrame,
  decodeGrpcMessage,
  encodeGrpcFrame,
  EndTranscodingSessionRequestSchema,
  EndTranscodingSessionResponseSchema,
  GRPC_PREFIX_BYTES,
  GrpcStatus,
  type OrchestratorInfo,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  PingPongSchema,
} from "@openpool/protocol";
import { dial } from "./dial.ts";
import { timeLimit } from "./time-limit.ts";

/** A stock gateway gives a refresh 2.5 s and a dial 3 s; one limit for the whole call is enough. */
const CALL_TIMEOUT_MS = 3_000;
/** What grpc-go takes; an info is a few hundred bytes. */
const MAX_ANSWER_BYTES = 4 << 20;

/** How a call ended: its answer, or what the orchestrator (or the network) said. Neither is exceptional. */
export type CallOutcome<Answer> =
  | { readonly kind: "answer"; readonly answer: Answer }
  /** gRPC status and text, as sent. */
  | { readonly kind: "refused"; readonly status: number; readonly text: string }
  /** No orchestrator was reached, or what was reached is none; in words. */
  | { readonly kind: "unreachable"; readonly text: string }
  | { readonly kind: "timeout" };

/** By which clock a call is given up, and what else ends it. */
export interface CallLimits {
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/** One unary method: its path, and what goes in and comes out. */
interface Method<Request extends DescMessage, Response extends DescMessage> {
  readonly path: string;
  readonly request: Request;
  readonly response: Response;
}

/** Runs one call on a connection of its own, as stock gateways do: they dial for every GetOrchestrator. */
async function callOnce<Request extends DescMessage, Response extends DescMessage>(
  uri: string,
  { clock, signal }: CallLimits,
  method: Method<Request, Response>,
  request: MessageInitShape<Request>,
): Promise<CallOutcome<MessageShape<Response>>> {
  using timeout = timeLimit(clock, CALL_TIMEOUT_MS);
  const limit = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
  const given = new Promise<undefined>((resolve) => {
    if (limit.aborted) resolve(undefined);
    limit.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const { origin } = new URL(uri);
  const dialling = dial(origin, clock);
  try {
    const session = await Promise.race([dialling, given]);
    const bytes = toBinary(method.request, create(method.request, request));
    const answer = session && (await Promise.race([callUnary(session, method.path, bytes), given]));
    signal?.throwIfAborted();
    if (!answer) return { kind: "timeout" };
    return answer.kind === "answer" ? { kind: "answer", answer: fromBinary(method.response, answer.answer) } : answer;
  } catch (error) {
    signal?.throwIfAborted();
    return { kind: "unreachable", text: errorText(error) };
  } finally {
    void dialling.then(
      (session) => session.destroy(),
      () => {},
    );
  }
}

/** Rejects when the connection ends before the call does. */
function callUnary(
  session: http2.ClientHttp2Session,
  path: string,
  message: Uint8Array,
): Promise<CallOutcome<Uint8Array>> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      "user-agent": "openpool-push",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    let status: number | undefined;
    let text = "";
    const readStatus = (headers: http2.IncomingHttpHeaders): void => {
      if (headers["grpc-status"] === undefined) return;
      status = Number(headers["grpc-status"]);
      text = decodeGrpcMessage(String(headers["grpc-message"] ?? ""));
    };
    stream.on("response", readStatus); // an answer without a message says it in its headers
    stream.on("trailers", readStatus);
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > GRPC_PREFIX_BYTES + MAX_ANSWER_BYTES) stream.destroy(new Error("its answer is too long"));
    });
    stream.on("error", reject);
    stream.on("close", () => {
      if (status === undefined) return reject(new Error("it does not answer as an orchestrator does"));
      if (status !== GrpcStatus.OK) return resolve({ kind: "refused", status, text });
      const frame = decodeGrpcFrame(Buffer.concat(chunks), MAX_ANSWER_BYTES);
      if (frame.kind === "message") resolve({ kind: "answer", answer: frame.message });
      else reject(new Error("its answer makes no sense"));
    });
    stream.end(encodeGrpcFrame(message));
  });
}

/** Asks for a session: an info with a fresh auth token. `capabilities` is what the jobs will need. */
export function getOrchestrator(
  uri: string,
  capabilities: bigint,
  limits: CallLimits,
): Promise<CallOutcome<OrchestratorInfo>> {
  return callOnce(
    uri,
    limits,
    { path: "/net.Orchestrator/GetOrchestrator", request: OrchestratorRequestSchema, response: OrchestratorInfoSchema },
    {
      address: new Uint8Array(20), // off-chain gateways have no address
      capabilities: { bitstring: capabilityWords(capabilities), constraints: {} },
    },
  );
}

/** Tells the orchestrator that a session is over. */
export function endTranscodingSession(
  uri: string,
  authToken: AuthToken,
  limits: CallLimits,
): Promise<CallOutcome<unknown>> {
  return callOnce(
    uri,
    limits,
    {
      path: "/net.Orchestrator/EndTranscodingSession",
      request: EndTranscodingSessionRequestSchema,
      response: EndTranscodingSessionResponseSchema,
    },
    { authToken },
  );
}

/** Echo request: on-chain orchestrators sign `value`, off-chain ones answer with no bytes. */
export async function ping(uri: string, value: Uint8Array, limits: CallLimits): Promise<CallOutcome<Uint8Array>> {
  const method = { path: "/net.Orchestrator/Ping", request: PingPongSchema, response: PingPongSchema };
  const outcome = await callOnce(uri, limits, method, { value });
  return outcome.kind === "answer" ? { kind: "answer", answer: outcome.answer.value } : outcome;
}
