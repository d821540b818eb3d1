import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { capabilityWords, Orchestrator, type AuthToken, type OrchestratorInfo } from "@openpool/protocol";

/** A stock gateway gives a refresh 2.5 s and a dial 3 s; one limit for the whole call is enough. */
const CALL_TIMEOUT_MS = 3_000;

/** How a call ended: its answer, or what the orchestrator (or the network) said. Neither is exceptional. */
export type CallOutcome<Answer> =
  | { readonly kind: "answer"; readonly answer: Answer }
  /** gRPC status and text, as sent. */
  | { readonly kind: "refused"; readonly status: number; readonly text: string }
  | { readonly kind: "timeout" };

/**
 * Runs one call on a connection of its own, as stock gateways do: they dial for every GetOrchestrator. Nobody verifies
 * certificates in Livepeer, so neither does this.
 */
async function callOnce<Answer>(
  uri: string,
  signal: AbortSignal | undefined,
  call: (client: ReturnType<typeof clientOn>, signal: AbortSignal) => Promise<Answer>,
): Promise<CallOutcome<Answer>> {
  const { origin } = new URL(uri);
  const session = new Http2SessionManager(origin, {}, { rejectUnauthorized: false });
  const timeout = AbortSignal.timeout(CALL_TIMEOUT_MS);
  try {
    const limit = signal ? AbortSignal.any([signal, timeout]) : timeout;
    return { kind: "answer", answer: await call(clientOn(origin, session), limit) };
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.aborted) return { kind: "timeout" };
    const { code, rawMessage } = ConnectError.from(error);
    return { kind: "refused", status: code, text: rawMessage };
  } finally {
    session.abort();
  }
}

function clientOn(origin: string, sessionManager: Http2SessionManager) {
  return createClient(Orchestrator, createGrpcTransport({ baseUrl: origin, sessionManager }));
}

/** Asks for a session: an info with a fresh auth token. `capabilities` is what the jobs will need. */
export function getOrchestrator(
  uri: string,
  capabilities: bigint,
  signal?: AbortSignal,
): Promise<CallOutcome<OrchestratorInfo>> {
  return callOnce(uri, signal, (client, limit) =>
    client.getOrchestrator(
      {
        address: new Uint8Array(20), // off-chain gateways have no address
        capabilities: { bitstring: capabilityWords(capabilities), constraints: {} },
      },
      { signal: limit },
    ),
  );
}

/** Tells the orchestrator that a session is over. */
export function endTranscodingSession(
  uri: string,
  authToken: AuthToken,
  signal?: AbortSignal,
): Promise<CallOutcome<unknown>> {
  return callOnce(uri, signal, (client, limit) => client.endTranscodingSession({ authToken }, { signal: limit }));
}

/** Echo request: on-chain orchestrators sign `value`, off-chain ones answer with no bytes. */
export function ping(uri: string, value: Uint8Array, signal?: AbortSignal): Promise<CallOutcome<Uint8Array>> {
  return callOnce(uri, signal, async (client, limit) => (await client.ping({ value }, { signal: limit })).value);
}
