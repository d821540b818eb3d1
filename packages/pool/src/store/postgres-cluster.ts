import { createHash, randomBytes } from "node:crypto";
import { chmod, chown, mkdir, mkdtemp, open, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { errorCode, errorText, type Logger, PoolError } from "@openpool/base";
import { type PostgresBinaries, preparePostgresBinaries } from "./postgres-binaries.ts";
import { canEnter, isHome, runAs, type SystemUser, unprivilegedUser, userById } from "./run-as.ts";

/** The cluster's superuser and the owner of the pool's database. */
export const CLUSTER_USER = "openpool";
export const CLUSTER_PORT = 5432;
const RECORD = "postgres.json";
/** A unix socket's path must fit into sun_path with its end mark: 107 bytes on Linux, 103 on macOS. */
const MAX_SOCKET_PATH_BYTES = process.platform === "linux" ? 107 : 103;

/** Written into the new cluster's postgresql.conf, where an operator may change them. */
function tunableSettings(major: number): string {
  return `
# Open Pool: small by default. A pool appends; what it reads is mostly what it has just written.
max_connections = 50
shared_buffers = 64MB
maintenance_work_mem = 32MB
max_wal_size = 256MB # bounds what must be replayed after a crash, and so the time until the pool serves again
checkpoint_timeout = 3min
max_parallel_workers_per_gather = 0
jit = off
log_checkpoints = off
log_line_prefix = '%m [%p] %q%a '
${major >= 18 ? "io_method = sync # no I/O workers: reads are rare\n" : ""}`;
}

export interface Place {
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
  let user = uid === 0 ? await unprivilegedUser() : undefined;
  if (recorded !== undefined) dir = resolve(dataDir, recorded);
  else if (!user || (await letPass(user, dataDir, logger))) dir = join(dataDir, "postgres");
  else dir = join(systemDir, createHash("sha256").update(dataDir).digest("hex").slice(0, 16));

  const outside = relative(dataDir, dir).startsWith("..") || isAbsolute(relative(dataDir, dir));
  const cluster = await stat(join(dir, "cluster")).catch(() => undefined);
  if (!cluster && recorded !== undefined) {
    throw new PoolError(
      { code: "store/cluster-missing" },
      `${join(dataDir, RECORD)} says that the database of this pool lies in ${dir}, and it does not. Put it back; or remove ${RECORD} to begin with empty books.`,
    );
  }
  if (cluster) {
    if (uid === 0 ? cluster.uid === 0 : cluster.uid !== uid) {
      throw new PoolError(
        { code: "store/cluster-owner" },
        `The database in ${dir} belongs to user id ${cluster.uid}. Run the pool as that user${cluster.uid === 0 ? "; Postgres refuses root, so give it to another one" : " or as root"}.`,
      );
    }
    // Whoever made it: accounts come and go, and one called postgres may have come since.
    if (uid === 0) user = await userById(cluster.uid, cluster.gid);
    if (recorded === undefined && outside) {
      logger.warn("going on with the database of an earlier data directory at the same path", {
        dataDir,
        database: dir,
      });
    }
  } else {
    // Whatever our umask: Postgres's user must get through to what is its own.
    if (user && (await mkdir(dirname(dir), { recursive: true }))) await chmod(dirname(dir), 0o755);
    await mkdir(dir, { recursive: true });
    // Run by root the directory stays root's, and only what lies in it is the other user's: nothing that root does here
    // by name can then be led elsewhere by a link.
    await chmod(dir, user ? 0o711 : 0o700);
  }
  // Somebody may have closed the data directory again since.
  if (user && !outside) await letPass(user, dataDir, logger);
  if (user && !(await canEnter(user, dir))) {
    throw new PoolError(
      { code: "store/cluster-unreachable" },
      `Postgres runs as user ${user.name}, who cannot enter ${dir}. Let others pass through its parent directories (chmod o+x), or run the pool as another user than root.`,
    );
  }
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

/**
 * Whether Postgres's user can get through the data directory to what will be its own below it. Where root made the
 * directory for itself alone, and only the directory itself is in the way, the user's group may pass from now on, and
 * no more than pass: a data directory that holds everything is worth that.
 */
async function letPass(user: SystemUser, dataDir: string, logger: Logger): Promise<boolean> {
  if (await canEnter(user, dataDir)) return true;
  const { uid, mode } = await stat(dataDir);
  const parent = dirname(dataDir);
  const roots = uid === 0 && (mode & 0o077) === 0 && parent !== "/" && !(await isHome(dataDir));
  if (!roots || !(await canEnter(user, parent))) return false;
  await chown(dataDir, 0, user.gid);
  await chmod(dataDir, (mode & 0o700) | 0o010);
  logger.info("let Postgres's user pass through the data directory", { dataDir, user: user.name });
  return canEnter(user, dataDir);
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

/** Where the cluster of a data directory is, when it has one; looks and changes nothing. */
export async function findCluster(dataDir: string): Promise<string | undefined> {
  const home = await realpath(dataDir).catch(() => undefined);
  const recorded = home === undefined ? undefined : await readRecord(home);
  if (home === undefined || recorded === undefined) return undefined;
  const cluster = join(resolve(home, recorded), "cluster");
  return (await stat(cluster).catch(() => undefined)) && cluster;
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a directory in the place that only Postgres's user can enter. */
async function makePrivate(place: Place, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  if (place.user) await chown(dir, place.user.uid, place.user.gid);
}

async function createCluster(place: Place, binaries: PostgresBinaries, logger: Logger): Promise<void> {
  const fresh = join(place.dir, `cluster.${randomBytes(6).toString("hex")}`);
  await makePrivate(place, fresh);
  // Trust needs no secret on disk, and lets in nobody new: the only way in is a socket in a directory that only the
  // cluster's own user (and root) can enter, and that user can read the files behind it anyway.
  const made = await runAs(place.user, join(binaries.binDir, "initdb"), [
    "-D",
    fresh,
    `--username=${CLUSTER_USER}`,
    "--auth=trust",
    "--locale=C",
    "--encoding=UTF8",
    "--data-checksums",
    "--no-instructions",
  ]);
  // As its own user, like everything inside the cluster.
  const tuned = made.ok
    ? await runAs(place.user, "/bin/sh", ["-c", 'cat >> "$1" && sync "$1"', "sh", join(fresh, "postgresql.conf")], {
        input: tunableSettings(binaries.major),
      })
    : made;
  if (!tuned.ok) {
    await removeTree(fresh);
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
    await removeTree(fresh);
    // Another pool that starts in this very moment was faster; the owner's lock decides who goes on.
    if (errorCode(error) !== "ENOTEMPTY" && errorCode(error) !== "EEXIST") throw error;
  }
}

/** Removes a tree that another user may be changing meanwhile: unlike Node's, the system's `rm` cannot be led astray. */
export async function removeTree(path: string): Promise<void> {
  await runAs(undefined, "/bin/rm", ["-rf", "--", path]);
}

function fits(socketDir: string): boolean {
  return Buffer.byteLength(join(socketDir, `.s.PGSQL.${CLUSTER_PORT}`)) <= MAX_SOCKET_PATH_BYTES;
}

/** A directory for the socket that only the cluster's user can enter and whose name is short enough. */
export async function makeSocketDir(place: Place): Promise<string> {
  const inside = join(place.dir, "run");
  if (fits(inside)) {
    await makePrivate(place, inside);
    return inside;
  }
  const base = fits(join(tmpdir(), "openpool-XXXXXX")) ? tmpdir() : "/tmp";
  const dir = await mkdtemp(join(base, "openpool-"));
  await makePrivate(place, dir);
  return dir;
}

export interface ClusterOptions {
  readonly dataDir: string;
  /** Where the cluster lies when we are root and Postgres's user cannot enter the data directory. */
  readonly systemDir: string;
  readonly binDir: string | undefined;
}

/** Everything before a server runs: the place, the programs, the cluster, and the record of it. */
export async function prepareCluster(
  options: ClusterOptions,
  { logger }: { logger: Logger },
): Promise<{ dataDir: string; place: Place; binaries: PostgresBinaries }> {
  try {
    const { systemDir } = options;
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
    const dataDir = await realpath(options.dataDir);
    const place = await findPlace(dataDir, systemDir, logger);
    const binaries = await preparePostgresBinaries(
      {
        user: place.user,
        stageDir: place.user ? systemDir : place.dir,
        binDir: options.binDir,
      },
      { logger },
    );
    const version = await readFile(join(place.cluster, "PG_VERSION"), "utf8").catch(() => undefined);
    if (version === undefined) await createCluster(place, binaries, logger);
    else if (Number(version) !== binaries.major) {
      throw new PoolError(
        { code: "store/postgres-version" },
        `The database in ${place.cluster} was made by PostgreSQL ${version.trim()} and this is ${binaries.major}. Back it up with the version of Open Pool that made it (\`openpool backup\`) and restore it into a new data directory with this one (\`openpool restore\`).`,
      );
    }
    await writeRecord(dataDir, place);
    return { dataDir, place, binaries };
  } catch (cause) {
    if (cause instanceof PoolError) throw cause;
    throw new PoolError(
      { code: "store/data-dir-unusable" },
      `Cannot keep a database in the data directory ${options.dataDir}: ${errorText(cause)}.`,
      { cause },
    );
  }
}
