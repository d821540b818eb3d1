import { PoolError } from "@openpool/base";
import { Client } from "pg";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { databaseError, keepDurable } from "./pg-pool.ts";

export interface PgLeaderOptions {
  /** What the connection is called in `pg_stat_activity`. */
  readonly name: string;
  /** One of `locks`: who holds it leads. */
  readonly lock: number;
  /** What is written, in words for errors. */
  readonly about: string;
  /** What is thrown while another process leads. */
  readonly notLeader: () => PoolError;
}

/**
 * The one connection over which something is written that only one process may write. It holds an advisory lock: who has
 * lost the connection has lost the lock, and can write nothing any more. One transaction at a time, in the order asked for.
 */
export class PgLeader implements AsyncDisposable {
  readonly #connection: PgConnection;
  readonly #options: PgLeaderOptions;
  #client: Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(connection: PgConnection, options: PgLeaderOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** What `work` does happens wholly or not at all. When it throws something else than a PoolError, nobody knows which. */
  transaction<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const result = this.#last.then(
      () => this.#transaction(work),
      () => this.#transaction(work),
    );
    this.#last = result.catch(() => {});
    return result;
  }

  async #transaction<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.#lead();
    try {
      await client.query("begin");
      const result = await work(client);
      await client.query("commit");
      return result;
    } catch (cause) {
      const undone =
        cause instanceof PoolError &&
        (await client.query("rollback").then(
          () => true,
          () => false,
        ));
      // What became of the transaction is not known: a new connection will read it.
      if (!undone) await this.#resign();
      throw cause instanceof PoolError ? cause : databaseError(this.#options.about, cause);
    }
  }

  async #lead(): Promise<Client> {
    if (this.#client) return this.#client;
    const { name, lock, about, notLeader } = this.#options;
    if (this.#closed) throw new PoolError({ code: "store/unavailable" }, `Writing ${about} is being stopped.`);
    const client = new Client({
      ...clientConfig(this.#connection, `openpool ${name} ${process.pid}`),
      statement_timeout: 60_000,
      query_timeout: 65_000,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("set session characteristics as transaction isolation level read committed");
      await keepDurable(client, "session");
      const { rows } = await client.query<{ won: boolean }>("select pg_try_advisory_lock($1) as won", [lock]);
      if (!rows[0]?.won) throw notLeader();
    } catch (error) {
      await client.end().catch(() => {});
      throw error instanceof PoolError ? error : databaseError(about, error);
    }
    client.once("end", () => {
      if (this.#client === client) this.#client = undefined;
    });
    this.#client = client;
    return client;
  }

  async #resign(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#resign();
  }
}
