export { type ListenAddress, type PoolOptions, poolOptions, type PoolSurroundings, toPoolOptions } from "./options.ts";
export { type AdminFile, openAdminToken, readAdminFile, removeAdminFile, writeAdminFile } from "./api/admin-file.ts";
export {
  type AdminHandler,
  openAdminHandler,
  type AdminServer,
  AdminServerError,
  type AdminServerOptions,
  startAdminServer,
} from "./api/admin-server.ts";
export type { AdminPort, PoolStatus, RigStatus } from "./api/types.ts";
export { type PoolDeps, type PoolNode, startPoolNode } from "./node.ts";
export { type RunningPool, startPool } from "./start-pool.ts";
export { type InheritedSockets, inheritedSockets } from "./supervisor/listening.ts";
export { requestRestart, runSupervisor, type SupervisorDeps } from "./supervisor/supervisor.ts";
export type { RestartOutcome, Supervisor } from "./supervisor/types.ts";
