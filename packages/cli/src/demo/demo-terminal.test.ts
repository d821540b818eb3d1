import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { processesWith } from "../testing/processes.ts";
import { type Rendered, rendered } from "../testing/rendered.ts";

const bin = fileURLToPath(new URL("../../bin/openpool.js", import.meta.url));

/** The demo in a terminal of its own: `script` of util-linux makes one, on every Linux that has a login. */
async function openDemo(size: { readonly columns: number; readonly rows: number }) {
  const temp = await mkdtemp(join(tmpdir(), "openpool-demo-terminal-"));
  const command = `stty cols ${size.columns} rows ${size.rows}; exec "${process.execPath}" "${bin}" demo --no-install`;
  const env = { ...process.env, TMPDIR: temp, TERM: "xterm", SHELL: "/bin/sh" };
  const terminal = spawn("script", ["-qfec", command, "/dev/null"], { env, stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  terminal.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const ended = once(terminal, "exit");
  const look = (): Rendered => rendered(output, size);
  return {
    temp,
    look,
    text: () => look().rows.join("\n"),
    output: () => output,
    press: (key: string) => void terminal.stdin.write(key),
    ended: ended.then(([code]) => code as number | null),
    async [Symbol.asyncDispose]() {
      terminal.kill();
      await ended;
      await rm(temp, { recursive: true, force: true });
    },
  };
}

const patient = { timeout: 180_000, interval: 100 };

test("in a terminal keys kill, add and pay workers, the view keeps calm, and Ctrl-C gives everything back", async () => {
  await using demo = await openDemo({ columns: 100, rows: 44 });
  const done = (): number => Number(/(\d+) done/.exec(demo.text())?.[1] ?? 0);
  await expect.poll(done, patient).toBeGreaterThan(1);
  const first = demo.text();
  expect(first).toMatch(/rig1[^]*rig2/);
  expect(first).toContain("q end");
  demo.press("k");
  await expect.poll(demo.text, patient).toMatch(/killed 0x[^]*rig\d in the middle of a segment|rig\d, which was idle/);
  const atKill = done();
  await expect.poll(done, patient).toBeGreaterThan(atKill + 2);
  demo.press("a");
  await expect.poll(demo.text, patient).toMatch(/rig3 joined/);
  const last = demo.look();
  expect(last.rows.join("\n")).toContain("0 lost");
  expect(last).toMatchObject({ alternate: true, cursorShown: false, mistakes: [] });
  // The intent with its transaction, final on the chain, and what it changed for whom.
  demo.press("p");
  await expect
    .poll(demo.text, patient)
    .toMatch(
      / {4}run \S+: 0\.\d+ ETH to \d workers?, done *\n {4}nonce \d+ {2}0x[0-9a-f]{64} {2}final *\n {4}0x\w{4}…\w{4} {2}\S+ ETH before, 0\.\d+ ETH after/,
    );
  demo.press("\u0003");
  expect(await demo.ended).toBe(0);
  expect(demo.look()).toMatchObject({ alternate: false, cursorShown: true, mistakes: [] });
  // What is said at the end stands below what the terminal showed before.
  expect(demo.output().split("\u001b[?1049l").at(-1)).toMatch(/segments done, 0 lost, 0 wrong[^]*\(killed\)/);
  expect(await processesWith(demo.temp)).toEqual([]);
  expect(await readdir(demo.temp)).toEqual([]);
}, 600_000);
