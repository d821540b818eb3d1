import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** A checkout with one small package, the real bin, and what `npm ci` puts beside it. */
let checkout: string;
beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), "openpool-bin-"));
  const compilerOptions = {
    composite: true,
    module: "nodenext",
    target: "es2022",
    outDir: "dist",
    rootDir: "src",
    types: [],
  };
  await file("tsconfig.base.json", JSON.stringify({ compilerOptions: {} }));
  await file("tsconfig.json", JSON.stringify({ files: [], references: [{ path: "packages/cli" }] }));
  await file(
    "packages/cli/tsconfig.json",
    JSON.stringify({ compilerOptions, include: ["src"], exclude: ["src/*.test.ts"] }),
  );
  await file("packages/cli/package.json", JSON.stringify({ type: "module" }));
  await source(`console.log("first");`);
  await cp(join(root, "packages/cli/bin"), join(checkout, "packages/cli/bin"), { recursive: true });
  // A compiler that takes no time: sources without types are programs already.
  const compiler = `
    const fs = require("node:fs");
    const source = fs.readFileSync("packages/cli/src/index.ts", "utf8");
    if (source.includes("number =")) { console.log("error TS2322: not a number"); process.exit(2); }
    fs.mkdirSync("packages/cli/dist", { recursive: true });
    fs.writeFileSync("packages/cli/dist/index.js", source);`;
  await file("node_modules/typescript/bin/tsc", compiler);
});
afterEach(() => rm(checkout, { recursive: true }));

async function file(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(checkout, path)), { recursive: true });
  await writeFile(join(checkout, path), content);
}

function source(body: string): Promise<void> {
  return file("packages/cli/src/index.ts", `export async function main() {\n${body}\n}\n`);
}

function start(): ChildProcess {
  return spawn(process.execPath, [join(checkout, "packages/cli/bin/openpool.js")]);
}

function ended(
  child: ChildProcess,
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk) => (out += String(chunk)));
  child.stderr?.on("data", (chunk) => (err += String(chunk)));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, out, err })));
}

const building = expect.stringContaining("building");

test("the bin is executable, so that npm can link it before anything is built", async () => {
  expect((await stat(join(root, "packages/cli/bin/openpool.js"))).mode & 0o111).toBe(0o111);
});

test("the compiler that it runs is TypeScript's", async () => {
  await rm(join(checkout, "node_modules/typescript"), { recursive: true });
  await symlink(join(root, "node_modules/typescript"), join(checkout, "node_modules/typescript"));
  await file("packages/cli/src/index.ts", `export const main = (): number => 0;\n`);
  expect(await ended(start())).toEqual({ code: 0, out: "", err: building });
});

test("the first run builds, the next one does not, and one after a change does", async () => {
  expect(await ended(start())).toEqual({ code: 0, out: "first\n", err: building });
  await file("packages/cli/src/index.test.ts", "a test is no part of the program");
  expect(await ended(start())).toEqual({ code: 0, out: "first\n", err: "" });
  await source(`console.log("second");`);
  // Clocks of file systems are coarse: what is written in the same moment must not pass for built.
  const later = new Date(Date.now() + 1_000);
  await utimes(join(checkout, "packages/cli/src/index.ts"), later, later);
  expect(await ended(start())).toEqual({ code: 0, out: "second\n", err: building });
});

test("two first runs at once build once, and both run", async () => {
  const runs = await Promise.all([ended(start()), ended(start()), ended(start())]);
  expect(runs.map((one) => [one.code, one.out])).toEqual(Array.from({ length: 3 }, () => [0, "first\n"]));
  expect(runs.filter((one) => one.err.includes("building"))).toHaveLength(1);
  expect(await readdir(join(checkout, "node_modules/.cache"))).toEqual([]);
});

test("a lock that a killed run has left is taken over", async () => {
  await file("node_modules/.cache/openpool-build.lock", "999999999");
  expect(await ended(start())).toEqual({ code: 0, out: "first\n", err: building });
});

test("a source that does not compile is told with the compiler's words, and nothing old is run instead", async () => {
  await ended(start());
  await source(`const x: number = "text"; console.log(String(x));`);
  const later = new Date(Date.now() + 1_000);
  await utimes(join(checkout, "packages/cli/src/index.ts"), later, later);
  expect(await ended(start())).toEqual({ code: 1, out: "", err: expect.stringMatching(/build failed:\s.*TS2322/s) });
});

test("without the compiler it says what to do", async () => {
  await rm(join(checkout, "node_modules/typescript"), { recursive: true });
  expect(await ended(start())).toEqual({ code: 1, out: "", err: expect.stringContaining("npm ci") });
});

test("signals reach the program itself, whose exit code is the command's", async () => {
  const program = `
    const running = globalThis.process;
    running.once("SIGTERM", () => running.exit(42));
    setInterval(() => {}, 1000);
    console.log("ready");`;
  await source(program);
  const child = start();
  const end = ended(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  child.kill("SIGTERM");
  expect((await end).code).toBe(42);
});
