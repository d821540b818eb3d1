import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Clock, errorText, type HostPort } from "@openpool/base";
import {
  decodeGrpcMessage,
  encodeGrpcFrame,
  grpcMessageReader,
  OrchestratorInfoSchema,
  OrchestratorRequestSchema,
  RegisterRequestSchema,
  registerText,
  segmentText,
} from "@openpool/protocol";
import { type Dialled, dialOrchestrator } from "@openpool/transcoder";
import { type OrchestratorStatus, readOrchestratorStatus } from "./price.ts";

/** What a look at an orchestrator found. Nothing was changed by it, and no task can have come of it. */
export interface OrchestratorProbe {
  /** Undefined: it could be reached, over TLS and HTTP/2. */
  readonly unreachable: string | undefined;
  /** Undefined: not found out; `secretText` is what it said. */
  readonly secretTaken: boolean | undefined;
  readonly secretText: string;
  /** Whether it would take one more session from a gateway now; undefined: not found out, and `roomText` is what it said. */
  readonly hasRoom: boolean | undefined;
  readonly roomText: string;
  /** Of its go-livepeer, as it says to gateways or on its CLI port; empty: it says none. */
  readonly version: string;
  /** What its CLI port says; a text: why nothing. Undefined: it was not asked. */
  readonly cli: OrchestratorStatus | string | undefined;
}

const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 4 << 20;
/** What comes of a gateway that nobody knows after it was found that there is a session for it. */
const PAST_THE_ROOM = [
  "insufficient sender reserve",
  "authentication failed",
  "GetSenderInfo RPC call",
  "ClaimedReserve RPC call",
  "pixels per unit is 0",
  "price cannot be converted",
];

export interface ProbeOptions {
  readonly address: HostPort;
  readonly secret: string;
  readonly cli: HostPort | undefined;
  /** Of who asks as a gateway: on chain only who signs is answered. */
  readonly introduction: { readonly address: Uint8Array; readonly sig: Uint8Array };
}

export interface ProbeDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface CallEnd {
  readonly message: Uint8Array | undefined;
  readonly text: string;
}

function call(dialled: Dialled, path: string, request: Uint8Array, clock: Clock): Promise<CallEnd> {
  return new Promise((resolve) => {
    const stream = dialled.session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "openpool",
    });
    let text = "";
    let message: Uint8Array | undefined;
    const read = grpcMessageReader(MAX_ANSWER_BYTES, (bytes) => (message ??= Uint8Array.from(bytes)));
    const readStatus = (headers: Readonly<Record<string, unknown>>): void => {
      if (headers["grpc-message"] !== undefined) text = decodeGrpcMessage(String(headers["grpc-message"]));
    };
    const forget = clock.after(TIMEOUT_MS, () => {
      text = `no answer within ${TIMEOUT_MS} ms`;
      stream.close(8);
    });
    stream.on("response", readStatus);
    stream.on("trailers", readStatus);
    stream.on("data", (chunk: Buffer) => {
      if (read(chunk) !== undefined) stream.close(8);
    });
    stream.on("error", () => {});
    stream.once("close", () => {
      forget();
      resolve({ message, text });
    });
    stream.end(encodeGrpcFrame(request));
  });
}

/**
 * Finds out whether the pool could work for an orchestrator, without a trace: it registers with no capacity, which an
 * orchestrator refuses after it has compared the secret.
 */
export async function probeOrchestrator(options: ProbeOptions, deps: ProbeDeps): Promise<OrchestratorProbe> {
  const { clock, signal } = deps;
  const cli =
    options.cli && (await readOrchestratorStatus(options.cli, signal).catch((error: unknown) => errorText(error)));
  const said = typeof cli === "object" ? (cli.version ?? "") : "";
  let dialled: Dialled;
  try {
    dialled = await dialOrchestrator(options.address, { timeoutMs: TIMEOUT_MS, signal }, clock);
  } catch (error) {
    const nothing = { secretTaken: undefined, secretText: "", hasRoom: undefined, roomText: "" };
    return { unreachable: errorText(error), ...nothing, version: said, cli };
  }
  try {
    const asked = create(OrchestratorRequestSchema, options.introduction);
    const info = await call(
      dialled,
      "/net.Orchestrator/GetOrchestrator",
      toBinary(OrchestratorRequestSchema, asked),
      clock,
    );
    const registration = create(RegisterRequestSchema, { secret: options.secret, capacity: 0n });
    const registered = await call(
      dialled,
      "/net.Transcoder/RegisterTranscoder",
      toBinary(RegisterRequestSchema, registration),
      clock,
    );
    const taken = { [registerText.zeroCapacity]: true, [registerText.invalidSecret]: false }[registered.text];
    return {
      unreachable: undefined,
      secretTaken: taken,
      secretText: registered.text,
      hasRoom: info.message ? true : roomAfter(info.text),
      roomText: info.text,
      version: (info.message && versionIn(info.message)) || said,
      cli,
    };
  } finally {
    dialled.session.destroy();
  }
}

/** Whether an orchestrator that refuses with these words has a session left. */
function roomAfter(text: string): boolean | undefined {
  if (text.includes(segmentText.capped)) return false;
  return PAST_THE_ROOM.some((one) => text.includes(one)) ? true : undefined;
}

function versionIn(message: Uint8Array): string | undefined {
  try {
    return fromBinary(OrchestratorInfoSchema, message).capabilities?.version;
  } catch {
    return undefined;
  }
}
