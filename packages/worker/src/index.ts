export type { LinkEnd as WorkerEnd } from "./net/pool-link.ts";
export {
  DEFAULT_POOL_PORT,
  defaultWorkerOptions,
  formatPoolAddress,
  parsePoolAddress,
  type PoolAddress,
  type WorkerDeps,
  type WorkerOptions,
} from "./options.ts";
export { startWorker, type Worker, type WorkerStatus } from "./worker.ts";
