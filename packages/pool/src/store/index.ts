export { startManagedPostgres } from "./managed-postgres.ts";
export { LedgerReader } from "./ledger-reader.ts";
export { PgLedgerStore, postEntries } from "./ledger-store.ts";
export { openStore } from "./open-store.ts";
export { describeConnection, parseDatabaseUrl, type PgConnection } from "./pg-connection.ts";
export { createUuidV7 } from "./uuid.ts";
export { openRollups } from "./rollup-store.ts";
export type * from "./rollup-types.ts";
export type * from "./types.ts";
