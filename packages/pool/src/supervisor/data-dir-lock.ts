import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { type Clock, errorCode, PoolError } from "@openpool/base";
import { privateDirectory, runDirectory } from "./run-directory.ts";

/**
 * One pool per data directory, by a unix socket: the kernel closes it with its process, so a killed pool leaves nothing
 * that anybody would have to clean up, and no process id can be mistaken for another's. The same socket takes commands.
 *
 *     contending ──► holder ──► gone       (nobody else is there, or all others gave way)
 *         └────────► gone                  (somebody else holds it, or contends under a lower name)
 *
 * Everyone listens under a name of its own before looking at the others, so of two that start together at least one sees
 * the other. Names never come back, so removing the file of a dead one cannot hit a live one. A holder leaves a mark
 * beside its socket: who is too busy to answer, on a machine where many things start at once, is no holder without it.
 */
type Role = "contending" | "holder";

interface Hello {
  readonly role: Role;
  /** It is there and said nothing: the role is what its mark says. */
  readonly silent?: boolean;
  /** The process; also part of the file's name, which is what is believed. */
  readonly pid: number;
}

/** One line in, one line out; what is asked and answered is the supervisor's business. It must not reject. */
export type CommandHandler = (command: Readonly<Record<string, unknown>> | undefined) => Promise<unknown>;

export interface DataDirLock extends AsyncDisposable {
  /** The private directory for the sockets of this pool. */
  readonly runDir: string;
  /** Starts answering commands; earlier ones wait. */
  answer(handler: CommandHandler): void;
}

export class DataDirInUseError extends PoolError<{
  readonly code: "supervisor/data-dir-in-use";
  readonly dataDir: string;
  readonly pid: number;
}> {}

const NAME = /^lock-(\d+)-[0-9a-f]{16}\.sock$/;
/** Somebody who does not say who they are within this time hangs, and a holder that hangs still holds. */
const HELLO_TIMEOUT_MS = 2_000;
/** Who contends and says nothing for so many of these times is not waited for any longer. */
const SILENCES = 5;
const MAX_LINE_BYTES = 64 * 1024;

/**
 * Takes the data directory, which must exist, or says which process has it.
 *
 * @throws DataDirInUseError
 */
export async function lockDataDir(
  dataDir: string,
  deps: { readonly clock: Clock; readonly helloTimeoutMs?: number },
): Promise<DataDirLock> {
  const runDir = await runDirectory(dataDir);
  await privateDirectory(runDir);
  const name = `lock-${process.pid}-${randomBytes(8).toString("hex")}.sock`;
  const path = join(runDir, name);
  let role: Role = "contending";
  let giveHandler: (handler: CommandHandler) => void;
  const givenHandler = new Promise<CommandHandler>((resolve) => (giveHandler = resolve));
  const open = new Set<net.Socket>();

  const server = net.createServer((socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.write(`${JSON.stringify({ role, pid: process.pid } satisfies Hello)}\n`);
    let received = 0;
    socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (received > MAX_LINE_BYTES) socket.destroy();
    });
    lines(socket).once("line", (line) => {
      void (async () => {
        const handler = await givenHandler;
        const answer = await handler(parseLine(line));
        socket.end(`${JSON.stringify(answer)}\n`);
      })();
    });
  });
  const close = async (): Promise<void> => {
    await rm(path, { force: true });
    await rm(markOf(path), { force: true });
    const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
    for (const socket of open) socket.destroy();
    await closed;
    // Only if it is empty, that is if nobody else contends.
    await rmdir(runDir).catch(() => {});
  };
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // Under a name that nobody looks for until it listens: a socket that does not yet listen looks like a dead one.
    server.listen(join(runDir, `.${name}`), resolve);
  });
  try {
    await rename(join(runDir, `.${name}`), path);
    for (let silences = 0; ;) {
      const others = await contenders(runDir, name, deps.helloTimeoutMs);
      if (others.some(({ hello }) => hello.silent)) silences++;
      const blocking = others.find(
        ({ name: other, hello }) => hello.role === "holder" || other < name || (hello.silent && silences >= SILENCES),
      );
      if (blocking) {
        const { pid } = blocking.hello;
        throw new DataDirInUseError(
          { code: "supervisor/data-dir-in-use", dataDir, pid },
          `The data directory ${dataDir} is in use by the pool with process id ${pid}. Stop that one first, or give this one another --data-dir.`,
        );
      }
      if (others.length === 0) break;
      // They have seen us, or will, and give way.
      await new Promise<void>((resolve) => void deps.clock.after(20, resolve));
    }
    await writeFile(markOf(path), "", { mode: 0o600 });
    role = "holder";
  } catch (error) {
    await close();
    throw error;
  }
  return {
    runDir,
    answer: (handler) => giveHandler(handler),
    [Symbol.asyncDispose]: close,
  };
}

const markOf = (path: string): string => path.replace(/\.sock$/, ".held");

/** Everyone else who is alive in a run directory. What dead ones left is removed on the way. */
async function contenders(
  runDir: string,
  own: string | undefined,
  helloTimeoutMs?: number,
): Promise<readonly { readonly name: string; readonly hello: Hello }[]> {
  const names = (await readdir(runDir)).filter((name) => NAME.test(name) && name !== own);
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(runDir, name);
      const talk = await ask(path, { helloTimeoutMs });
      if (talk) return { name, hello: talk.hello };
      await rm(path, { force: true });
      await rm(markOf(path), { force: true });
      return undefined;
    }),
  );
  return found.filter((one) => one !== undefined);
}

interface Talk {
  readonly hello: Hello;
  readonly answer: unknown;
}

/**
 * Connects to a lock, reads who it is and, when it is a holder, its answer to a command. Undefined when nobody listens.
 * Somebody who is there and says nothing for long is what its mark says, with the process id of the file's name; somebody
 * who hangs up is about to go.
 */
function ask(
  path: string,
  how: {
    readonly command?: unknown;
    readonly signal?: AbortSignal | undefined;
    readonly helloTimeoutMs?: number | undefined;
  },
): Promise<Talk | undefined> {
  const { command, signal } = how;
  return new Promise((resolve) => {
    const socket = net.connect(path);
    const pid = Number(NAME.exec(path.slice(path.lastIndexOf("/") + 1))?.[1] ?? 0);
    let hello: Hello | undefined;
    let answer: unknown;
    let dead = false;
    let silent = false;
    const timer = setTimeout(() => {
      silent = true;
      socket.destroy();
    }, how.helloTimeoutMs ?? HELLO_TIMEOUT_MS);
    const onAbort = (): void => void socket.destroy();
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.on("error", (error) => {
      // Anything else, a full backlog for instance, comes from somebody who lives: it is asked again.
      dead ||= ["ECONNREFUSED", "ENOENT"].includes(errorCode(error) ?? "");
    });
    socket.once("close", () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      if (dead) return resolve(undefined);
      const role: Role = signal?.aborted || (silent && existsSync(markOf(path))) ? "holder" : "contending";
      resolve({ hello: hello ?? { role, silent, pid }, answer });
    });
    lines(socket).on("line", (line) => {
      if (hello) {
        answer = parseLine(line);
        return;
      }
      clearTimeout(timer);
      hello = { role: parseLine(line)?.["role"] === "contending" ? "contending" : "holder", pid };
      if (command === undefined || hello.role !== "holder") socket.destroy();
      else socket.write(`${JSON.stringify(command)}\n`);
    });
  });
}

/** Reads lines. Errors of the socket come out of the reader a second time, where they would end the process. */
function lines(socket: net.Socket): Interface {
  return createInterface({ input: socket }).on("error", () => {});
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Sends a command to the pool that holds a data directory and returns its answer; undefined when no pool runs there.
 *
 * @throws whatever keeps us from looking, for instance EACCES for another user's pool.
 */
export async function commandPool(
  dataDir: string,
  command: unknown,
  signal?: AbortSignal,
): Promise<{ readonly pid: number; readonly answer: unknown } | undefined> {
  let names: string[];
  let runDir: string;
  try {
    runDir = await runDirectory(dataDir);
    names = (await readdir(runDir)).filter((name) => NAME.test(name));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  for (const name of names) {
    const talk = await ask(join(runDir, name), { command, signal });
    if (talk?.hello.role === "holder") return { pid: talk.hello.pid, answer: talk.answer };
  }
  return undefined;
}
