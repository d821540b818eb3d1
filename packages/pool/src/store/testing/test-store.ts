import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, type Logger, silentLogger, systemClock } from "@openpool/base";
import { Client, type QueryResult, type QueryResultRow } from "pg";
import { afterAll } from "vitest";
import { type ManagedPostgres, startManagedPostgres } from "../managed-postgres.ts";
import { openStore } from "../open-store.ts";
import { clientConfig, type PgConnection } from "../pg-connection.ts";
import type { Store } from "../types.ts";

let server: Promise<{ postgres: ManagedPostgres; dir: string }> | undefined;
let databases = 0;

async function startServer(): Promise<{ postgres: ManagedPostgres; dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), "openpool-test-"));
  const postgres = await startManagedPostgres(
    { dataDir: dir, ephemeral: true, systemDir: `${dir}-system` },
    { logger: silentLogger, clock: systemClock },
  );
  // The schema is made once; every test's database is a copy of it.
  const store = await openStore(postgres.connection, { logger: silentLogger, clock: systemClock });
  await store[Symbol.asyncDispose]();
  return { postgres, dir };
}

afterAll(async () => {
  if (!server) return;
  const { postgres, dir } = await server;
  await postgres[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
  await rm(`${dir}-system`, { recursive: true, force: true });
});

/** The one Postgres of this test file; it ends with the file. */
export async function testPostgres(): Promise<ManagedPostgres> {
  return (await (server ??= startServer())).postgres;
}

export interface TestDatabase extends AsyncDisposable {
  readonly connection: PgConnection;
  /** Asks the database behind the store's back. */
  query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

async function onServer(connection: PgConnection, sql: string, values: readonly unknown[] = []): Promise<QueryResult> {
  const client = new Client(clientConfig(connection, "openpool test"));
  client.on("error", () => {});
  await client.connect();
  try {
    return await client.query(sql, [...values]);
  } finally {
    await client.end();
  }
}

/** A database of the test's own, migrated (or `empty`), on this file's Postgres. */
export async function openTestDatabase({ empty = false } = {}): Promise<TestDatabase> {
  const { connection: template } = await testPostgres();
  if (template.kind !== "socket") throw new Error("a managed Postgres has a socket");
  const admin: PgConnection = { ...template, database: "postgres" };
  const database = `test_${++databases}`;
  await onServer(admin, `create database ${database} template ${empty ? "template0" : template.database}`);
  const connection: PgConnection = { ...template, database };
  return {
    connection,
    async query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]) {
      return (await onServer(connection, sql, values)).rows as Row[];
    },
    // Not dropped: that costs a checkpoint, and the server goes away with the file.
    async [Symbol.asyncDispose]() {},
  };
}

/** A store on a database of its own: `await using store = await openTestStore()`. */
export async function openTestStore(
  deps: { readonly clock?: Clock; readonly logger?: Logger } = {},
): Promise<Store & { readonly database: TestDatabase }> {
  const database = await openTestDatabase();
  const store = await openStore(database.connection, {
    logger: deps.logger ?? silentLogger,
    clock: deps.clock ?? systemClock,
  });
  const dispose = store[Symbol.asyncDispose].bind(store);
  return Object.assign(store, {
    database,
    async [Symbol.asyncDispose]() {
      await dispose();
      await database[Symbol.asyncDispose]();
    },
  });
}
