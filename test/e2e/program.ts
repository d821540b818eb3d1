import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { errorText } from "@openpool/base";
import { until } from "./pool.ts";

/** The built program. */
export const bin = fileURLToPath(new URL("../../packages/cli/bin/openpool.js", import.meta.url));

/** `openpool pool` as an operator runs it: the built program in processes of its own. */
export interface Program extends AsyncDisposable {
  readonly dataDir: string;
  /** The supervisor. */
  readonly process: ChildProcess;
  readonly log: () => string;
  /** `HOST:PORT` of the public port. */
  readonly addr: string;
  /** The process that serves now. */
  pid(): Promise<number>;
  admin(path: string): Promise<unknown>;
  /** What another command of the program says to this pool. */
  operate(...words: readonly string[]): Promise<string>;
  /** Segments and wei credited in all. */
  credited(): Promise<{ segments: number; creditedWei: bigint }>;
}

interface AdminFile {
  readonly url: string;
  readonly pid: number;
}

/** Runs a command against the pool that keeps its data there, and resolves with what it says. */
export async function operate(dataDir: string, ...words: readonly string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [bin, ...words, "--data-dir", dataDir])).stdout;
}

interface ProgramPlace {
  readonly dataDir?: string;
  readonly port?: number;
  readonly flags?: readonly string[];
  readonly nodeOptions?: string;
}

/** Starts the program on free ports and waits until it serves. The same data directory and port may be used again. */
export async function startProgram(at: ProgramPlace = {}): Promise<Program> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(at);
    } catch (error) {
      // A port that was free for a moment may have gone to a connection of another test meanwhile, which ends soon.
      if (at.port === undefined || tries === 20 || !errorText(error).includes(PORT_TAKEN)) throw error;
      await sleep(500);
    }
  }
}

const PORT_TAKEN = "another program listens there";

async function startOnce(at: ProgramPlace): Promise<Program> {
  const dataDir = at.dataDir ?? (await mkdtemp(join(tmpdir(), "openpool-program-")));
  const address = `127.0.0.1:${at.port ?? 0}`;
  const child = spawn(
    process.execPath,
    [
      bin,
      "pool",
      "--data-dir",
      dataDir,
      "--listen",
      address,
      "--service-uri",
      `https://${address}`,
      "--admin-listen",
      "127.0.0.1:0",
      "--log-format",
      "json",
      ...(at.flags ?? []),
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NODE_OPTIONS: at.nodeOptions ?? "" } },
  );
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const adminFile = async (): Promise<AdminFile> =>
    JSON.parse(await readFile(join(dataDir, "admin.json"), "utf8")) as AdminFile;
  const admin = async (path: string): Promise<unknown> => {
    const response = await fetch(`${(await adminFile()).url}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  };
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`openpool pool ended with ${child.exitCode}:\n${log}`);
    return admin("/healthz").then(
      () => true,
      () => false,
    );
  }, 120_000);
  const status = (await admin("/status")) as { readonly listen: string };
  return {
    dataDir,
    process: child,
    log: () => log,
    addr: status.listen,
    pid: async () => (await adminFile()).pid,
    admin,
    operate: (...words) => operate(dataDir, ...words),
    async credited() {
      const balances = (await admin("/balances")) as readonly {
        readonly segments: number;
        readonly creditedWei: string;
      }[];
      return {
        segments: balances.reduce((sum, one) => sum + one.segments, 0),
        creditedWei: balances.reduce((sum, one) => sum + BigInt(one.creditedWei), 0n),
      };
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        await ended;
      }
      if (at.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
