import { readdir, readFile } from "node:fs/promises";

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Its command line. */
  readonly line: string;
}

/** What runs on this machine; what has ended and waits for its parent to ask why has no command line. */
async function processes(): Promise<readonly Process[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const read = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
      const [line, status] = await Promise.all([read("cmdline"), read("status")]);
      return {
        pid: Number(pid),
        parent: Number(/^PPid:\s+(\d+)$/m.exec(status)?.[1] ?? 0),
        line: line.replaceAll("\0", " "),
      };
    }),
  );
  return found.filter(({ line }) => line !== "");
}

/** Command lines of the processes on this machine that mention a text. */
export async function processesWith(text: string): Promise<string[]> {
  return (await processes()).map(({ line }) => line).filter((line) => line.includes(text));
}

/** The processes that a process has started and that still run. */
export async function childrenOf(parent: number): Promise<readonly number[]> {
  return (await processes()).flatMap((one) => (one.parent === parent ? [one.pid] : []));
}

/** Those that still run. */
export async function stillRunning(pids: readonly number[]): Promise<readonly number[]> {
  return (await processes()).flatMap(({ pid }) => (pids.includes(pid) ? [pid] : []));
}
