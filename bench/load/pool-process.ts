import { spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { HostPort } from "../../test/peers/wire.ts";

export interface PoolProcess extends AsyncDisposable {
  readonly address: HostPort;
  /** Of the program as it was started; everything else hangs below it. */
  readonly pid: number;
  /** A page of the admin port, such as `/metrics`. */
  ask(path: string): Promise<string>;
  /** `kill -9` of the process that serves: the program starts another. Resolves when that one is healthy, with how long it took. */
  crash(): Promise<number>;
  /** `kill -9` of everything but the database, and a new start. Resolves as `crash` does, from the start on. */
  killAll(): Promise<number>;
  /** Runs another command of the program against this pool; resolves with its exit code and what it wrote. */
  run(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }>;
}

const PROGRAM = fileURLToPath(new URL("../../packages/cli/bin/openpool.js", import.meta.url));
const START_TIMEOUT_MS = 120_000;

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || !address) throw new Error("no port is free");
  return address.port;
}

/** Starts the built program as an operator would, on ports and a folder of its own. */
export async function startPoolProcess(flags: readonly string[] = []): Promise<PoolProcess> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "openpool-bench-"));
  await chmod(dataDir, 0o755); // run by root, its database is then kept here and goes with the rest
  const address = { host: "127.0.0.1", port: await freePort() };
  const admin = `127.0.0.1:${await freePort()}`;
  const listen = `${address.host}:${address.port}`;
  const args = ["pool", "--data-dir", dataDir, "--network", "offchain", "--service-uri", `https://${listen}`];
  args.push("--listen", listen, "--admin-listen", admin, "--log-level", "warn", "--log-format", "json", ...flags);
  const ask = async (path: string): Promise<string> => (await fetch(`http://${admin}${path}`)).text();
  const start = () => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4_000)));
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    return { child, ended, errors: () => errors };
  };
  /** In ms, how long it took. */
  const untilHealthy = async (): Promise<number> => {
    const startedMs = performance.now();
    for (;;) {
      const healthy = await fetch(`http://${admin}/healthz`, { signal: AbortSignal.timeout(2_000) }).then(
        (answer) => answer.ok,
        () => false,
      );
      const tookMs = performance.now() - startedMs;
      if (healthy) return Math.round(tookMs);
      if (program.child.exitCode !== null || tookMs > START_TIMEOUT_MS) {
        throw new Error(`the pool did not start:\n${program.errors()}`);
      }
      await new Promise((resolve) => void setTimeout(resolve, 10));
    }
  };
  const servingPid = async (): Promise<number> => (JSON.parse(await ask("/status")) as { pid: number }).pid;
  let program = start();
  await untilHealthy();
  return {
    address,
    pid: program.child.pid ?? 0,
    ask,
    async crash() {
      process.kill(await servingPid(), "SIGKILL");
      return untilHealthy();
    },
    async killAll() {
      const serving = await servingPid();
      program.child.kill("SIGKILL");
      process.kill(serving, "SIGKILL");
      await program.ended;
      program = start();
      return untilHealthy();
    },
    run: (...command) =>
      new Promise((resolve, reject) => {
        const tool = spawn(process.execPath, [PROGRAM, ...command, "--data-dir", dataDir]);
        let output = "";
        for (const stream of [tool.stdout, tool.stderr])
          stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
        tool.once("error", reject);
        tool.once("close", (code) => resolve({ code: code ?? 1, output }));
      }),
    async [Symbol.asyncDispose]() {
      program.child.kill("SIGTERM");
      const force = setTimeout(() => program.child.kill("SIGKILL"), 30_000);
      await program.ended;
      clearTimeout(force);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
