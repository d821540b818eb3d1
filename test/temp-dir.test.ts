import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRunTempDir } from "./temp-dir.ts";

let parent: string;
beforeEach(() => (parent = mkdtempSync(join(tmpdir(), "runs-"))));
afterEach(() => rmSync(parent, { recursive: true, force: true }));

/** The id of a process that has ended. */
const deadPid = (): number => spawnSync(process.execPath, ["-e", ""]).pid;

test("a run removes what is its own, whoever is at work in it", async () => {
  const run = openRunTempDir(parent);
  expect(statSync(run.path).mode & 0o777).toBe(0o711);
  const left = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", join(run.path, "data")]);
  const gone = new Promise((resolve) => left.once("exit", (_, signal) => resolve(signal)));
  await new Promise((resolve) => left.once("spawn", resolve));
  run.remove();
  expect(await gone).toBe("SIGKILL");
  expect(existsSync(run.path)).toBe(false);
});

test("a run that was killed is cleared away by the next one; one that lives, and what is no run, is not", () => {
  const dead = join(parent, `openpool-run-${deadPid()}-abcdef`);
  const alive = join(parent, `openpool-run-${process.ppid}-abcdef`);
  const other = join(parent, "openpool-run-mine");
  for (const path of [dead, alive, other]) mkdirSync(join(path, "inside"), { recursive: true });
  openRunTempDir(parent).remove();
  expect([dead, alive, other].map((path) => existsSync(path))).toEqual([false, true, true]);
});
