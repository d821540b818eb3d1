export { addressValue } from "./address-value.ts";
export {
  type AttachedOptions,
  type ListenAddress,
  type NamedAddress,
  type PoolOptions,
  poolOptions,
  type PoolSurroundings,
  toPoolOptions,
  toUpstreams,
  type UpstreamOptions,
} from "./options.ts";
export { type AdminFile, openAdminToken, readAdminFile, removeAdminFile, writeAdminFile } from "./api/admin-file.ts";
export type { AdminPort, PoolStatus, RigStatus } from "./api/types.ts";
export type { UpstreamStatus } from "./upstream/door.ts";
export {
  backupBooks,
  deployPayoutContract,
  newPayoutKey,
  openAdminHandler,
  payToDocument,
  probeOrchestrator,
  readHookModule,
  restoreBooks,
  startLocalChain,
  startPool,
  tryHook,
} from "./lazy.ts";
export { hookTemplate, hookTypes } from "./hooks/template.ts";
export type { LocalChain } from "./chain/local-chain.ts";
export type { OrchestratorProbe } from "./upstream/probe.ts";
export { secretFor } from "./upstream/secret-file.ts";
export type { PoolDeps, PoolNode } from "./node.ts";
export type { RunningPool } from "./start-pool.ts";
export { type InheritedSockets, inheritedSockets } from "./supervisor/listening.ts";
export { requestRestart, runSupervisor, type SupervisorDeps } from "./supervisor/supervisor.ts";
export type { RestartOutcome, Supervisor } from "./supervisor/types.ts";
export type { FiatSource, OfferedAsset, PayoutOptions, PriceSource } from "./payouts/options.ts";
export type { Asset, AssetChoice, PayoutPort } from "./payouts/types.ts";
