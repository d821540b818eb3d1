export { startManagedPostgres } from "./managed-postgres.ts";
export { openStore } from "./open-store.ts";
export { describeConnection, parseDatabaseUrl, type PgConnection } from "./pg-connection.ts";
export { createUuidV7 } from "./uuid.ts";
export type * from "./types.ts";
