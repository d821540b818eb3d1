import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { childrenOf, processesWith, stillRunning } from "../testing/processes.ts";

const bin = fileURLToPath(new URL("../../bin/openpool.js", import.meta.url));

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs it to its end; once it has said `stopAt`, it is told to stop. */
function openpool(args: readonly string[], env: Record<string, string>, stopAt?: string): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [bin, ...args], { env: { ...process.env, ...env } }, (_error, out, err) =>
      resolve({ code: child.exitCode, out, err }),
    );
    let said = "";
    child.stderr?.on("data", (text: string) => {
      const before = said;
      said += text;
      if (stopAt !== undefined && said.includes(stopAt) && !before.includes(stopAt)) child.kill("SIGTERM");
    });
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

const lastWords = /^paid (\d+) of (\d+) credited to (\d) workers in (0x[0-9a-f]{64})$/;
const patient = { timeout: 120_000, interval: 50 };

/** Wei of an amount as it is shown. */
function parseEth(text: string): bigint {
  const [whole = "", fraction = ""] = text.split(".");
  return BigInt(whole + fraction.padEnd(18, "0"));
}

/** Runs a demo to its end in a directory of its own, and looks that nothing of it is left. */
async function demo(run: (env: Record<string, string>) => Promise<Ran>): Promise<Ran> {
  const temp = await mkdtemp(join(tmpdir(), "openpool-demo-test-"));
  try {
    // Settings of the user's own must not reach the demo's pool and workers.
    const ran = await run({ TMPDIR: temp, OPENPOOL_LISTEN: "0.0.0.0:1", OPENPOOL_DATA_DIR: "/nowhere" });
    expect(await processesWith(temp)).toEqual([]);
    // What failed keeps its logs.
    if (ran.code === 0) expect(await readdir(temp), ran.err).toEqual([]);
    return ran;
  } finally {
    await rm(temp, { recursive: true });
  }
}

test("without a terminal, real segments go through a real pool and are paid, the books are checked, and nothing is left", async () => {
  const { code, out, err } = await demo((env) => openpool(["demo", "--no-install"], env));
  expect([code, err]).toEqual([0, expect.stringContaining("2 workers joined")]);
  expect(out).toContain("20 segments done, 0 lost, 0 wrong");
  expect(out).toContain("20 × P240p30fps16x9 (426×240)");
  expect(out).toMatch(/0x1111…1111\.rig1 +\d+ segments? +0\.\d+ ETH/);
  expect(err).toContain("openpool ledger check: the books are right: 20 credits compared with the log");
  const [, paid = "0", credited, workers, hash] = lastWords.exec(lastLine(out)) ?? [];
  expect(paid).toBe(credited);
  expect(BigInt(paid)).toBeGreaterThan(0n);
  // The run, its intents with their transactions, and what each worker had before and after.
  const [, runEth, paidWorkers] = / {2}run \S+: (0\.\d+) ETH to (\d) workers?, done\n/.exec(err) ?? [];
  expect(paidWorkers).toBe(workers);
  expect(err).toContain(`  nonce 0  ${hash}  final\n`);
  const changes = [...err.matchAll(/ {2}(0x\w{4}…\w{4}) {2}(\S+) ETH before, (\S+) ETH after\n/g)];
  expect(changes.map(([, worker]) => worker).toSorted()).toEqual(
    ["0x1111…1111", "0x2222…2222"].slice(0, Number(workers)),
  );
  expect(changes.map(([, , before]) => before)).toEqual(changes.map(() => "0"));
  const after = changes.reduce((sum, change) => sum + parseEth(change[3] ?? ""), 0n);
  expect([after, parseEth(runEth ?? "")]).toEqual([BigInt(paid), BigInt(paid)]);
}, 600_000);

test("killed with no chance to clean up, its pool, database and chain end all the same", async () => {
  const temp = await mkdtemp(join(tmpdir(), "openpool-demo-killed-"));
  try {
    // So that the database lies in it, whoever it runs as.
    await chmod(temp, 0o755);
    const env = { ...process.env, TMPDIR: temp };
    const child = spawn(process.execPath, [bin, "demo", "--no-install", "--once", "20"], { env, stdio: "ignore" });
    const exit = once(child, "exit");
    // The pool has only just begun: it does not watch for our end yet.
    await expect.poll(() => processesWith(temp), patient).toContainEqual(expect.stringContaining(" pool --data-dir "));
    const below = await childrenOf(child.pid ?? 0);
    child.kill("SIGKILL");
    await exit;
    // The pool, the chain and who watches over that; a machine that stands still may have let it get further.
    expect(below.length).toBeGreaterThanOrEqual(3);
    await expect.poll(() => processesWith(temp), patient).toEqual([]);
    await expect.poll(() => stillRunning(below), patient).toEqual([]);
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
}, 600_000);

test("told to stop, a loop pays what was credited by then", async () => {
  const { code, out, err } = await demo((env) => openpool(["demo", "--no-install", "--loop"], env, "2 done, 0 lost"));
  expect(err).toContain("2 workers joined");
  // It is given five seconds for it; where that is too short, it says so and has failed.
  if (lastLine(out).startsWith("it ended before everything was paid")) expect(code).toBe(1);
  else {
    expect(code, err).toBe(0);
    const [, paid, credited] = lastWords.exec(lastLine(out)) ?? [];
    expect([BigInt(paid ?? 0) > 0n, paid]).toEqual([true, credited]);
  }
}, 600_000);

test("a number that makes no sense is refused before anything starts", async () => {
  expect(await openpool(["demo", "--once", "none", "--workers", "0"], {})).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--once[^]*--workers/),
  });
});
