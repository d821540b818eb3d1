import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "@openpool/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commandPool, DataDirInUseError, lockDataDir } from "./data-dir-lock.ts";
import { runDirectory } from "./run-directory.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "openpool-lock-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const deps = { clock: systemClock };

test("of many who start together exactly one gets the data directory", async () => {
  for (let round = 0; round < 10; round++) {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockDataDir(dir, deps)));
    const holders = results.filter((one) => one.status === "fulfilled");
    expect(holders).toHaveLength(1);
    for (const one of results) if (one.status === "rejected") expect(one.reason).toBeInstanceOf(DataDirInUseError);
    await holders[0]!.value[Symbol.asyncDispose]();
    expect(readdirSync(dir)).toEqual([]);
  }
});

test("of many processes that start at the same instant exactly one gets it, whatever else the machine does", async () => {
  // As built: a dozen compilers at once would be the test.
  const built = join(import.meta.dirname, "..", "..", "dist", "supervisor", "data-dir-lock.js");
  const script = `
    import { once } from "node:events";
    import { systemClock } from "@openpool/base";
    import { lockDataDir } from ${JSON.stringify(built)};
    console.log("ready");
    await once(process.stdin, "data");
    const taken = await lockDataDir(${JSON.stringify(dir)}, { clock: systemClock }).catch((error) => error);
    console.log(taken.info?.code ?? "held");
    await once(process.stdin, "end");
    process.exit();
  `;
  const processes = Array.from({ length: 10 }, () =>
    spawn(process.execPath, ["--input-type=module", "-e", script], {
      cwd: import.meta.dirname,
      stdio: ["pipe", "pipe", "inherit"],
    }),
  );
  const lines = processes.map((one) => {
    const reader = createInterface({ input: one.stdout })[Symbol.asyncIterator]();
    return async (): Promise<unknown> => (await reader.next()).value;
  });
  expect(new Set(await Promise.all(lines.map((next) => next())))).toEqual(new Set(["ready"]));
  for (const { stdin } of processes) stdin.write("go\n");
  const said = await Promise.all(lines.map((next) => next()));
  expect(said.filter((one) => one === "held")).toHaveLength(1);
  expect(said.filter((one) => one === "supervisor/data-dir-in-use")).toHaveLength(9);
  const gone = processes.map((one) => new Promise((resolve) => one.once("exit", resolve)));
  for (const { stdin } of processes) stdin.end();
  await Promise.all(gone);
});

test("it is free again once given back, and the same by any spelling of its name", async () => {
  const first = await lockDataDir(dir, deps);
  await expect(lockDataDir(join(dir, "..", dir.slice(dir.lastIndexOf("/") + 1)), deps)).rejects.toThrow("in use");
  await first[Symbol.asyncDispose]();
  await using second = await lockDataDir(dir, deps);
  expect(statSync(second.runDir).mode & 0o777).toBe(0o700);
});

test("a killed holder leaves nothing in the way", async () => {
  const script = `
    import { systemClock } from "@openpool/base";
    import { lockDataDir } from ${JSON.stringify(join(import.meta.dirname, "data-dir-lock.ts"))};
    await lockDataDir(${JSON.stringify(dir)}, { clock: systemClock });
    console.log("held");
  `;
  const file = join(dir, "hold.mjs");
  writeFileSync(file, script);
  const holder = spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", "--input-type=module", "-e", script],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  await expect(lockDataDir(dir, deps)).rejects.toThrow(`process id ${holder.pid}`);
  const gone = new Promise((resolve) => holder.once("exit", resolve));
  holder.kill("SIGKILL");
  await gone;
  await using lock = await lockDataDir(dir, deps);
  const left = readdirSync(lock.runDir).filter((name) => name.startsWith("lock-"));
  expect(left.filter((name) => !name.startsWith(`lock-${process.pid}-`))).toEqual([]);
});

test("somebody who is there and says nothing still holds it", async () => {
  const runDir = await runDirectory(dir);
  mkdirSync(runDir, { mode: 0o700 });
  const silent = net.createServer();
  await new Promise<void>((resolve) => void silent.listen(join(runDir, "lock-4711-0123456789abcdef.sock"), resolve));
  writeFileSync(join(runDir, "lock-4711-0123456789abcdef.held"), "");
  await expect(lockDataDir(dir, { ...deps, helloTimeoutMs: 100 })).rejects.toThrow("process id 4711");
  silent.close();
});

test("somebody who contends and is too busy to answer is waited for", async () => {
  const runDir = await runDirectory(dir);
  mkdirSync(runDir, { mode: 0o700 });
  const busy = net.createServer();
  const asked = new Promise((resolve) => busy.once("connection", resolve));
  // Behind every other in the order of names: it is the one that gives way.
  await new Promise<void>((resolve) => void busy.listen(join(runDir, "lock-99999999-ffffffffffffffff.sock"), resolve));
  const taken = lockDataDir(dir, { ...deps, helloTimeoutMs: 1_000 });
  await asked;
  busy.close();
  await (await taken)[Symbol.asyncDispose]();
});

test("somebody who contends and never answers is named", async () => {
  const runDir = await runDirectory(dir);
  mkdirSync(runDir, { mode: 0o700 });
  const stopped = net.createServer();
  await new Promise<void>(
    (resolve) => void stopped.listen(join(runDir, "lock-99999999-ffffffffffffffff.sock"), resolve),
  );
  await expect(lockDataDir(dir, { ...deps, helloTimeoutMs: 50 })).rejects.toThrow("process id 99999999");
  stopped.close();
});

test("a data directory with a long path has its sockets elsewhere, for all alike", async () => {
  const deep = join(dir, "d".repeat(60), "e".repeat(60));
  mkdirSync(deep, { recursive: true });
  const lock = await lockDataDir(deep, deps);
  expect(lock.runDir.startsWith(deep)).toBe(false);
  await expect(lockDataDir(deep, deps)).rejects.toThrow("in use");
  lock.answer(async (command) => ({ got: command }));
  expect(await commandPool(deep, { command: "x" })).toEqual({ pid: process.pid, answer: { got: { command: "x" } } });
  await lock[Symbol.asyncDispose]();
  expect(() => statSync(lock.runDir)).toThrow("ENOENT");
});

test("commands wait until they can be answered, and rubbish is answered as nothing known", async () => {
  await using lock = await lockDataDir(dir, deps);
  const early = commandPool(dir, "not an object");
  const gaveUp = new AbortController();
  const abandoned = commandPool(dir, { command: "late" }, gaveUp.signal);
  gaveUp.abort();
  expect(await abandoned).toMatchObject({ answer: undefined });
  lock.answer(async (command) => ({ got: command ?? "nothing" }));
  expect(await early).toMatchObject({ answer: { got: "nothing" } });
  expect(await commandPool(join(dir, "elsewhere"), {})).toBeUndefined();
});

test("a run directory that others can enter is refused", async () => {
  mkdirSync(join(dir, "run"), { mode: 0o755 });
  await expect(lockDataDir(dir, deps)).rejects.toThrow("not a private directory");
});
