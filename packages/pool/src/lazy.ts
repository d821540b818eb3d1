/**
 * The rooms of a working pool, loaded when they are wanted. The supervisor and the other commands enter this package too,
 * and the supervisor stays as long as the pool does: without this it would hold 40 MB of code that it never runs.
 */
export const startPool: typeof import("./start-pool.ts").startPool = async (...args) =>
  (await import("./start-pool.ts")).startPool(...args);

export const startAdminServer: typeof import("./api/admin-server.ts").startAdminServer = async (...args) =>
  (await import("./api/admin-server.ts")).startAdminServer(...args);
