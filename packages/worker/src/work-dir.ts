import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { PoolError } from "@openpool/base";

/** Directories of workers that run in this process. */
const ours = new Set<string>();

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Not allowed to signal it: it is someone else's, and alive.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

export interface TempDir extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a worker's temporary directory below `workDir`, and removes those of workers that were killed. The process id in
 * the name tells whose they are.
 */
export async function openTempDir(workDir: string): Promise<TempDir> {
  const parent = resolve(workDir);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  // Its default name can be guessed, and whoever owns it can change what stands in it.
  const { uid } = await stat(parent);
  if (uid !== 0 && uid !== process.getuid?.() && process.getuid) {
    throw new PoolError(
      { code: "worker/foreign-work-dir" },
      `${parent} belongs to another user: remove it, or name another directory with --work-dir.`,
    );
  }
  for (const name of await readdir(parent)) {
    const pid = Number(/^tmp-(\d+)-/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid)) continue;
    const path = join(parent, name);
    // A container's processes get the same number each time: our own number on what we did not make is a dead one's.
    const dead = pid === process.pid ? !ours.has(path) : !isAlive(pid);
    if (dead) await rm(path, { recursive: true, force: true });
  }
  const path = await mkdtemp(join(parent, `tmp-${process.pid}-`));
  ours.add(path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
      ours.delete(path);
    },
  };
}
