// Builds the pages into dist/, unless they are newer than everything they are made from. Plain JavaScript, since it runs
// before anything is built.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as zlib from "node:zlib";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "..", "..");
// Its time is when the last good build started: what changed later is not in it.
const stamp = join(here, "dist", ".built");

function newest(path) {
  const found = fs.statSync(path, { throwIfNoEntry: false });
  if (found === undefined || path.endsWith(".test.ts")) return 0;
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(found.mtimeMs, ...fs.readdirSync(path).map((name) => newest(join(path, name))));
}

/** Compressed once and well, here, instead of badly with every request. */
function compress(folder) {
  for (const name of fs.readdirSync(folder, { recursive: true })) {
    if (!/\.(?:js|css|svg|html)$/.test(name)) continue;
    const path = join(folder, name);
    const data = fs.readFileSync(path);
    fs.writeFileSync(`${path}.br`, zlib.brotliCompressSync(data));
    fs.writeFileSync(`${path}.gz`, zlib.gzipSync(data, { level: 9 }));
  }
}

/** By two steps that are whole or did not happen, whoever else takes them at this moment. */
function putInPlace(made) {
  const dist = join(here, "dist");
  const old = `${made}-old`;
  try {
    fs.renameSync(dist, old);
  } catch (error) {
    // There is none yet, or the other one has just taken it away.
    if (error.code !== "ENOENT") throw error;
  }
  try {
    fs.renameSync(made, dist);
  } catch (error) {
    // The other one was faster, and made the same of the same sources.
    if (!isNew()) throw error;
  }
  fs.rmSync(old, { recursive: true, force: true });
}

const inputs = ["src", "public", "index.html", "vite.config.ts", "build.js", "package.json"].map((name) =>
  join(here, name),
);
inputs.push(join(root, "packages", "base", "src"), join(root, "packages", "protocol", "src"));

const isNew = () => newest(stamp) > 0 && inputs.every((input) => newest(input) <= newest(stamp));

if (!isNew()) {
  const startedAt = new Date();
  // Two who find the pages old at once each build their own, and the first to be done puts it in place.
  const made = join(here, `.dist-${process.pid}`);
  const vite = join(root, "node_modules", "vite", "bin", "vite.js");
  const { status } = spawnSync(
    process.execPath,
    [vite, "build", "--outDir", made, "--emptyOutDir", "--logLevel", "warn"],
    // Whatever the caller is, a test for instance: these are the pages that people get.
    { cwd: here, stdio: "inherit", env: { ...process.env, NODE_ENV: "production" } },
  );
  if (status === 0 && !isNew()) {
    compress(made);
    fs.writeFileSync(join(made, ".built"), "");
    fs.utimesSync(join(made, ".built"), startedAt, startedAt);
    putInPlace(made);
  }
  fs.rmSync(made, { recursive: true, force: true });
  if (status !== 0) process.exit(status ?? 1);
}
