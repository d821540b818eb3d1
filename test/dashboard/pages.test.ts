import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ADA, BOB } from "../e2e/pool.ts";
import { barriers, DESK, openBrowser, openPage, PHONE, PICTURES, settle, shifts, sideways, visit } from "./browser.ts";
import { bringToLife, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 60_000 });
const poll: typeof expect.poll = (read) => expect.poll(read, { timeout: 20_000 });

let world: PagesWorld;
let browser: Browser;

beforeAll(async () => {
  [world, browser] = await Promise.all([startPagesWorld(), openBrowser()]);
  await bringToLife(world);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
});

const PAGES = {
  pool: "/",
  workers: "/workers",
  worker: `/w/${ADA}`,
  rig: `/w/${ADA}/rig1`,
  "rig that left": `/w/${ADA}/old-box`,
  stranger: "/w/0x00000000219ab540356cBB839Cbe05303d7705Fa",
  join: `/join?address=${ADA}`,
  payouts: "/payouts",
  transparency: "/transparency",
  status: "/status",
  "nothing there": "/no-such-page",
} as const;

async function dressed(page: Page, size: { width: number; height: number }, scheme: "light" | "dark"): Promise<void> {
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await settle(page);
}

describe("every page with the real data of a running pool", () => {
  test.each(Object.entries(PAGES))(
    "%s is readable for everyone, wide and narrow, light and dark, and complains of nothing",
    async (name, path) => {
      await using watched = await openPage(browser);
      const { page, complaints } = watched;
      const response = await visit(watched, `${world.url}${path}`);
      expect(response?.headers()["content-security-policy"]).toMatch(/script-src 'self'(?:;|$)/);
      expect(await shifts(page)).toBeLessThan(0.1);
      for (const [width, size] of Object.entries({ 1440: DESK, 360: PHONE })) {
        for (const scheme of ["light", "dark"] as const) {
          await dressed(page, size, scheme);
          await page.screenshot({
            path: join(PICTURES, `${name.replaceAll(" ", "-")}-${width}-${scheme}.png`),
            fullPage: true,
          });
          // Both widths and both palettes are tried; their other two pairings hold nothing new.
          if ((size === DESK) === (scheme === "light")) {
            expect(await barriers(page), `${width} ${scheme}`).toEqual([]);
          }
          expect(await sideways(page), `${width} ${scheme}`).toBe(0);
        }
      }
      expect(complaints).toEqual([]);
    },
  );
});

test("what comes late moves nothing on the first page", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const parts = ["**/v1/rigs?**", "**/v1/solvency", "**/v1/pool"];
  const open: (() => void)[] = [];
  for (const part of parts) {
    const opened = new Promise<void>((resolve) => open.push(resolve));
    await page.route(part, async (route) => {
      await opened;
      await route.continue();
    });
  }
  await page.goto(`${world.url}/`);
  for (const [i, part] of parts.entries()) {
    const arrived = page.waitForResponse(part);
    open[i]?.();
    await arrived;
    await page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))");
  }
  await settle(page);
  await page.getByText("Where the money is").waitFor();
  expect(await shifts(page)).toBeLessThan(0.01);
});

test("every amount on a page carries its exact wei, and they are those of the books", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${ADA}`);
  const { balance } = await world.ask<{ balance: { unpaidWei: string; heldWei: string } }>(`/v1/workers/${ADA}`);
  const shown = watched.page.locator(".amount-large [data-wei]");
  expect(await shown.getAttribute("data-wei")).toBe(balance.unpaidWei);
  expect(await shown.getAttribute("title")).toBe(`${balance.unpaidWei.replaceAll(/\B(?=(\d{3})+$)/g, "\u00a0")} wei`);
  const all = await watched.page
    .locator("[data-wei]")
    .evaluateAll((found) =>
      found.map((one) => String((one as { getAttribute(name: string): unknown }).getAttribute("data-wei"))),
    );
  expect(all.length).toBeGreaterThan(10);
  for (const wei of all) expect(wei).toMatch(/^-?\d+$/);
});

test("times are the reader's own, and UTC when hovered over", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${ADA}`);
  const time = watched.page.locator("table td.whitespace-nowrap time").first();
  const at = await time.getAttribute("datetime");
  expect(await time.getAttribute("title")).toBe(`${at!.slice(0, 19).replace("T", " ")} UTC`);
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", timeStyle: "short", hourCycle: "h23" });
  expect(await time.textContent()).toContain(clock.format(Date.parse(at!)));
});

test("the first page costs less than 200 kB of script, and nothing from elsewhere", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/`);
  await watched.page.waitForLoadState("load");
  await poll(() => watched.bytes.get("font") ?? 0).toBeGreaterThan(0);
  expect(watched.bytes.get("script")).toBeLessThan(200_000);
  expect(watched.bytes.get("script")).toBeGreaterThan(10_000);
  expect(watched.requests.filter((url) => !url.startsWith(world.url))).toEqual([]);
  const files = watched.requests.filter((url) => !url.includes("/v1/"));
  expect(files.length).toBeLessThan(20);
  expect([...watched.bytes.values()].reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(450_000);
});

test("a page and its charts need no style or script that a security policy would forbid", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${ADA}?window=1h`);
  await watched.page.locator("canvas").waitFor();
  expect(watched.complaints).toEqual([]);
  const inline = await watched.page.evaluate<number>(
    "document.querySelectorAll('script:not([src]), [onclick], [onload], [onerror]').length",
  );
  expect(inline).toBe(0);
});

test("the keyboard reaches everything: skip link, look-up by slash, tables sorted by a button", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/workers`);
  await page.keyboard.press("Tab");
  expect(await page.evaluate("document.activeElement.className")).toBe("skip");
  await page.keyboard.press("/");
  await page.keyboard.type(`${BOB}.k8s-07`);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/w/${BOB}/k8s-07`);
  await page.goBack();
  const sort = page.getByRole("button", { name: "Success" });
  await sort.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/sort=success/);
  expect(await page.locator("th[aria-sort]").textContent()).toContain("Success");
});

test("filters of the list are in its address, and an address with filters shows them", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/workers?state=offline`);
  await poll(() => page.locator("tbody tr").count()).toBe(1);
  expect(await page.locator("tbody").textContent()).toContain("old-box");
  await page.getByLabel("State").selectOption("");
  await poll(() => page.locator("tbody tr").count()).toBe(3);
  await page.getByLabel("Part of an address or a name").fill("k8s");
  await page.waitForURL(/search=k8s/);
  await poll(() => page.locator("tbody tr").count()).toBe(1);
});

test("what a rig calls itself is text, not a page", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${ADA}/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E`);
  expect(await watched.page.locator("main img").count()).toBe(0);
  expect(await watched.page.locator("main").textContent()).toContain("A rig's name has 1 to 32");
});

test("the light and the dark are a choice that stays", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/`);
  const paper = (): Promise<string> => page.evaluate("getComputedStyle(document.documentElement).backgroundColor");
  const light = await paper();
  await page.getByRole("button", { name: "Dark" }).click();
  await poll(paper).not.toBe(light);
  const dark = await paper();
  await page.reload();
  expect(await paper()).toBe(dark);
});

test("what a rig works with, and what to do about a test that failed, is on its page, also when the rig has left", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}/rig1`);
  const main = page.locator("main");
  await main.locator('[data-device="nvidia"]').getByText("2 × NVIDIA L4 <b>card</b>").waitFor();
  const words = await main.textContent();
  expect(words).toContain("driver 550.90.07, 22.5 GiB");
  expect(words).toContain("Open Pool worker 0.1.0");
  const failed = main.locator('[data-check="failed"]');
  expect(await failed.textContent()).toContain("encode h264_nvenc on nvidia:2");
  expect(await failed.textContent()).toContain("needs 570.0. Update the NVIDIA driver");
  await visit(watched, `${world.url}/w/${ADA}/old-box`);
  await main.locator('[data-device="nvidia"]').getByText("NVIDIA L4 <b>card</b>").waitFor();
  await visit(watched, `${world.url}/w/${BOB}/k8s-07`);
  expect(await main.textContent()).toContain("This rig's software does not say what it runs on.");
  expect(watched.complaints).toEqual([]);
});

test("the pool's page counts the devices that are online, and each leads to the rigs that have it", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/`);
  const device = page.locator('[data-device="NVIDIA L4 <b>card</b>"]');
  expect(await device.textContent()).toContain("2 in 1 rig");
  await device.getByRole("link").click();
  await page.waitForURL(/device=/);
  await poll(() => page.locator("tbody tr").count()).toBe(2);
  await page.getByLabel("Device").selectOption("");
  await poll(() => page.locator("tbody tr").count()).toBe(3);
});
