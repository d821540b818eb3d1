import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { processesWith } from "../testing/processes.ts";

const bin = fileURLToPath(new URL("../../bin/openpool.js", import.meta.url));

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function openpool(args: readonly string[], env: Record<string, string>): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [bin, ...args], { env: { ...process.env, ...env } }, (_error, out, err) =>
      resolve({ code: child.exitCode, out, err }),
    );
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

test("--once pushes real segments through a real pool, sums up, and leaves nothing running and nothing behind", async () => {
  const temp = await mkdtemp(join(tmpdir(), "openpool-demo-test-"));
  try {
    // Settings of the user's own must not reach the demo's pool and workers.
    const env = { TMPDIR: temp, OPENPOOL_LISTEN: "0.0.0.0:1", OPENPOOL_DATA_DIR: "/nowhere" };
    const { code, out, err } = await openpool(["demo", "--once", "4", "--no-install"], env);
    expect([code, err]).toEqual([0, expect.stringContaining("2 workers joined")]);
    expect(out).toContain("4 segments done, 0 lost, 0 wrong");
    expect(out).toContain("4 × P240p30fps16x9 (426×240)");
    expect(out).toMatch(/0x1111…1111\.rig1 +\d segments? +0\.\d+ ETH/);
    const [, paid, credited, workers] =
      /^paid (\d+) of (\d+) credited to (\d) workers in 0x[0-9a-f]{64}$/.exec(lastLine(out)) ?? [];
    expect([paid, Number(workers)]).toEqual([credited, expect.any(Number)]);
    expect(BigInt(paid ?? 0)).toBeGreaterThan(0n);
    expect(await processesWith(temp)).toEqual([]);
    expect(await readdir(temp)).toEqual([]);
  } finally {
    await rm(temp, { recursive: true });
  }
}, 120_000);

test("a number that makes no sense is refused before anything starts", async () => {
  expect(await openpool(["demo", "--once", "none", "--workers", "0"], {})).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--once[^]*--workers/),
  });
});
