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
  /** What Prometheus reads. */
  metrics(): Promise<string>;
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
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4_000)));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));

  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const healthy = await fetch(`http://${admin}/healthz`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (healthy) break;
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`the pool did not start:\n${errors}`);
    await new Promise((resolve) => void setTimeout(resolve, 100));
  }
  return {
    address,
    pid: child.pid ?? 0,
    metrics: async () => (await fetch(`http://${admin}/metrics`)).text(),
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
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 30_000);
      await ended;
      clearTimeout(force);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
