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
  /** What it says to a gateway: the version of its go-livepeer, or a refusal. */
  readonly gateway:
    | { readonly kind: "info"; readonly version: string; readonly transcoder: string }
    | { readonly kind: "refused"; readonly text: string };
  /** What its CLI port says; a text: why nothing. Undefined: it was not asked. */
  readonly cli: OrchestratorStatus | string | undefined;
}

const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 4 << 20;

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
export async function probeOrchestrator(
  options: { readonly address: HostPort; readonly secret: string; readonly cli: HostPort | undefined },
  deps: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<OrchestratorProbe> {
  const { clock, signal } = deps;
  const cli =
    options.cli && (await readOrchestratorStatus(options.cli, signal).catch((error: unknown) => errorText(error)));
  let dialled: Dialled;
  try {
    dialled = await dialOrchestrator(options.address, { timeoutMs: TIMEOUT_MS, signal }, clock);
  } catch (error) {
    const none = { kind: "refused", text: "" } as const;
    return { unreachable: errorText(error), secretTaken: undefined, secretText: "", gateway: none, cli };
  }
  try {
    const asked = create(OrchestratorRequestSchema, { address: new Uint8Array(20) });
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
      gateway: info.message ? readInfo(info.message) : { kind: "refused", text: info.text },
      cli,
    };
  } finally {
    dialled.session.destroy();
  }
}

function readInfo(message: Uint8Array): OrchestratorProbe["gateway"] {
  try {
    const { capabilities, transcoder } = fromBinary(OrchestratorInfoSchema, message);
    return { kind: "info", version: capabilities?.version ?? "", transcoder };
  } catch (error) {
    return { kind: "refused", text: errorText(error) };
  }
}
