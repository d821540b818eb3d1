import { execFile, fork } from "node:child_process";
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Logger, silentLogger, systemClock } from "@openpool/base";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type ManagedPostgres, type ManagedPostgresOptions, startManagedPostgres } from "./managed-postgres.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { preparePostgresBinaries } from "./postgres-binaries.ts";
import { postgresProcesses } from "./postmaster.ts";
import { unprivilegedUser } from "./run-as.ts";

const root = process.geteuid?.() === 0;
let temp = "";
let systemDir = "";

beforeAll(async () => {
  // 0700, as a home directory of root is: the harder case.
  temp = await mkdtemp(join(tmpdir(), "openpool-pg-"));
  systemDir = await mkdtemp(join(tmpdir(), "openpool-sys-"));
  await chmod(systemDir, 0o755);
});
afterAll(async () => {
  await rm(temp, { recursive: true, force: true });
  await rm(systemDir, { recursive: true, force: true });
});

let directories = 0;
const newDir = (): string => join(temp, `pool${++directories}`);

interface Said {
  readonly level: string;
  readonly message: string;
}
function listeningLogger(): Logger & { readonly said: Said[] } {
  const said: Said[] = [];
  const at = (level: string) => (message: string) => void said.push({ level, message });
  const logger = {
    said,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (): Logger => logger,
  };
  return logger;
}

const start = (
  dataDir: string,
  options: Partial<ManagedPostgresOptions> = {},
  logger: Logger = silentLogger,
): Promise<ManagedPostgres> => startManagedPostgres({ dataDir, systemDir, ...options }, { logger, clock: systemClock });

async function ask(connection: PgConnection, sql: string): Promise<unknown> {
  const client = new Client(clientConfig(connection, "test"));
  client.on("error", () => {});
  await client.connect();
  try {
    return Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

/** Starts a pool's Postgres in a process of its own, as `uid` if given; returns its pid and a way to kill it. */
async function startElsewhere(
  dataDir: string,
  options: { uid?: number; binDir?: string } = {},
): Promise<{ pid: number; kill: () => Promise<void>; close: () => Promise<void> }> {
  const script = fileURLToPath(new URL("./testing/postgres-owner.ts", import.meta.url));
  const child = fork(script, [JSON.stringify({ dataDir, systemDir, ...options })], {
    execArgv: ["--import", "tsx", "--conditions=source"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const pid = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) =>
      typeof message === "object" && "pid" in message
        ? resolve(Number(message.pid))
        : reject(new Error(String(message))),
    );
    void exited.then(() => reject(new Error("it ended")));
  });
  return {
    pid,
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
    async close() {
      child.disconnect();
      await exited;
    },
  };
}

/** A data directory with a cluster in it whose Postgres was stopped: a copy of one that was made once. */
async function stoppedCluster(): Promise<{ dataDir: string; cluster: string }> {
  const original = join(systemDir, "original");
  if (!template.made) {
    template.made = true;
    await mkdir(original, { mode: 0o755 });
    await using _ = await start(original);
  }
  const dataDir = join(systemDir, `copy${++directories}`);
  await promisify(execFile)("cp", ["-a", original, dataDir]);
  return { dataDir, cluster: join(dataDir, "postgres", "cluster") };
}
const template = { made: false };

describe("a managed Postgres", () => {
  test("serves a private socket only, durably, and leaves nothing behind when it is closed", async () => {
    const dataDir = newDir();
    const postgres = await start(dataDir);
    const { connection, clusterDir } = postgres;
    if (connection.kind !== "socket") throw new Error("no socket");
    // The connection is handed to another process as JSON.
    expect(JSON.parse(JSON.stringify(connection))).toEqual(connection);
    expect((await stat(connection.socketDir)).mode & 0o777).toBe(0o700);
    expect((await stat(clusterDir)).uid).not.toBe(0);
    expect(await ask(connection, "show listen_addresses")).toBe("");
    expect(await ask(connection, "show fsync")).toBe("on");
    expect(await ask(connection, "show synchronous_commit")).toBe("on");
    expect(await ask(connection, "show server_encoding")).toBe("UTF8");
    expect(await ask(connection, "select datcollate from pg_database where datname = current_database()")).toBe("C");
    await ask(connection, "create table kept as select 42 as n");
    await postgres[Symbol.asyncDispose]();
    expect(postgres.state).toBe("stopped");
    expect(await postgresProcesses(clusterDir)).toEqual([]);
    expect(await readdir(connection.socketDir)).toEqual([]);

    await using again = await start(dataDir);
    expect(again.connection).toEqual(connection);
    expect(await ask(again.connection, "select n from kept")).toBe(42);
    // It was shut down, not cut off.
    expect(await readFile(join(dataDir, "postgres.log"), "utf8")).not.toContain("not properly shut down");
  });

  test("is started again when it is killed, under the same address, with what was committed", async () => {
    const logger = listeningLogger();
    await using postgres = await start((await stoppedCluster()).dataDir, {}, logger);
    await ask(postgres.connection, "create table kept as select 1 as n");
    const first = postgres.pid ?? 0;
    process.kill(first, "SIGKILL");
    await vi.waitFor(() => expect(postgres.restarts).toBe(1), { timeout: 20_000, interval: 20 });
    expect(postgres.state).toBe("running");
    expect(postgres.pid).not.toBe(first);
    expect(await ask(postgres.connection, "select n from kept")).toBe(1);
    expect(logger.said).toContainEqual({ level: "error", message: "Postgres died; starting it again" });
  });

  test("is started again when somebody else tells it to stop, although connections that stay would hold that up for ever", async () => {
    const logger = listeningLogger();
    await using postgres = await start((await stoppedCluster()).dataDir, {}, logger);
    const { connection } = postgres;
    const stays = new Client(clientConfig(connection, "stays"));
    stays.on("error", () => {});
    await stays.connect();
    const first = postgres.pid ?? 0;
    process.kill(first, "SIGTERM");
    await vi.waitFor(() => expect(postgres.restarts).toBe(1), { timeout: 20_000, interval: 20 });
    expect(postgres.pid).not.toBe(first);
    expect(await ask(connection, "select 1")).toBe(1);
    expect(logger.said.map((one) => one.message)).toContainEqual(expect.stringContaining("told to stop"));
    await stays.end().catch(() => {});
  });

  test("has its log cut while it runs, and one old one kept", async () => {
    const { dataDir } = await stoppedCluster();
    const log = join(dataDir, "postgres.log");
    await writeFile(log, "x".repeat(9 << 20));
    await using postgres = await start(dataDir);
    await vi.waitFor(async () => expect((await stat(log)).size).toBeLessThan(1 << 20), 30_000);
    expect((await stat(`${log}.1`)).size).toBeGreaterThan(9 << 20);
    // It goes on in the same file.
    await expect(ask(postgres.connection, "select 1/0")).rejects.toThrow("division by zero");
    await vi.waitFor(async () => expect(await readFile(log, "utf8")).toMatch(/^[^\0]*division by zero/), 30_000);
  });

  test("stays ours when only its connections are cut", async () => {
    const logger = listeningLogger();
    await using postgres = await start((await stoppedCluster()).dataDir, {}, logger);
    const { pid } = postgres;
    await ask(
      postgres.connection,
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'owner'",
    );
    await vi.waitFor(() => expect(logger.said.map((s) => s.message)).toContain("Postgres runs again"), 30_000);
    expect([postgres.pid, postgres.restarts, postgres.state]).toEqual([pid, 0, "running"]);
  });

  test("is taken over from a pool that was killed, and then stopped by the new one", async () => {
    const { dataDir } = await stoppedCluster();
    const elsewhere = await startElsewhere(dataDir);
    await elsewhere.kill();
    const postgres = await start(dataDir);
    expect(postgres.pid).toBe(elsewhere.pid);
    expect(await ask(postgres.connection, "select 1")).toBe(1);
    // One that is no child of ours is watched all the same.
    process.kill(elsewhere.pid, "SIGKILL");
    await vi.waitFor(() => expect(postgres.restarts).toBe(1), { timeout: 20_000, interval: 20 });
    await postgres[Symbol.asyncDispose]();
    expect(await postgresProcesses(postgres.clusterDir)).toEqual([]);
  });

  test("recovers when its pool and itself were killed together", async () => {
    const { dataDir } = await stoppedCluster();
    const elsewhere = await startElsewhere(dataDir);
    await elsewhere.kill();
    process.kill(elsewhere.pid, "SIGKILL");
    await using postgres = await start(dataDir);
    expect(postgres.pid).not.toBe(elsewhere.pid);
    expect(await ask(postgres.connection, "select 1")).toBe(1);
  });

  test("refuses a second pool on the same directory and names the first", async () => {
    const { dataDir } = await stoppedCluster();
    await using first = await start(dataDir);
    await expect(start(dataDir)).rejects.toThrow(
      new RegExp(
        `\\[store/data-dir-in-use\\] Another pool \\(process ${process.pid}\\) uses the data directory ${dataDir}`,
      ),
    );
    expect(await ask(first.connection, "select 1")).toBe(1);
  });

  test("of two pools that start on a fresh directory in the same moment, one wins and one is told", async () => {
    const dataDir = newDir();
    const [a, b] = await Promise.allSettled([start(dataDir), start(dataDir)]);
    const won = [a, b].filter((one) => one.status === "fulfilled");
    const lost = [a, b].filter((one) => one.status === "rejected");
    expect([won.length, lost.length]).toEqual([1, 1]);
    expect(String(lost[0]?.reason)).toContain("[store/data-dir-in-use]");
    const postgres = won[0]?.value;
    expect(await ask(postgres!.connection, "select 1")).toBe(1);
    await postgres?.[Symbol.asyncDispose]();
    expect(await postgresProcesses(postgres!.clusterDir)).toEqual([]);
  });

  test.each([
    ["is empty, as after a power cut", ""],
    ["names a process that is something else by now", `${process.pid}\n/somewhere\n1700000000\n5432\n/somewhere\n\n`],
    ["names a process that is gone", `99999999\n/somewhere\n1700000000\n5432\n/somewhere\n\n`],
  ])("starts although postmaster.pid %s", async (_, text) => {
    const { dataDir, cluster } = await stoppedCluster();
    await writeFile(join(cluster, "postmaster.pid"), text);
    const logger = listeningLogger();
    await using postgres = await start(dataDir, {}, logger);
    expect(await ask(postgres.connection, "select 1")).toBe(1);
  });

  test("says why when it would not start, with the end of its log, and leaves nothing running", async () => {
    const { dataDir, cluster } = await stoppedCluster();
    await writeFile(join(cluster, "postgresql.conf"), "shared_buffers = 'lots'\n");
    await expect(start(dataDir)).rejects.toThrow(
      /\[store\/postgres-would-not-start\][^]*invalid value for parameter "shared_buffers"[^]*postgres\.log/,
    );
    expect(await postgresProcesses(cluster)).toEqual([]);
  });

  test("refuses a cluster of another version, a missing one and a damaged record, and makes no new books", async () => {
    const { dataDir, cluster } = await stoppedCluster();
    const version = await readFile(join(cluster, "PG_VERSION"), "utf8");
    await writeFile(join(cluster, "PG_VERSION"), "12\n");
    await expect(start(dataDir)).rejects.toThrow(/\[store\/postgres-version\].* made by PostgreSQL 12/);
    await writeFile(join(cluster, "PG_VERSION"), version);

    const record = join(dataDir, "postgres.json");
    const good = await readFile(record, "utf8");
    await writeFile(record, "{");
    await expect(start(dataDir)).rejects.toThrow("[store/bad-record]");
    await writeFile(record, good);

    await rm(cluster, { recursive: true });
    await expect(start(dataDir)).rejects.toThrow("[store/cluster-missing]");
  });

  test("says so when the data directory cannot be made", async () => {
    const file = join(temp, "a-file");
    await writeFile(file, "");
    await expect(start(join(file, "data"))).rejects.toThrow("[store/data-dir-unusable]");
  });

  test("puts its socket elsewhere when the path would be too long, and removes that place again", async () => {
    const base = join(systemDir, "long");
    await mkdir(base, { recursive: true });
    await chmod(base, 0o755);
    const dataDir = join(base, "d".repeat(110));
    await mkdir(dataDir);
    // Postgres's user may enter, so the cluster itself stays inside.
    await chmod(dataDir, 0o755);
    const postgres = await start(dataDir);
    expect(postgres.clusterDir).toBe(join(dataDir, "postgres", "cluster"));
    const { connection } = postgres;
    if (connection.kind !== "socket") throw new Error("no socket");
    expect(connection.socketDir).not.toContain("ddd");
    expect((await stat(connection.socketDir)).mode & 0o777).toBe(0o700);
    expect(await ask(connection, "select 1")).toBe(1);
    await postgres[Symbol.asyncDispose]();
    await expect(stat(connection.socketDir)).rejects.toThrow("ENOENT");
  });

  test("runs from a copy of its programs when they lie where its user cannot reach, or lack their links", async () => {
    const user = root ? await unprivilegedUser() : undefined;
    const stageDir = await mkdtemp(join(systemDir, "stage-"));
    await chmod(stageDir, 0o755);
    const packaged = await preparePostgresBinaries(
      { user: undefined, stageDir, binDir: undefined },
      { logger: silentLogger },
    );
    // As npm leaves the package when it runs with --ignore-scripts, and below a directory like /root.
    const hidden = join(temp, "hidden");
    await mkdir(hidden, { mode: 0o700 });
    await cp(join(packaged.binDir, ".."), join(hidden, "native"), { recursive: true, verbatimSymlinks: true });
    await writeFile(join(hidden, "package.json"), JSON.stringify({ version: "1.2.3" }));
    for (const name of await readdir(join(hidden, "native", "lib"))) {
      const path = join(hidden, "native", "lib", name);
      if ((await lstat(path)).isSymbolicLink()) await unlink(path);
    }
    const prepare = () =>
      preparePostgresBinaries(
        { user, stageDir, binDir: undefined, nativeDir: () => join(hidden, "native") },
        { logger: silentLogger },
      );
    const staged = await Promise.all([prepare(), prepare()]);
    expect(staged).toEqual([staged[0], staged[0]]);
    expect(staged[0]?.binDir).toBe(join(stageDir, "postgres-1.2.3", "native", "bin"));
    const { dataDir } = await stoppedCluster();
    await using postgres = await start(dataDir, { binDir: staged[0]?.binDir });
    expect(await ask(postgres.connection, "select 1")).toBe(1);
  });
});

if (root) {
  describe("run by root", () => {
    test("lies outside a data directory that its user cannot enter, which records the place", async () => {
      const dataDir = newDir();
      const postgres = await start(dataDir, { ephemeral: true });
      expect(postgres.clusterDir.startsWith(systemDir)).toBe(true);
      const record: unknown = JSON.parse(await readFile(join(dataDir, "postgres.json"), "utf8"));
      expect(record).toMatchObject({ v: 1, place: join(postgres.clusterDir, "..") });
      await postgres[Symbol.asyncDispose]();
      // Ephemeral: nothing stays outside either.
      await expect(stat(postgres.clusterDir)).rejects.toThrow("ENOENT");
    });

    test("stays inside a data directory that is only closed itself, which it opens for its user to pass", async () => {
      const dataDir = await mkdtemp(join(systemDir, "closed-"));
      const place = join(dataDir, "postgres", "cluster");
      {
        await using postgres = await start(dataDir, { ephemeral: true });
        expect(postgres.clusterDir).toBe(place);
        expect((await stat(dataDir)).mode & 0o777).toBe(0o710);
      }
      // Also when somebody closes it again.
      await chmod(dataDir, 0o700);
      await using postgres = await start(dataDir, { ephemeral: true });
      expect(postgres.clusterDir).toBe(place);
    });

    test("is not needed: another user runs it all inside the data directory, and root can go on with it", async () => {
      const user = await unprivilegedUser();
      const base = await mkdtemp(join(systemDir, "home-"));
      await chmod(base, 0o777);
      const dataDir = join(base, "data");
      // The test's own checkout may lie where that user cannot reach.
      const { binDir } = await preparePostgresBinaries(
        { user, stageDir: systemDir, binDir: undefined },
        { logger: silentLogger },
      );
      const elsewhere = await startElsewhere(dataDir, { uid: user.uid, binDir });
      expect((await stat(join(dataDir, "postgres", "cluster"))).uid).toBe(user.uid);
      await elsewhere.close();
      expect(await postgresProcesses(join(dataDir, "postgres", "cluster"))).toEqual([]);
      await using postgres = await start(dataDir, { binDir });
      expect(postgres.clusterDir).toBe(join(dataDir, "postgres", "cluster"));
      expect(await ask(postgres.connection, "select 1")).toBe(1);
    });
  });
}
