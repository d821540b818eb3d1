import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "@openpool/base";

/** What Postgres wrote about itself into its data directory. */
export interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly socketDir: string;
}

/** Reads `postmaster.pid`; undefined when there is none, `"unreadable"` when it is empty or cut short. */
export async function readPidFile(cluster: string): Promise<PidFile | "unreadable" | undefined> {
  let text: string;
  try {
    text = await readFile(join(cluster, "postmaster.pid"), "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  const [pid, , , port, socketDir] = text.split("\n");
  if (!/^\d+$/.test(pid ?? "") || !/^\d+$/.test(port ?? "") || !socketDir) return "unreadable";
  return { pid: Number(pid), port: Number(port), socketDir };
}

/**
 * Whether the server was told to stop and has not ended: it lets nobody in any more, and after a SIGTERM it waits for those
 * who are in, for ever if they stay.
 */
export async function isStopping(cluster: string): Promise<boolean> {
  const text = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "");
  return text.split("\n")[7]?.startsWith("stopping") ?? false;
}

/** Whether any process has this id, ours or not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

/**
 * The Postgres processes that work in a cluster: every one of them has it as its current directory, from before it
 * takes the lock file until it ends. Complete for whoever may look: the cluster belongs to one user, so only that user
 * and root can run Postgres on it, and only those two ask. Undefined where the system has no /proc.
 */
export async function postgresProcesses(cluster: string): Promise<readonly number[] | undefined> {
  if (process.platform !== "linux") return undefined;
  const home = await stat(cluster);
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      try {
        // Cheap and readable for all; only then the question that needs rights.
        if (!(await readFile(`/proc/${pid}/comm`, "utf8")).startsWith("postgres")) return undefined;
        const cwd = await stat(`/proc/${pid}/cwd`);
        return cwd.dev === home.dev && cwd.ino === home.ino ? Number(pid) : undefined;
      } catch {
        // Gone meanwhile, or another user's: not one on our cluster.
        return undefined;
      }
    }),
  );
  return found.filter((pid) => pid !== undefined);
}

export type ClusterState =
  /** Nothing runs and nothing is in the way; what a killed server left, Postgres itself clears away. */
  | { readonly kind: "idle" }
  /** A server runs, or starts, or stops. */
  | ({ readonly kind: "alive" } & PidFile)
  /** Processes of a server that is gone, or of one that does not yet say who it is: they end, or it does say, soon. */
  | { readonly kind: "busy"; readonly pids: readonly number[] }
  /**
   * `postmaster.pid` would keep Postgres from starting although no server runs: it is empty (a power cut), or its
   * process id belongs to something else by now (a container that restarted). `proved`: we looked at every process.
   */
  | { readonly kind: "blocked"; readonly why: string; readonly proved: boolean };

async function look(cluster: string): Promise<ClusterState> {
  const pids = await postgresProcesses(cluster);
  const file = await readPidFile(cluster);
  if (file !== undefined && file !== "unreadable") {
    if (pids ? pids.includes(file.pid) : isAlive(file.pid)) return { kind: "alive", ...file };
  }
  if (pids?.length) return { kind: "busy", pids };
  if (file === "unreadable") return { kind: "blocked", why: "postmaster.pid is empty", proved: pids !== undefined };
  if (file && isAlive(file.pid)) {
    return { kind: "blocked", why: `postmaster.pid names process ${file.pid}, which is another program`, proved: true };
  }
  return { kind: "idle" };
}

/** What goes on in a cluster, without changing anything. */
export async function inspectCluster(cluster: string): Promise<ClusterState> {
  const seen = await look(cluster);
  // A server that started between the look at the processes and the one at the file looks like `blocked`; not twice.
  return seen.kind === "blocked" ? look(cluster) : seen;
}
