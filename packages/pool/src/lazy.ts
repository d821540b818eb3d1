import type { PayToRequest } from "./payouts/types.ts";
import type { OrchestratorProbe, ProbeDeps, ProbeOptions } from "./upstream/probe.ts";

/**
 * The rooms of a working pool, loaded when they are wanted. The supervisor and the other commands enter this package too,
 * and the supervisor stays as long as the pool does: without this it would hold 40 MB of code that it never runs.
 */
export const startPool: typeof import("./start-pool.ts").startPool = async (...args) =>
  (await import("./start-pool.ts")).startPool(...args);

export const backupBooks: typeof import("./store/books.ts").backupBooks = async (...args) =>
  (await import("./store/books.ts")).backupBooks(...args);

export const restoreBooks: typeof import("./store/books.ts").restoreBooks = async (...args) =>
  (await import("./store/books.ts")).restoreBooks(...args);

export const openAdminHandler: typeof import("./api/admin-server.ts").openAdminHandler = async (...args) =>
  (await import("./api/admin-server.ts")).openAdminHandler(...args);

/** Makes a key for payouts; only as an encrypted keystore. */
export const newPayoutKey: typeof import("./chain/index.ts").newKeystore = async (...args) =>
  (await import("./chain/index.ts")).newKeystore(...args);

/** Starts a chain of play money on this machine. */
export const startLocalChain: typeof import("./chain/index.ts").startLocalChain = async (...args) =>
  (await import("./chain/index.ts")).startLocalChain(...args);

/** Deploys the batch contract with the key of a keystore, or with one in plain text. */
export async function deployPayoutContract(
  rpcUrl: string,
  key: { readonly keystore: string; readonly password: string } | { readonly plain: string },
): Promise<{ readonly address: string; readonly hash: string | undefined }> {
  const chain = await import("./chain/index.ts");
  const signer =
    "plain" in key
      ? chain.signerOfKey(chain.parseKey(key.plain))
      : await chain.signerOfKeystore(key.keystore, key.password);
  return chain.deployBatchPayer(rpcUrl, signer);
}

/** What a wallet signs to change how a worker is paid, as JSON for `eth_signTypedData_v4`. */
export async function payToDocument(
  change: Omit<PayToRequest, "signature">,
  place: { readonly pool: string; readonly chainId: number },
): Promise<string> {
  return (await import("./chain/index.ts")).payToJson(change, place);
}

/** Finds out whether the pool could work for an orchestrator, without a trace. */
export async function probeOrchestrator(
  options: Omit<ProbeOptions, "introduction">,
  deps: ProbeDeps,
): Promise<OrchestratorProbe> {
  const { introduceStranger } = await import("./chain/stranger.ts");
  const probe = await import("./upstream/probe.ts");
  return probe.probeOrchestrator({ ...options, introduction: await introduceStranger() }, deps);
}

export const tryHook: typeof import("./hooks/try-hook.ts").tryHook = async (...args) =>
  (await import("./hooks/try-hook.ts")).tryHook(...args);

export const readHookModule: typeof import("./hooks/read-module.ts").readHookModule = async (...args) =>
  (await import("./hooks/read-module.ts")).readHookModule(...args);
