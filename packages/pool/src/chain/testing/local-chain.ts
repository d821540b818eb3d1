import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** An anvil of the test's own, on a free port; it mines a block a transaction. */
export async function startTestChain(args: readonly string[] = []): Promise<
  AsyncDisposable & {
    readonly url: string;
    request<T = unknown>(method: string, params?: readonly unknown[]): Promise<T>;
  }
> {
  const home = dirname(createRequire(import.meta.url).resolve("@foundry-rs/anvil-linux-amd64/package.json"));
  const child = spawn(join(home, "bin", "anvil"), ["--port", "0", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`anvil ended with ${code}`)));
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const [, address] = /Listening on (\S+)/.exec(said) ?? [];
      if (address === undefined) return;
      said = "";
      resolve(`http://${address}`);
    });
  });
  return {
    url,
    async request<T>(method: string, params: readonly unknown[] = []) {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
      });
      const { result, error } = (await answer.json()) as { result: T; error?: { message: string } };
      if (error) throw new Error(`${method}: ${error.message}`);
      return result;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
