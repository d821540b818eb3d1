import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, open, readFile, realpath, rename, rmdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, createBackoff, errorCode, errorText, type Logger, openScope, PoolError } from "@openpool/base";
import { Client, type QueryResult } from "pg";
import { locks } from "./locks.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import {
  CLUSTER_PORT,
  CLUSTER_USER,
  findCluster,
  makeSocketDir,
  type Place,
  prepareCluster,
  removeTree,
} from "./postgres-cluster.ts";
import { inspectCluster, isAlive, isStopping, postgresProcesses } from "./postmaster.ts";
import { cleanEnvironment } from "./run-as.ts";

export interface ManagedPostgresOptions {
  /** The pool's data directory; made when missing. One pool at a time. */
  readonly dataDir: string;
  /** A directory with `postgres` and `initdb` to use instead of the packaged ones. */
  readonly binDir?: string | undefined;
  /** Run by root: where the cluster lies when Postgres's user cannot enter the data directory. Default `/var/lib/openpool`. */
  readonly systemDir?: string | undefined;
  /** The data is thrown away after use: closing takes no time to write it out, and removes what lies elsewhere. Default false. */
  readonly ephemeral?: boolean | undefined;
  /** How long a clean shutdown may take before Postgres is told to stop at once and recover later. Default 4000, ephemeral 0. */
  readonly stopTimeoutMs?: number | undefined;
  /** How long a start may take, recovery after a crash included. Default 120 000. */
  readonly startTimeoutMs?: number | undefined;
}

export interface ManagedPostgresDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * What the supervisor does:
 *
 *     starting ──► running ──► restarting ──► running …      (it died: started again, with growing pauses)
 *        │            └───────────┴──────► stopped           (we stopped it)
 *        └─► startManagedPostgres rejects                    (it would not start)
 */
export type PostgresState = "running" | "restarting" | "stopped";

export interface ManagedPostgres extends AsyncDisposable {
  /** Stays the same as long as this lives, across restarts of Postgres. */
  readonly connection: PgConnection;
  readonly state: PostgresState;
  /** The directory of the cluster; not always inside the data directory. */
  readonly clusterDir: string;
  /** The process id of the postmaster, while one runs. */
  readonly pid: number | undefined;
  /** How often it died and was started again. */
  readonly restarts: number;
}

const DATABASE = "openpool";
const LOG_MAX_BYTES = 8 << 20;
/** How soon we notice that somebody else told Postgres to stop. */
const STOP_LOOK_MS = 1_000;
/** Counted, not timed: a machine that stands still must not use them up. */
const OWNER_LOOKS = 30;
const OWNER_LOOK_MS = 50;

/** Not for the operator to change: these decide whether anything is lost, and who may connect. */
function fixedSettings(socketDir: string): readonly string[] {
  return [
    "listen_addresses=",
    `unix_socket_directories=${socketDir}`,
    "unix_socket_permissions=0700",
    `port=${CLUSTER_PORT}`,
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "logging_collector=off",
    "log_destination=stderr",
  ];
}

/**
 * Keeps one PostgreSQL server running for a data directory: adopts one that a killed pool left, else starts one; starts
 * it again when it dies; stops it when disposed. It listens on a private unix socket only. Run by root, Postgres runs
 * as an unprivileged user.
 *
 * Rejects with `store/data-dir-in-use` when another pool uses the directory, and with
 * `store/postgres-would-not-start` and the end of the server's log when it does not start.
 */
export async function startManagedPostgres(
  options: ManagedPostgresOptions,
  { logger, clock }: ManagedPostgresDeps,
): Promise<ManagedPostgres> {
  const { dataDir, place, binaries } = await prepareCluster(
    { dataDir: options.dataDir, systemDir: options.systemDir ?? "/var/lib/openpool", binDir: options.binDir },
    { logger },
  );
  const supervisor = new Supervisor(dataDir, place, binaries, options, logger, clock);
  try {
    await supervisor.start();
    return supervisor;
  } catch (error) {
    await supervisor[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Lends the database of a data directory: the server of the pool that runs, or else one of our own for as long as it takes.
 *
 * Rejects with `store/no-books` where there is none.
 */
export async function withManagedPostgres<T>(
  dataDir: string,
  deps: ManagedPostgresDeps,
  work: (connection: PgConnection) => Promise<T>,
): Promise<T> {
  const cluster = await findCluster(dataDir);
  if (cluster === undefined) {
    throw new PoolError(
      { code: "store/no-books" },
      `There is no database in ${dataDir}: name the pool's data directory, or its --database-url where it has one.`,
    );
  }
  const seen = await inspectCluster(cluster);
  if (seen.kind === "alive") {
    const { socketDir, port } = seen;
    return work({ kind: "socket", socketDir, port, user: CLUSTER_USER, database: DATABASE });
  }
  await using postgres = await startManagedPostgres({ dataDir }, deps);
  return await work(postgres.connection);
}

/** The postmaster that we look after: our own child, or one that was there. */
interface Postmaster {
  readonly pid: number;
  readonly child: ChildProcess | undefined;
}

class Supervisor implements ManagedPostgres {
  readonly #dataDir: string;
  readonly #place: Place;
  readonly #binaries: PostgresBinaries;
  readonly #options: ManagedPostgresOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #scope = openScope();
  readonly #logFile: string;
  #state: PostgresState = "restarting";
  #restarts = 0;
  #address: { readonly socketDir: string; readonly port: number } | undefined;
  #ownSocketDir: string | undefined;
  #postmaster: Postmaster | undefined;
  /** Holds the owner's lock, and is the first to know when Postgres dies. */
  #guard: Client | undefined;
  #reviving: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    dataDir: string,
    place: Place,
    binaries: PostgresBinaries,
    options: ManagedPostgresOptions,
    logger: Logger,
    clock: Clock,
  ) {
    this.#dataDir = dataDir;
    this.#place = place;
    this.#binaries = binaries;
    this.#options = options;
    this.#logger = logger;
    this.#clock = clock;
    // Opened by us and inherited, so it lies in the data directory whoever Postgres runs as.
    this.#logFile = join(dataDir, "postgres.log");
  }

  get connection(): PgConnection {
    return this.#connectionTo(DATABASE);
  }
  get state(): PostgresState {
    return this.#state;
  }
  get clusterDir(): string {
    return this.#place.cluster;
  }
  get pid(): number | undefined {
    return this.#postmaster?.pid;
  }
  get restarts(): number {
    return this.#restarts;
  }

  #connectionTo(database: string): PgConnection {
    if (!this.#address) throw new Error("Postgres was never up");
    return { kind: "socket", ...this.#address, user: CLUSTER_USER, database };
  }

  async start(): Promise<void> {
    await this.#bringUp();
    await this.#createDatabase();
    this.#state = "running";
    this.#watchLog();
    this.#watchStop();
  }

  async #createDatabase(): Promise<void> {
    const { rowCount } = await this.#guardQuery("select from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await this.#guardQuery(`create database ${DATABASE}`);
  }

  #guardQuery(sql: string, values: readonly unknown[] = []): Promise<QueryResult<Record<string, unknown>>> {
    if (!this.#guard) throw new Error("no connection");
    return this.#guard.query(sql, [...values]);
  }

  /** Returns once a server of ours answers and the owner's lock is held. */
  async #bringUp(): Promise<void> {
    const deadline = this.#clock.monotonicMs() + (this.#options.startTimeoutMs ?? 120_000);
    for (;;) {
      this.#scope.signal.throwIfAborted();
      const late = this.#clock.monotonicMs() > deadline;
      const seen = await inspectCluster(this.#place.cluster);
      switch (seen.kind) {
        case "idle": {
          const postmaster = await this.#spawn();
          const up = await this.#connect(postmaster, deadline);
          if (up) return;
          break;
        }
        case "alive": {
          this.#address = { socketDir: seen.socketDir, port: seen.port };
          const adopted: Postmaster = { pid: seen.pid, child: undefined };
          const up = await this.#connect(adopted, deadline);
          if (up) {
            this.#logger.info("took over the running Postgres of a pool that is gone", { pid: seen.pid });
            return;
          }
          break;
        }
        case "busy":
          if (late) {
            throw this.#wouldNotStart(
              `processes ${seen.pids.join(", ")} of an earlier server still work in the cluster`,
            );
          }
          break;
        case "blocked": {
          if (!seen.proved) {
            throw this.#wouldNotStart(
              `${seen.why}, and this system cannot tell whether a server still runs. If none does, remove ${join(this.#place.cluster, "postmaster.pid")}`,
            );
          }
          // Nothing is removed: should we be wrong after all, Postgres's own lock on its shared memory still holds.
          await rename(join(this.#place.cluster, "postmaster.pid"), join(this.#place.cluster, "postmaster.pid.stale"));
          this.#logger.warn("set a stale postmaster.pid aside: no Postgres runs in this cluster", { why: seen.why });
          break;
        }
      }
      await this.#pause(50);
    }
  }

  #wouldNotStart(why: string): PoolError {
    return new PoolError(
      { code: "store/postgres-would-not-start" },
      `Postgres would not start: ${why}. Its log is ${this.#logFile}.`,
    );
  }

  async #spawn(): Promise<Postmaster & { readonly logStart: number }> {
    this.#ownSocketDir ??= await makeSocketDir(this.#place);
    const socketDir = this.#ownSocketDir;
    this.#address = { socketDir, port: CLUSTER_PORT };
    const log = await open(this.#logFile, "a", 0o640);
    try {
      const logStart = (await log.stat()).size;
      const { user } = this.#place;
      const child = spawn(
        join(this.#binaries.binDir, "postgres"),
        ["-D", this.#place.cluster, ...fixedSettings(socketDir).flatMap((setting) => ["-c", setting])],
        {
          // Its own session: Ctrl-C in a terminal must reach the pool, which stops Postgres last.
          detached: true,
          cwd: "/",
          env: cleanEnvironment,
          stdio: ["ignore", log.fd, log.fd],
          ...(user ? { uid: user.uid, gid: user.gid } : {}),
        },
      );
      child.unref();
      await new Promise<void>((spawned, failed) => child.once("spawn", spawned).once("error", failed));
      const postmaster = { pid: child.pid ?? 0, child, logStart };
      // From here on it is ours to stop, whatever happens next.
      this.#postmaster = postmaster;
      return postmaster;
    } catch (cause) {
      throw new PoolError({ code: "store/postgres-would-not-start" }, `Postgres would not start: ${errorText(cause)}`, {
        cause,
      });
    } finally {
      await log.close();
    }
  }

  /** True once the server answers and is ours; false when it ended in a way that is worth another look. */
  async #connect(postmaster: Postmaster & { readonly logStart?: number }, deadline: number): Promise<boolean> {
    for (;;) {
      this.#scope.signal.throwIfAborted();
      const guard = new Client(clientConfig(this.#connectionTo("postgres"), `openpool owner ${process.pid}`));
      guard.on("error", () => {});
      try {
        await guard.connect();
        await this.#verify(guard);
        await this.#own(guard);
        this.#postmaster = postmaster;
        this.#guard = guard;
        guard.once("end", () => this.#onGuardLost(guard));
        return true;
      } catch (error) {
        await guard.end().catch(() => {});
        if (error instanceof PoolError) throw error;
        if (await this.#hasEnded(postmaster)) {
          const tail = postmaster.logStart === undefined ? "" : await this.#logTail(postmaster.logStart);
          // A server that another pool started a moment before us, or processes of a killed one that are about to end.
          if (!postmaster.child || /lock file ".*" already exists|shared memory block/.test(tail)) {
            if (this.#clock.monotonicMs() < deadline) return false;
          }
          throw this.#wouldNotStart(tail.trim() || "it ended without a word");
        }
        if (this.#clock.monotonicMs() > deadline) throw this.#wouldNotStart(`no answer (${errorText(error)})`);
      }
      await this.#pause(20);
    }
  }

  async #verify(guard: Client): Promise<void> {
    const { rows } = await guard.query<{ dir: string }>("select current_setting('data_directory') as dir");
    const dir = rows[0]?.dir ?? "";
    if ((await realpath(dir).catch(() => dir)) === (await realpath(this.#place.cluster))) return;
    throw new PoolError(
      { code: "store/postgres-would-not-start" },
      `The Postgres behind ${this.#address?.socketDir} serves ${dir}, not ${this.#place.cluster}. Stop it first.`,
    );
  }

  /** Takes the lock that makes this pool the only one on the directory; the server frees it when we die. */
  async #own(guard: Client): Promise<void> {
    for (let look = 0; look <= OWNER_LOOKS; look++) {
      const { rows } = await guard.query<{ got: boolean }>("select pg_try_advisory_lock($1) as got", [locks.owner]);
      if (rows[0]?.got) return;
      // The session of a pool that was just killed takes a moment to end.
      await this.#pause(OWNER_LOOK_MS);
    }
    const { rows } = await guard.query<{ name: string }>(
      "select application_name as name from pg_stat_activity join pg_locks using (pid) where locktype = 'advisory' and objid = $1",
      [locks.owner],
    );
    // Not ours after all: it serves the other pool.
    this.#postmaster = undefined;
    const pid = /openpool owner (\d+)/.exec(rows[0]?.name ?? "")?.[1];
    throw new PoolError(
      { code: "store/data-dir-in-use" },
      `Another pool${pid ? ` (process ${pid})` : ""} uses the data directory ${this.#dataDir}. Stop it, or give this one a --data-dir of its own.`,
    );
  }

  async #logTail(from: number): Promise<string> {
    const text = await readFile(this.#logFile, "utf8").catch(() => "");
    return Buffer.from(text).subarray(from).toString("utf8").slice(-2000);
  }

  #onGuardLost(guard: Client): void {
    if (this.#guard !== guard || this.#scope.signal.aborted) return;
    this.#guard = undefined;
    this.#state = "restarting";
    this.#reviving ??= this.#revive().finally(() => (this.#reviving = undefined));
  }

  async #revive(): Promise<void> {
    const backoff = createBackoff({ initialMs: 100, factor: 2, maxMs: 10_000, jitter: 0.2 });
    const before = this.#postmaster;
    if (before) await this.#sayWhatEnded(before);
    this.#postmaster = undefined;
    while (!this.#scope.signal.aborted) {
      try {
        await this.#bringUp();
        if (this.pid !== before?.pid) this.#restarts++;
        this.#state = "running";
        this.#logger.info("Postgres runs again", { pid: this.pid });
        return;
      } catch (error) {
        if (this.#scope.signal.aborted) return;
        const delayMs = backoff.next();
        this.#logger.error("could not start Postgres again", {
          error: errorText(error),
          retryInMs: Math.round(delayMs),
        });
        await this.#pause(delayMs);
      }
    }
  }

  async #sayWhatEnded(postmaster: Postmaster): Promise<void> {
    const { pid, child } = postmaster;
    // The connection ends a moment before the process does.
    let ended = await this.#hasEnded(postmaster);
    for (let i = 0; i < 20 && !ended; i++) {
      await this.#pause(10);
      ended = await this.#hasEnded(postmaster);
    }
    if (ended) {
      const how = { exitCode: child?.exitCode, signal: child?.signalCode };
      this.#logger.error("Postgres died; starting it again", { pid, ...how, log: this.#logFile });
    } else {
      this.#logger.warn("lost the connection to Postgres, which still runs", { pid, log: this.#logFile });
    }
  }

  async #hasEnded({ pid, child }: Postmaster): Promise<boolean> {
    if (child) return child.exitCode !== null || child.signalCode !== null;
    const pids = await postgresProcesses(this.#place.cluster);
    return pids ? !pids.includes(pid) : !isAlive(pid);
  }

  /** Keeps the log below twice its bound, without a process that would have to outlive us. */
  #watchLog(): void {
    let cancel = (): void => {};
    const check = async (): Promise<void> => {
      try {
        if ((await stat(this.#logFile)).size > LOG_MAX_BYTES) {
          // Postgres appends to the open file, so it can be cut but not moved away.
          await copyFile(this.#logFile, `${this.#logFile}.1`);
          await truncate(this.#logFile, 0);
        }
      } catch (error) {
        this.#logger.warn("could not rotate the log of Postgres", { error: errorText(error) });
      }
      if (!this.#scope.signal.aborted) cancel = this.#clock.after(30_000, () => void check());
    };
    this.#scope.defer(() => cancel());
    void check();
  }

  /**
   * A server that somebody told to stop, and not we, would wait for our own connections to end and let no new one in. It is
   * told to throw everybody out, so that it ends and is started again.
   */
  #watchStop(): void {
    let cancel = (): void => {};
    let ended: number | undefined;
    const check = async (): Promise<void> => {
      const { pid } = this;
      if (pid === undefined || pid === ended || !(await isStopping(this.#place.cluster))) return;
      if (this.#scope.signal.aborted || pid !== this.pid) return;
      ended = pid;
      this.#logger.warn("Postgres was told to stop, and not by the pool; ending it at once, to start it again", {
        pid,
      });
      tell(pid, "SIGINT");
    };
    const next = (): void => {
      if (this.#scope.signal.aborted) return;
      cancel = this.#clock.after(STOP_LOOK_MS, () => void check().finally(next));
    };
    this.#scope.defer(() => cancel());
    next();
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#scope;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#scope[Symbol.asyncDispose]();
    await this.#reviving?.catch(() => {});
    this.#state = "stopped";
    const guard = this.#guard;
    const postmaster = this.#postmaster;
    this.#guard = undefined;
    this.#postmaster = undefined;
    if (postmaster) await this.#stop(postmaster);
    await guard?.end().catch(() => {});
    const socketDir = this.#address?.socketDir;
    if (postmaster && socketDir && socketDir !== join(this.#place.dir, "run")) await rmdir(socketDir).catch(() => {});
    if (postmaster && this.#options.ephemeral && this.#place.outside) {
      await removeTree(this.#place.dir);
    }
  }

  async #stop(postmaster: Postmaster): Promise<void> {
    const within = async (ms: number): Promise<boolean> => {
      const deadline = performance.now() + ms;
      while (!(await this.#hasEnded(postmaster))) {
        if (performance.now() > deadline) return false;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return true;
    };
    if (await this.#hasEnded(postmaster)) return;
    const { ephemeral = false, stopTimeoutMs = ephemeral ? 0 : 4_000 } = this.#options;
    if (stopTimeoutMs > 0) {
      tell(postmaster.pid, "SIGINT");
      if (await within(stopTimeoutMs)) return;
      const message = "Postgres is slow to stop and is told to stop at once; it recovers at the next start";
      this.#logger.warn(message, { waitedMs: stopTimeoutMs });
    }
    tell(postmaster.pid, "SIGQUIT");
    if (await within(6_000)) return;
    throw new PoolError(
      { code: "store/postgres-would-not-stop" },
      `Postgres (process ${postmaster.pid}) does not stop. The next start of the pool takes it over; to end it by hand use kill -INT ${postmaster.pid}.`,
    );
  }
}

/** A process that is gone already has done what it was told. */
function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
