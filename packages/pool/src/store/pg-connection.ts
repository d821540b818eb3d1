import { errorCode, errorText, PoolError } from "@openpool/base";
import type { ClientConfig } from "pg";

/**
 * How to reach a database. Plain JSON, so that the process that keeps Postgres running can hand it to the one that
 * uses it.
 */
export type PgConnection =
  /** A server on this machine behind a private unix socket. */
  | {
      readonly kind: "socket";
      /** The directory that holds `.s.PGSQL.<port>`. */
      readonly socketDir: string;
      readonly port: number;
      readonly user: string;
      readonly database: string;
    }
  /** Any PostgreSQL server, as `postgres://user:password@host:port/database`. */
  | { readonly kind: "url"; readonly url: string };

/** What every client of ours asks of a server: a name in `pg_stat_activity`, UTC, and a connection that notices its end. */
export function clientConfig(connection: PgConnection, applicationName: string): ClientConfig {
  const common: ClientConfig = {
    application_name: applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: 5_000,
  };
  if (connection.kind === "url") return { ...common, connectionString: connection.url };
  const { socketDir, port, user, database } = connection;
  return { ...common, host: socketDir, port, user, database, ssl: false };
}

/** The driver takes `postgres://user@/database?host=/socket/dir`; the standard wants a host behind a user. */
function toUrl(text: string): URL | undefined {
  try {
    return new URL(text.replace(/@(?=\/)/, "@localhost"));
  } catch {
    return undefined;
  }
}

/** Where the data lies, for people: never a password. */
export function describeConnection(connection: PgConnection): string {
  if (connection.kind === "socket") return `${connection.database} behind ${connection.socketDir}`;
  const url = toUrl(connection.url);
  if (!url) return "the database of --database-url";
  return `${url.searchParams.get("host") ?? (url.host || "localhost")}${url.pathname}`;
}

/** Reads `--database-url`; says what is wrong with it before anything connects. */
export function parseDatabaseUrl(text: string): PgConnection {
  const url = toUrl(text);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length < 2) {
    throw new PoolError(
      { code: "store/bad-database-url" },
      "The database URL must look like postgres://user:password@host:5432/database.",
    );
  }
  return { kind: "url", url: text };
}

/** Turns what the driver throws while connecting into an error that says what to do. */
export function connectError(connection: PgConnection, cause: unknown): PoolError {
  const where = describeConnection(connection);
  const code = errorCode(cause);
  const advice = ((): string => {
    switch (code) {
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return "its host name is not known; check the host in the database URL";
      case "ECONNREFUSED":
      case "ENOENT":
        return "nothing listens there; start the server or correct host and port in the database URL";
      case "28P01":
      case "28000":
        return "the server refused the user or the password; correct them in the database URL or in the server's pg_hba.conf";
      case "3D000":
        return "that database does not exist; create it, for example with `createdb`";
      case "42501":
        return "the user may not create what is needed; let it own the database";
      case "53300":
        return "the server has no connection left; raise its max_connections";
      case "57P03":
        return "the server is still starting";
      default:
        return "check the database URL and the server's log";
    }
  })();
  return new PoolError(
    { code: "store/no-database" },
    `Cannot use the database ${where}: ${advice} (${errorText(cause) || code || "no reason given"}).`,
    { cause },
  );
}
