import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, PoolError } from "@openpool/base";
import { type AdminClient, AdminClientError, openAdminClient } from "../admin-client.ts";
import type { Io } from "../io.ts";

export class DemoError extends PoolError<{
  readonly code: "demo/pool-would-not-start" | "demo/no-worker";
  readonly logFile: string;
}> {}

/** A program of the demo, with everything that it started in a process group of its own. */
export interface Member {
  readonly pid: number;
  readonly logFile: string;
  /** Settles when it has ended, also when nobody wanted it to. */
  readonly ended: Promise<void>;
  readonly running: boolean;
  /** Asks it to finish what it holds and end. */
  stop(): void;
  /** Ends it and all that it started, at once. */
  kill(): void;
}

/** Starts this program again with other arguments. Its log goes to a file; our end ends it too. */
export function startMember(name: string, args: readonly string[], directory: string, io: Io): Member {
  const logFile = join(directory, `${name}.log`);
  const log: WriteStream = createWriteStream(logFile, { flags: "a" });
  const [program, ...first] = io.self;
  const child: ChildProcess = spawn(program, [...first, ...args], {
    cwd: directory,
    env: cleanEnv(io),
    // Its own group: Ctrl-C in the terminal is ours to answer, and killing it reaches its FFmpeg.
    detached: true,
    // The channel carries nothing; its end tells the child that we are gone.
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  child.stderr?.pipe(log);
  let running = true;
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      running = false;
      resolve();
    };
    child.once("error", end);
    child.once("exit", end);
  });
  const signal = (pid: number, what: NodeJS.Signals): void => {
    try {
      process.kill(pid, what);
    } catch (error) {
      if (errorCode(error) !== "ESRCH") throw error;
    }
  };
  const pid = child.pid ?? 0;
  return {
    pid,
    logFile,
    ended,
    get running() {
      return running;
    },
    stop() {
      if (running && pid > 0) signal(pid, "SIGTERM");
    },
    kill() {
      if (pid > 0) signal(-pid, "SIGKILL");
    },
  };
}

/** Settings of the user's own must not reach the demo's programs. */
function cleanEnv(io: Io): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(io.env).filter(([key]) => !key.startsWith("OPENPOOL_")));
}

/** Runs this program with other arguments to its end; what it said, in one text. `code` is undefined when it was not over in time. */
export function runCommand(
  args: readonly string[],
  directory: string,
  io: Io,
  patience: AbortSignal,
): Promise<{ readonly code: number | undefined; readonly text: string }> {
  const [program, ...first] = io.self;
  return new Promise((resolve) => {
    const child = spawn(program, [...first, ...args], {
      cwd: directory,
      env: cleanEnv(io),
      // Ctrl-C in the terminal is ours to answer.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      signal: patience,
      killSignal: "SIGKILL",
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (said: Buffer) => void (text += said));
    const end = (code: number | null): void => resolve({ code: code ?? undefined, text: text.trimEnd() });
    child.once("error", () => end(null));
    child.once("close", end);
  });
}

/** Waits until the pool of a directory is healthy. */
export async function poolReady(pool: Member, dataDir: string, signal: AbortSignal): Promise<AdminClient> {
  const patience = AbortSignal.timeout(60_000);
  while (pool.running && !patience.aborted) {
    signal.throwIfAborted();
    try {
      const client = await openAdminClient(dataDir);
      await client.get("/healthz");
      return client;
    } catch (error) {
      if (!(error instanceof AdminClientError)) throw error;
    }
    await Promise.race([sleep(50), pool.ended]);
  }
  throw new DemoError(
    { code: "demo/pool-would-not-start", logFile: pool.logFile },
    `the pool did not start: ${pool.logFile} says why`,
  );
}
