import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = fileURLToPath(new URL("../../bin/openpool.js", import.meta.url));

test("a worker whose pool does not answer stays, tries again, and ends on the first signal", async () => {
  const workDir = await mkdtemp(join(tmpdir(), "openpool-worker-test-"));
  // A pool that hangs up on everyone.
  let calls = 0;
  const pool = createServer((socket) => {
    calls += 1;
    socket.destroy();
  });
  pool.listen(0, "127.0.0.1");
  await new Promise((resolve) => pool.once("listening", resolve));
  const address = pool.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    const args = ["worker", "--pool", `127.0.0.1:${port}`, "--address", `0x${"1".repeat(40)}`, "--devices", "cpu"];
    args.push("--max-sessions", "1", "--work-dir", workDir);
    const worker = execFile(process.execPath, [bin, ...args]);
    const ended = new Promise((resolve) => worker.once("exit", (code) => resolve(code)));
    // Between two calls it waits with nothing open.
    await expect.poll(() => calls, { timeout: 100_000 }).toBeGreaterThanOrEqual(3);
    expect(worker.exitCode).toBeNull();
    worker.kill("SIGTERM");
    expect(await ended).toBe(0);
  } finally {
    pool.close();
    await rm(workDir, { recursive: true });
  }
}, 120_000);
