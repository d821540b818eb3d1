import { errorCode, errorText, PoolError } from "@openpool/base";
import { Pool, type PoolClient, type PoolConfig, type QueryResultRow } from "pg";
import { clientConfig, type PgConnection } from "./pg-connection.ts";

export interface PgPoolOptions {
  /** What the connections are called in `pg_stat_activity`. */
  readonly name: string;
  /** Connections at most; they are opened when they are needed. */
  readonly max: number;
  /** A statement that takes longer is given up, in milliseconds. */
  readonly timeoutMs?: number;
  /** What is asked for, in words for errors: `the books`. */
  readonly about: string;
  /** Each text is planned once a connection: where planning takes longer than running. Default: planned every time. */
  readonly prepared?: boolean;
}

/**
 * Connections of one store for its questions and short transactions. All that fails leaves as `store/unavailable`, or as
 * `store/conflict` where the database refused it for what is there already; errors of ours pass as they are.
 */
export class PgPool implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #about: string;
  /** Names of statements by their text, where they have some. */
  readonly #names: Map<string, string> | undefined;

  constructor(connection: PgConnection, { name, max, timeoutMs = 60_000, about, prepared = false }: PgPoolOptions) {
    this.#about = about;
    this.#names = prepared ? new Map() : undefined;
    this.#pool = openPool({
      ...clientConfig(connection, `openpool ${name} ${process.pid}`),
      max,
      idleTimeoutMillis: 30_000,
      // The second is for a server that does not even say that it is too slow.
      statement_timeout: timeoutMs,
      query_timeout: timeoutMs + 5_000,
      allowExitOnIdle: true,
    });
  }

  query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const name = this.#nameOf(text);
    const query = { text, values: [...values], ...(name === undefined ? {} : { name }) };
    return this.use(async (client) => (await client.query<Row & QueryResultRow>(query)).rows);
  }

  #nameOf(text: string): string | undefined {
    if (!this.#names) return undefined;
    const name = this.#names.get(text) ?? `statement-${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }

  /** What `work` does happens wholly or not at all, and is on disk once this is answered. */
  transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return this.use(async (client) => {
      await client.query("begin");
      await keepDurable(client, "transaction");
      // Ending the connection, as after every error, undoes it.
      const result = await work(client);
      await client.query("commit");
      return result;
    });
  }

  /** Lends a connection; after an error it is ended, since its state is not known well enough to lend it to the next. */
  async use<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    let client: PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (cause) {
      throw databaseError(this.#about, cause);
    }
    let broken: Error | undefined;
    try {
      return await work(client);
    } catch (cause) {
      broken = cause instanceof Error ? cause : new Error(errorText(cause));
      throw cause instanceof PoolError ? cause : databaseError(this.#about, cause);
    } finally {
      client.release(broken);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#pool.ended) await this.#pool.end();
  }
}

/**
 * Connections that may die at any moment: an idle one is replaced when it is needed; one at work says so to whoever uses
 * it, and its own `error` event, which the driver leaves to whom a connection is lent, would end the process.
 */
function openPool(config: PoolConfig): Pool {
  const pool = new Pool(config);
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/** Commits wait for the disk, whatever the server's default; a stronger one (replicas) stays. */
export async function keepDurable(
  client: { query(sql: string, values: unknown[]): Promise<unknown> },
  until: "transaction" | "session",
): Promise<void> {
  await client.query(
    "select set_config('synchronous_commit', 'on', $1) where current_setting('synchronous_commit') = 'off'",
    [until === "transaction"],
  );
}

/** What the driver threw, as an error of ours. */
export function databaseError(about: string, cause: unknown): PoolError {
  return new PoolError(
    { code: errorCode(cause)?.startsWith("23") ? "store/conflict" : "store/unavailable" },
    `The database did not answer a question about ${about}: ${errorText(cause)}.`,
    { cause },
  );
}
