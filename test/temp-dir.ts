/** The temporary files of one run of the tests lie in one directory, so that nothing stays of a run that was killed. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Short: sockets lie below it, and their paths have little room. */
const NAME = /^openpool-run-(\d+)-\w{6}$/;

export interface RunTempDir {
  readonly path: string;
  remove(): void;
}

/**
 * Makes this run's directory below `parent`, to be the TMPDIR of all that it starts, and clears away those of runs that are
 * dead, with the processes that still work in them.
 */
export function openRunTempDir(parent = tmpdir()): RunTempDir {
  for (const name of readdirSync(parent)) {
    const pid = Number(NAME.exec(name)?.[1] ?? Number.NaN);
    if (!Number.isNaN(pid) && !isAlive(pid)) clear(join(parent, name));
  }
  const path = mkdtempSync(join(parent, `openpool-run-${process.pid}-`));
  // Run by root, the databases belong to another user, who has to pass through here.
  chmodSync(path, 0o711);
  return { path, remove: () => clear(path) };
}

function clear(path: string): void {
  for (const pid of processesNaming(path)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself, or is somebody else's.
    }
  }
  // A process that is about to end may still write; what is left then goes with the next run.
  rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** Processes with the directory on their command line: databases, pools and workers that a test started. */
function processesNaming(path: string): number[] {
  return listOr("/proc", [])
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(join("/proc", pid, "cmdline"), "utf8").includes(`${path}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Systems without /proc only keep such processes longer: a Postgres whose directory is gone ends by itself. */
function listOr(path: string, otherwise: string[]): string[] {
  try {
    return readdirSync(path);
  } catch {
    return otherwise;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
