import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PoolError } from "@openpool/base";
import type { Hex } from "../payouts/types.ts";

/** A chain on this machine, for the demo and for tests. */
export interface LocalChain extends AsyncDisposable {
  readonly url: string;
  readonly chainId: number;
  readonly pid: number;
  /** Keys of accounts that have plenty; known to everybody. */
  readonly richKeys: readonly Hex[];
  /** Any JSON-RPC call, also the chain's own (`anvil_mine`). */
  request(method: string, params?: readonly unknown[]): Promise<unknown>;
}

/** The first accounts of the well-known development seed. */
const RICH_KEYS: readonly Hex[] = [
  "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
  "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];

/** Where the binary is: from npm, else by its name on the PATH. */
export function anvilProgram(): string {
  try {
    const require = createRequire(import.meta.url);
    return join(dirname(require.resolve("@foundry-rs/anvil-linux-amd64/package.json")), "bin", "anvil");
  } catch {
    return "anvil";
  }
}

export interface LocalChainOptions {
  readonly program?: string;
  /** Mine only when asked. */
  readonly manualMining?: boolean;
  readonly chainId?: number;
  readonly args?: readonly string[];
  /** In a process group of its own: Ctrl-C in a terminal is for who started it to answer. */
  readonly detached?: boolean;
}

/** Starts anvil on a free port. @throws PoolError `payout/no-local-chain` where it is missing or does not start. */
export async function startLocalChain({
  program = anvilProgram(),
  manualMining = false,
  chainId = 31_337,
  args = [],
  detached = false,
}: LocalChainOptions = {}): Promise<LocalChain> {
  const all = ["--port", "0", "--chain-id", String(chainId), ...(manualMining ? ["--no-mining"] : []), ...args];
  const child = spawn(program, all, { detached, stdio: ["ignore", "pipe", "pipe"] });
  endWithUs(child);
  const url = `http://${await listening(child)}`;
  let nextId = 0;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  return {
    url,
    chainId,
    pid: child.pid ?? 0,
    richKeys: RICH_KEYS,
    async request(method, params = []) {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id: ++nextId, method, params }),
      });
      const { result, error } = (await answer.json()) as { result?: unknown; error?: { message: string } };
      if (error) throw new PoolError({ code: "payout/local-chain" }, `${method}: ${error.message}`);
      return result;
    },
    async [Symbol.asyncDispose]() {
      process.off("exit", kill);
      child.kill("SIGTERM");
      const late = setTimeout(kill, 2_000);
      await ended;
      clearTimeout(late);
    },
  };
}

/**
 * Ends a child when this process is gone, however it went: a shell waits for the end of a pipe into which nobody ever writes, and
 * which closes with us.
 */
function endWithUs(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const watch = spawn("/bin/sh", ["-c", 'read -r _; kill -9 "$1"', "sh", String(child.pid)], {
    // Who kills our whole group must not kill it too.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watch.on("error", () => {});
  watch.unref();
  watch.stdin.on("error", () => {});
  // Its number can be another program's from then on.
  child.once("exit", () => void watch.kill("SIGKILL"));
}

/** Where it listens, as it says itself. */
function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const fail = (why: string): void => {
      child.kill("SIGKILL");
      reject(new PoolError({ code: "payout/no-local-chain" }, `There is no local chain: anvil ${why}.`));
    };
    const late = setTimeout(() => fail("did not start in 20 s"), 20_000);
    child.once("error", () => {
      clearTimeout(late);
      fail("is not installed");
    });
    const onExit = (code: number | null): void => {
      clearTimeout(late);
      fail(`ended with ${code}: ${said.slice(-300)}`);
    };
    child.once("exit", onExit);
    const listen = (chunk: Buffer): void => {
      said = (said + chunk.toString()).slice(-10_000);
      const found = /Listening on (\S+)/.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(late);
      child.off("exit", onExit);
      // Read on, or it stops when the pipe is full.
      child.stdout?.off("data", listen).resume();
      child.stderr?.resume();
      resolve(found);
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", (chunk: Buffer) => void (said += chunk.toString()));
  });
}
