#!/usr/bin/env node
// The openpool command. In a checkout it first builds what is missing or older than its sources, so that it works right
// after `npm ci`; then the program runs in this same process, so signals and exit codes need no passing on.
// Plain JavaScript with nothing installed but Node: npm links it before anything is built.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("..", import.meta.url));
const root = join(cli, "..", "..");
const entry = join(cli, "dist", "index.js");

function fail(code, message) {
  process.stderr.write(`openpool: ${message}\n`);
  process.exit(code);
}

/** Newest change below a folder, in ms; 0 if there is none. Tests are no part of what is built. */
function newest(folder) {
  let latest = 0;
  for (const item of fs.readdirSync(folder, { withFileTypes: true })) {
    if (item.name === "testing" || item.name.endsWith(".test.ts")) continue;
    const path = join(folder, item.name);
    latest = Math.max(latest, item.isDirectory() ? newest(path) : fs.statSync(path).mtimeMs);
  }
  return latest;
}

function changedAt(path) {
  return fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

// Its time is when the last good build started: what changed later is not in it.
const stamp = join(cli, "dist", ".built");

function upToDate() {
  const builtAt = changedAt(stamp);
  const packages = fs
    .readdirSync(join(root, "packages"))
    .map((name) => join(root, "packages", name))
    .filter((one) => fs.existsSync(join(one, "tsconfig.json")));
  return (
    builtAt > 0 &&
    changedAt(join(root, "tsconfig.base.json")) <= builtAt &&
    packages.every(
      (one) =>
        (fs.existsSync(join(one, "dist", "index.js")) || fs.existsSync(join(one, "dist", "index.html"))) &&
        changedAt(join(one, "tsconfig.json")) <= builtAt &&
        newest(join(one, "src")) <= builtAt,
    )
  );
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Runs `work` while no other process does; two first runs at once would write into each other's output. */
async function alone(lock, work) {
  for (;;) {
    try {
      const file = fs.openSync(lock, "wx");
      fs.writeFileSync(file, String(process.pid));
      fs.closeSync(file);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const age = Date.now() - changedAt(lock);
    let holder = 0;
    try {
      holder = Number(fs.readFileSync(lock, "utf8"));
    } catch {
      // It was given back just now.
    }
    // A holder that has not written its id yet gets a moment.
    const dead = holder > 0 ? !isAlive(holder) : age > 2_000;
    if (dead || age > 600_000) fs.rmSync(lock, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, 100));
  }
  try {
    work();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

function build() {
  if (upToDate()) return; // Another process has just built it.
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  if (!fs.existsSync(compiler)) {
    fail(1, `not built yet, and the compiler is missing. Run \`npm ci\` in ${root} (without --omit=dev).`);
  }
  process.stderr.write("openpool: building, once after each change …\n");
  const startedAt = new Date();
  for (const step of [[compiler, "-b"], [join(root, "packages", "dashboard", "build.js")]]) {
    if (!fs.existsSync(step[0])) continue;
    const result = spawnSync(process.execPath, step, { cwd: root, encoding: "utf8" });
    if (result.status !== 0) {
      fail(1, `the build failed:\n${result.error?.message ?? ""}${result.stdout ?? ""}${result.stderr ?? ""}`);
    }
  }
  fs.writeFileSync(stamp, "");
  fs.utimesSync(stamp, startedAt, startedAt);
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(2, `needs Node 20.19 or newer, this is ${process.versions.node}. See https://nodejs.org/en/download`);
}
// An image or a published package holds no sources: there is nothing to build from.
if (fs.existsSync(join(cli, "src")) && !upToDate()) {
  const cache = join(root, "node_modules", ".cache");
  try {
    fs.mkdirSync(cache, { recursive: true });
    await alone(join(cache, "openpool-build.lock"), build);
  } catch (error) {
    if (error.code !== "EACCES" && error.code !== "EROFS") throw error;
    // Somebody else's checkout: run what is there.
    if (!fs.existsSync(entry))
      fail(1, `not built yet, and ${root} cannot be written to. Run \`npm run build\` as its owner.`);
  }
}
const { main } = await import("../dist/index.js");
await main();
