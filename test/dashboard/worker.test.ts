import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RigAnswer } from "@openpool/protocol";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ADA, pushUnhurried } from "../e2e/pool.ts";
import { bin } from "../e2e/program.ts";
import { expectForEveryone, openBrowser, openPage, visit } from "./browser.ts";
import { type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 300_000 });
const poll: typeof expect.poll = (read) => expect.poll(read, { timeout: 60_000 });

/** A name that once was the address of another page. */
const RIG = "settings";
let dir: string;
let world: PagesWorld;
let browser: Browser;
let worker: ChildProcess | undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-worker-pages-"));
  [world, browser] = await Promise.all([startPagesWorld(), openBrowser()]);
}, 120_000);
afterAll(async () => {
  if (worker?.exitCode === null) {
    const ended = new Promise((resolve) => worker?.once("exit", resolve));
    worker.kill("SIGTERM");
    await ended;
  }
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

test("the page of a rig shows what the program found out on its machine, and then what it does", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}/${RIG}`);
  await page.getByText("This rig has not been here.").waitFor();

  // As on the page for joining, on the processor; capacity is measured.
  const flags = ["--pool", world.pool.addr, "--address", ADA, "--name", RIG, "--devices", "cpu", "--work-dir", dir];
  worker = spawn(process.execPath, [bin, "worker", ...flags], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  // Nobody loads the page anew.
  const main = page.locator("main");
  const device = main.locator("[data-device=cpu]");
  await device.waitFor({ timeout: 240_000 });
  const rig = await world.ask<RigAnswer>(`/v1/workers/${ADA}/rigs/${RIG}`);
  const [told] = rig.machine?.devices ?? [];
  expect(told?.encoders).toContain("libx264");
  expect(told?.sessions).toBe(rig.capacity);
  for (const words of [told?.model, "libx264", `${rig.capacity} stream`, "real time"]) {
    expect(await device.textContent()).toContain(words);
  }
  const words = (await main.textContent()) ?? "";
  expect(words).toContain("Open Pool worker");
  expect(words).toContain(`FFmpeg${rig.machine?.software.ffmpeg}`);
  expect(words).toContain(`System${rig.machine?.software.system}`);
  expect(rig.preflight?.checks.length).toBeGreaterThan(1);
  await main.getByText(`All ${rig.preflight?.checks.length} tests passed.`).waitFor();
  expect(await main.locator("[data-check=passed]").count()).toBe(rig.preflight?.checks.length);
  expect(words).toContain("No result in this time.");

  const gateway = world.pool.gateway();
  for (const seq of [0, 1, 2]) expect((await pushUnhurried(gateway, "real", seq)).kind).toBe("done");
  const counted = async (): Promise<number> => {
    const counts = await main.locator(".bars dd.text-right").allTextContents();
    return counts.reduce((sum, one) => sum + Number(one), 0);
  };
  await poll(counted).toBe(3);
  await poll(() => main.locator("[data-job]").count()).toBe(3);
  const { windows, claims } = await world.ask<RigAnswer>(`/v1/workers/${ADA}/rigs/${RIG}`);
  expect(BigInt(windows["24h"].earnedWei)).toBeGreaterThan(0n);
  expect(claims.claimedPixels24h).toBe(claims.measuredPixels24h);
  await main.getByText("Every claim fits what was measured.").waitFor();
  await main.getByText("chosen").first().waitFor();

  await expectForEveryone(page, "rig of ours");
  // The answer that there is no such rig is told by the browser itself.
  expect(watched.complaints.filter((line) => !line.includes("404"))).toEqual([]);
});

test("the name of a rig is never the address of another page", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}`);
  await page.locator("main table").getByRole("link", { name: RIG, exact: true }).first().click();
  await page.waitForURL(`**/w/${ADA}/${RIG}`);
  expect(await page.locator("h1").textContent()).toContain(`.${RIG}`);
  await page.goBack();
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await page.waitForURL(`**/settings/${ADA}`);
  await page.getByText("Sign in with the wallet of this address.").waitFor();
  expect(watched.complaints).toEqual([]);
});
