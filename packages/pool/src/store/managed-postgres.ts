import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { type Clock, createBackoff, errorCode, errorText, type Logger, openScope, PoolError } from "@openpool/base";
import { Client, type QueryResult } from "pg";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { type PostgresBinaries, preparePostgresBinaries } from "./postgres-binaries.ts";
import { inspectCluster, isAlive, postgresProcesses } from "./postmaster.ts";
import { canEnter, cleanEnvironment, runAs, type SystemUser, unprivilegedUser, userById } from "./run-as.ts";

export interface ManagedPostgresOptions {
  /** The pool's data directory; made when missing. One pool at a time. */
  readonly dataDir: string;
  /** A directory with `postgres` and `initdb` to use instead of the packaged ones. */
  readonly binDir?: string | undefined;
  /** Run by root: where the cluster lies when Postgres's user cannot enter the data directory. Default `/var/lib/openpool`. */
  readonly systemDir?: string | undefined;
  /** The data directory is thrown away after use: closing also removes what had to be put elsewhere. Default false. */
  readonly ephemeral?: boolean | undefined;
  /** How long a clean shutdown may take before Postgres is told to stop at once and recover later. Default 4000. */
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

const PORT = 5432;
const USER = "openpool";
const DATABASE = "openpool";
const RECORD = "postgres.json";
/** A unix socket's path must fit into sun_path with its end mark: 107 bytes on Linux, 103 on macOS. */
const MAX_SOCKET_PATH_BYTES = process.platform === "linux" ? 107 : 103;
const LOG_MAX_BYTES = 8 << 20;
/** Any constant: it is taken in the database `postgres` of a cluster that is ours alone. */
const OWNER_LOCK = 7_105_233;
const OWNER_WAIT_MS = 2_500;

/** Not for the operator to change: these decide whether anything is lost, and who may connect. */
function fixedSettings(socketDir: string): readonly string[] {
  return [
    "listen_addresses=",
    `unix_socket_directories=${socketDir}`,
    "unix_socket_permissions=0700",
    `port=${PORT}`,
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "logging_collector=off",
    "log_destination=stderr",
  ];
}

/** Written into the new cluster's postgresql.conf, where an operator may change them. */
function tunableSettings(major: number): string {
  return `
# Open Pool: small by default. A pool appends; what it reads is mostly what it has just written.
max_connections = 50
shared_buffers = 64MB
maintenance_work_mem = 32MB
max_wal_size = 512MB
max_parallel_workers_per_gather = 0
jit = off
log_checkpoints = off
log_line_prefix = '%m [%p] %q%a '
${major >= 18 ? "io_method = sync # no I/O workers: reads are rare\n" : ""}`;
}

interface Place {
  /** Holds the cluster and the socket directory. */
  readonly dir: string;
  readonly cluster: string;
  /** Whom Postgres runs as; undefined: us. */
  readonly user: SystemUser | undefined;
  readonly outside: boolean;
}

/** Where the cluster of a data directory lies and whom it belongs to; decided once and then recorded. */
async function findPlace(dataDir: string, systemDir: string, logger: Logger): Promise<Place> {
  const uid = process.geteuid?.() ?? 0;
  const recorded = await readRecord(dataDir);
  let dir: string;
  let user: SystemUser | undefined;
  if (recorded !== undefined) {
    dir = resolve(dataDir, recorded);
    const cluster = await stat(join(dir, "cluster")).catch(() => undefined);
    if (!cluster) {
      throw new PoolError(
        { code: "store/cluster-missing" },
        `${join(dataDir, RECORD)} says that the database of this pool lies in ${dir}, and it does not. Put it back; or remove ${RECORD} to begin with empty books.`,
      );
    }
    if (uid === 0) user = await userById(cluster.uid, cluster.gid);
    if (uid === 0 ? cluster.uid === 0 : cluster.uid !== uid) {
      throw new PoolError(
        { code: "store/cluster-owner" },
        `The database in ${dir} belongs to user id ${cluster.uid}. Run the pool as that user${cluster.uid === 0 ? "; Postgres refuses root, so give it to another one" : " or as root"}.`,
      );
    }
  } else if (uid !== 0) {
    dir = join(dataDir, "postgres");
  } else {
    user = await unprivilegedUser();
    dir = (await canEnter(user, dataDir))
      ? join(dataDir, "postgres")
      : join(systemDir, createHash("sha256").update(dataDir).digest("hex").slice(0, 16));
  }
  await mkdir(dirname(dir), { recursive: true, mode: 0o755 });
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (user) await chown(dir, user.uid, user.gid);
  if (user && !(await canEnter(user, dir))) {
    throw new PoolError(
      { code: "store/cluster-unreachable" },
      `Postgres runs as user ${user.name}, who cannot enter ${dir}. Let others pass through its parent directories (chmod o+x), or run the pool as another user than root.`,
    );
  }
  const outside = relative(dataDir, dir).startsWith("..") || isAbsolute(relative(dataDir, dir));
  if (outside) {
    logger.info("the database lies outside the data directory, where its user can reach it", {
      dataDir,
      database: dir,
      user: user?.name,
      recordedIn: join(dataDir, RECORD),
    });
  }
  return { dir, cluster: join(dir, "cluster"), user, outside };
}

async function readRecord(dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, RECORD);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const record: unknown = JSON.parse(text);
    if (typeof record === "object" && record !== null && "place" in record && typeof record.place === "string") {
      return record.place;
    }
  } catch {
    // Told below.
  }
  throw new PoolError(
    { code: "store/bad-record" },
    `${path} is damaged. It should say {"v":1,"place":"<directory of the database>"}: for a pool that never ran as root the place is "postgres".`,
  );
}

async function writeRecord(dataDir: string, place: Place): Promise<void> {
  const inside = relative(dataDir, place.dir);
  const record = {
    v: 1,
    place: place.outside ? place.dir : inside,
    user: place.user?.name ?? null,
    note: "Where the database of this pool lies. Keep this file with the data directory.",
  };
  const path = join(dataDir, RECORD);
  const text = `${JSON.stringify(record, null, 2)}\n`;
  if ((await readFile(path, "utf8").catch(() => "")) === text) return;
  const fresh = `${path}.${process.pid}.new`;
  await writeFile(fresh, text, { mode: 0o644, flush: true });
  await rename(fresh, path);
  await syncDirectory(dataDir);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function createCluster(place: Place, binaries: PostgresBinaries, logger: Logger): Promise<void> {
  const fresh = join(place.dir, `cluster.${randomBytes(6).toString("hex")}`);
  // Trust needs no secret on disk, and lets in nobody new: the only way in is a socket in a directory that only the
  // cluster's own user (and root) can enter, and that user can read the files behind it anyway.
  const made = await runAs(place.user, join(binaries.binDir, "initdb"), [
    "-D",
    fresh,
    `--username=${USER}`,
    "--auth=trust",
    "--locale=C",
    "--encoding=UTF8",
    "--data-checksums",
    "--no-instructions",
  ]);
  // Everything inside the cluster is done as its own user, so that no link planted there can lead root astray.
  const tuned = made.ok
    ? await runAs(place.user, "/bin/sh", ["-c", 'cat >> "$1" && sync "$1"', "sh", join(fresh, "postgresql.conf")], {
        input: tunableSettings(binaries.major),
      })
    : made;
  if (!tuned.ok) {
    await rm(fresh, { recursive: true, force: true });
    throw new PoolError(
      { code: "store/postgres-would-not-start" },
      `Could not create the database in ${place.dir}: ${tuned.stderr}`,
    );
  }
  try {
    // Whole or not at all: a crash while it was made leaves a directory that nobody uses.
    await rename(fresh, place.cluster);
    await syncDirectory(place.dir);
    logger.info("created the database", { directory: place.cluster, user: place.user?.name });
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    // Another pool that starts in this very moment was faster; the owner's lock decides who goes on.
    if (errorCode(error) !== "ENOTEMPTY" && errorCode(error) !== "EEXIST") throw error;
  }
}

function fits(socketDir: string): boolean {
  return Buffer.byteLength(join(socketDir, `.s.PGSQL.${PORT}`)) <= MAX_SOCKET_PATH_BYTES;
}

/** A directory for the socket that only the cluster's user can enter and whose name is short enough. */
async function makeSocketDir(place: Place): Promise<string> {
  const inside = join(place.dir, "run");
  let dir = inside;
  if (!fits(inside)) {
    const base = fits(join(tmpdir(), "openpool-XXXXXX")) ? tmpdir() : "/tmp";
    dir = await mkdtemp(join(base, "openpool-"));
  } else {
    await mkdir(inside, { recursive: true, mode: 0o700 });
    if (!(await lstat(inside)).isDirectory()) throw new Error(`${inside} is not a directory`);
  }
  await chmod(dir, 0o700);
  if (place.user) await chown(dir, place.user.uid, place.user.gid);
  return dir;
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
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  const dataDir = await realpath(options.dataDir);
  const place = await findPlace(dataDir, options.systemDir ?? "/var/lib/openpool", logger);
  const binaries = await preparePostgresBinaries(
    {
      user: place.user,
      stageDir: place.user ? (options.systemDir ?? "/var/lib/openpool") : place.dir,
      binDir: options.binDir,
    },
    { logger },
  );
  const version = await readFile(join(place.cluster, "PG_VERSION"), "utf8").catch(() => undefined);
  if (version === undefined) await createCluster(place, binaries, logger);
  else if (Number(version) !== binaries.major) {
    throw new PoolError(
      { code: "store/postgres-version" },
      `The database in ${place.cluster} was made by PostgreSQL ${version.trim()} and this is ${binaries.major}. Run the version of Open Pool that made it, export, and import here.`,
    );
  }
  await writeRecord(dataDir, place);
  const supervisor = new Supervisor(dataDir, place, binaries, options, logger, clock);
  try {
    await supervisor.start();
    return supervisor;
  } catch (error) {
    await supervisor[Symbol.asyncDispose]();
    throw error;
  }
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
  #socketDir: string | undefined;
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
    if (this.#socketDir === undefined) throw new Error("Postgres was never up");
    return { kind: "socket", socketDir: this.#socketDir, port: PORT, user: USER, database };
  }

  async start(): Promise<void> {
    await this.#bringUp();
    await this.#createDatabase();
    this.#state = "running";
    this.#watchLog();
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
          // After a restart of ours the address must stay: others hold it.
          if (seen.port === PORT) this.#socketDir = seen.socketDir;
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
    this.#socketDir = this.#ownSocketDir;
    const log = await open(this.#logFile, "a", 0o640);
    try {
      const logStart = (await log.stat()).size;
      const { user } = this.#place;
      const child = spawn(
        join(this.#binaries.binDir, "postgres"),
        ["-D", this.#place.cluster, ...fixedSettings(this.#socketDir).flatMap((setting) => ["-c", setting])],
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
    const ended = (): boolean =>
      postmaster.child
        ? postmaster.child.exitCode !== null || postmaster.child.signalCode !== null
        : !isAlive(postmaster.pid);
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
        if (ended()) {
          const tail = postmaster.logStart === undefined ? "" : await this.#logTail(postmaster.logStart);
          // A server that another pool started a moment before us, or processes of a killed one that are about to end.
          if (!postmaster.child || /lock file|shared memory block/.test(tail)) {
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
      `The Postgres behind ${this.#socketDir} serves ${dir}, not ${this.#place.cluster}. Stop it first.`,
    );
  }

  /** Takes the lock that makes this pool the only one on the directory; the server frees it when we die. */
  async #own(guard: Client): Promise<void> {
    const deadline = this.#clock.monotonicMs() + OWNER_WAIT_MS;
    for (;;) {
      const { rows } = await guard.query<{ got: boolean }>("select pg_try_advisory_lock($1) as got", [OWNER_LOCK]);
      if (rows[0]?.got) return;
      // The session of a pool that was just killed takes a moment to end.
      if (this.#clock.monotonicMs() > deadline) break;
      await this.#pause(50);
    }
    const { rows } = await guard.query<{ name: string }>(
      "select application_name as name from pg_stat_activity join pg_locks using (pid) where locktype = 'advisory' and objid = $1",
      [OWNER_LOCK],
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
    const child = this.#postmaster?.child;
    this.#logger.error("Postgres died; starting it again", {
      pid: this.#postmaster?.pid,
      exitCode: child?.exitCode,
      signal: child?.signalCode,
      log: this.#logFile,
    });
    this.#postmaster = undefined;
    while (!this.#scope.signal.aborted) {
      try {
        await this.#bringUp();
        this.#restarts++;
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
    if (postmaster && this.#socketDir && this.#socketDir !== join(this.#place.dir, "run")) {
      await rmdir(this.#socketDir).catch(() => {});
    }
    if (postmaster && this.#options.ephemeral && this.#place.outside) {
      await rm(this.#place.dir, { recursive: true, force: true });
    }
  }

  async #stop(postmaster: Postmaster): Promise<void> {
    const ended = async (): Promise<boolean> =>
      postmaster.child
        ? postmaster.child.exitCode !== null || postmaster.child.signalCode !== null
        : !((await postgresProcesses(this.#place.cluster))?.includes(postmaster.pid) ?? isAlive(postmaster.pid));
    const within = async (ms: number): Promise<boolean> => {
      const deadline = performance.now() + ms;
      while (!(await ended())) {
        if (performance.now() > deadline) return false;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return true;
    };
    const tell = (signal: NodeJS.Signals): void => {
      try {
        process.kill(postmaster.pid, signal);
      } catch (error) {
        if (errorCode(error) !== "ESRCH") throw error;
      }
    };
    if (await ended()) return;
    tell("SIGINT");
    if (await within(this.#options.stopTimeoutMs ?? 4_000)) return;
    this.#logger.warn(
      "Postgres is slow to stop; telling it to stop at once. It recovers at the next start, nothing is lost",
    );
    tell("SIGQUIT");
    if (await within(6_000)) return;
    throw new PoolError(
      { code: "store/postgres-would-not-stop" },
      `Postgres (process ${postmaster.pid}) does not stop. The next start of the pool takes it over; to end it by hand use kill -INT ${postmaster.pid}.`,
    );
  }
}
