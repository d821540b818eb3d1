import type {
  EarningsAnswer,
  PayoutLine,
  PoolAnswer,
  Terms,
  WorkerAnswer,
  WorkerPayoutsAnswer,
} from "@openpool/protocol";
import type { Browser, Locator } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ADA, BOB } from "../e2e/pool.ts";
import { expectForEveryone, expectStill, expectWithinBudget, openBrowser, openPage, settle, visit } from "./browser.ts";
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

describe("every page with the real data of a running pool", () => {
  test.each(Object.entries(PAGES))(
    "%s is readable for everyone, wide and narrow, light and dark, and complains of nothing",
    async (name, path) => {
      await using watched = await openPage(browser);
      const { page, complaints } = watched;
      const response = await visit(watched, `${world.url}${path}`);
      expect(response?.headers()["content-security-policy"]).toMatch(/script-src 'self'(?:;|$)/);
      await expectWithinBudget(watched);
      // The same as JSON is a link away, everywhere.
      if (name !== "nothing there") expect(await page.locator('main a[href^="/v1/"]').count()).toBeGreaterThan(0);
      expect(await page.locator("footer").textContent()).toMatch(/Updated \d+ s ago/);
      // This pool pays on no chain: nothing leads to an explorer, and there is no file of payouts.
      expect(await page.locator('main a[href*="/tx/0x"], main a[href*="/address/0x"]').count()).toBe(0);
      expect(await page.locator('main a[href$="payouts.csv"]').count()).toBe(0);
      await expectForEveryone(page, name);
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
  // Whoever waits is told so: before the first answer there is nothing to read.
  await page.getByRole("status", { name: "Loading" }).first().waitFor();
  for (const [i, part] of parts.entries()) {
    const arrived = page.waitForResponse(part);
    open[i]?.();
    await arrived;
    await page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))");
  }
  await settle(page);
  await page.getByText("Where the money is").waitFor();
  await expectStill(page);
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

test("a day is the pool's own, midnight to midnight UTC, wherever the reader is", async () => {
  await using watched = await openPage(browser, undefined, { zone: "America/New_York" });
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}?window=30d`);
  await page.getByText("per day (UTC), the worker's share").waitFor();
  const plot = page.locator(".u-over");
  const width = await plot.evaluate((one) => (one as { clientWidth: number }).clientWidth);
  await plot.hover({ position: { x: width - 8, y: 20 } });
  const { points } = await world.ask<EarningsAnswer>(`/v1/workers/${ADA}/earnings?window=30d`);
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", dateStyle: "medium" });
  await page.getByText(`${day.format(Date.parse(points.at(-1)!.at))}: `).waitFor();
});

test("a long list of devices says how much more there is, and a run in a token how much of it was paid", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const pool = await world.ask<PoolAnswer>("/v1/pool");
  const devices = Array.from({ length: 11 }, (_, i) => ({
    device: `Card ${i}`,
    kind: "nvidia" as const,
    rigs: 1,
    count: 1,
  }));
  const run: PoolAnswer["lastPayouts"][number] = {
    id: "1",
    state: "final",
    waitsFor: null,
    waitsForCoded: null,
    createdAt: "2026-11-20T08:00:00.000Z",
    finishedAt: null,
    asset: { symbol: "USDC", token: BOB, decimals: 6 },
    assetAmount: "52125000",
    workers: 1,
    totalWei: "20000000000000000",
    paidWei: "0",
    gasWei: null,
    transactions: [],
  };
  const changed = { ...pool, live: { ...pool.live, devices }, lastPayouts: [run] };
  await page.route("**/v1/pool", (route) => route.fulfill({ json: changed }));
  // Its live numbers are those of the answer.
  await page.route("**/v1/events*", (route) => route.abort());
  await visit(watched, `${world.url}/`);
  await page.getByText("as 52.125\u00a0USDC").waitFor();
  const cards = page.locator("[data-device]:visible");
  expect(await cards.count()).toBe(8);
  await page.getByText("and 3 more kinds").click();
  await poll(() => cards.count()).toBe(11);
});

test("rigs are counted by how they are, and what keeps work from one comes before its work", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const worker = await world.ask<WorkerAnswer>(`/v1/workers/${ADA}`);
  const [rig] = worker.rigs;
  if (rig === undefined) throw new Error("no rig");
  // What the pool wrote in English is not read where there is a code: who translates the pages writes it anew.
  const stateReason = "In English.";
  const one = (name: string, changed: Partial<typeof rig>) => ({
    ...rig,
    rig: name,
    streams: 0,
    stateReason,
    ...changed,
  });
  const rigs = [
    one("a", { streams: 2 }),
    one("b", { stateReasonCoded: { code: "rig-free", facts: { places: 3 } } }),
    one("c", { state: "draining", streams: 1 }),
    one("d", { standing: "probation", streams: 1 }),
    one("e", {
      standing: "barred",
      standingReason: "A word of a newer pool.",
      standingReasonCoded: { code: "unheard-of", facts: {} },
    }),
    one("f", { state: "offline" }),
  ];
  await page.route(`**/v1/workers/${ADA}`, (route) => route.fulfill({ json: { ...worker, rigs } }));
  await visit(watched, `${world.url}/w/${ADA}`);
  await page
    .getByText("6 rigs · 1 working · 1 ready · 1 draining · 1 on probation · 1 barred · 1 offline", { exact: true })
    .waitFor();
  const table = page.locator("section", { hasText: "Rigs" }).locator("table").first();
  await table.getByText("It is connected and has room for 3 streams.").waitFor();
  await table.getByText("A word of a newer pool.").waitFor();
  expect(await table.textContent()).not.toContain(stateReason);
});

test("the first page answers what is going on now, who does it with what, and what it pays", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/`);
  const main = page.locator("main");
  const pool = await world.ask<PoolAnswer>("/v1/pool");
  expect(await main.locator('[data-now="jobs"]').textContent()).toMatch(/^\d+$/);
  expect(await main.locator('[data-now="workers"]').textContent()).toContain("2 workers online");
  expect(await main.locator("h1").textContent()).toMatch(/2 rigs of 2 workers/);
  expect(await main.locator("[data-devices]").textContent()).toContain("GPUs by kind");
  for (const window of ["24h", "7d", "30d"] as const) {
    expect(await main.locator(`.figures [data-wei="${pool.windows[window].feeWei}"]`).count()).toBeGreaterThan(0);
  }
  const words = (await main.textContent()) ?? "";
  expect(words).toMatch(/Of every fee the pool keeps [\d.]+ % and [\d.]+ % goes to the worker who did the job/);
  expect(words).toContain("commission = floor(fee × commissionPpm / 1000000)");
  expect(words).toContain("Off-chain: gateways are billed");
  await main.locator("[data-health=ok]").getByRole("link", { name: "Everything works" }).waitFor();
  expect(await main.getByRole("textbox", { name: "Look up an address or a rig" }).count()).toBe(1);
});

test("every list is a file for spreadsheets too, as it is filtered", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const rowsOf = async (link: Locator): Promise<number> => {
    const response = await fetch(`${world.url}${await link.first().getAttribute("href")}`);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/csv; charset=utf-8"]);
    return (await response.text()).trimEnd().split("\r\n").length - 1;
  };
  await visit(watched, `${world.url}/workers?search=k8s`);
  expect(await rowsOf(page.locator('main a[href^="/v1/rigs.csv"]'))).toBe(1);
  await visit(watched, `${world.url}/w/${ADA}?window=7d`);
  const { totals } = await world.ask<{ totals: { jobs: string } }>(`/v1/workers/${ADA}`);
  expect(await rowsOf(page.locator('main a[href*="/jobs.csv"]'))).toBe(Number(totals.jobs));
  expect(await rowsOf(page.locator('main a[href*="/earnings.csv?window=7d"]'))).toBe(168);
  expect(await rowsOf(page.locator('main a[href$="/statements.csv"]'))).toBe(Number(totals.jobs));
  await visit(watched, `${world.url}/transparency`);
  for (const file of ["/v1/workers.csv", "/v1/rigs.csv", "/v1/earnings.csv"]) {
    expect(await rowsOf(page.locator(`main a[href^="${file}"]`)), file).toBeGreaterThanOrEqual(0);
  }
});

test("terms are told whole, with what their formula names, and where nothing can be calculated it is said", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const main = page.locator("main");
  const pool = await world.ask<PoolAnswer>("/v1/pool");
  // This pool pays by the job: told of another scheme, its pages are those of that.
  const blend: Terms = {
    ...pool.terms,
    version: 2,
    scheme: "blend",
    schemeOptions: { lambdaPpm: "250000", uptime: { budgetWeiPerDay: "7000000000000000", slotMs: 600_000 } },
    formula: ["earned = lambda × unit + (1 - lambda) × proportional"],
    schedule: "0 18 * * 1 (UTC)",
  };
  await page.route("**/v1/pool", (route) => route.fulfill({ json: { ...pool, terms: blend } }));
  await page.route("**/v1/terms", (route) =>
    route.fulfill({ json: { current: blend, upcoming: [], history: [pool.terms] } }),
  );
  await visit(watched, `${world.url}/transparency`);
  await main.locator(`.facts [data-wei="${pool.price.pricePerUnitWei}"]`).waitFor();
  expect(await main.locator('.facts [data-wei="7000000000000000"]').count()).toBe(1);
  const words = (await main.textContent()) ?? "";
  for (const told of ["lambdaPpm25 %", "uptime.slotMs10 min", "Paid every Monday at 18:00 UTC.", "Announced on"]) {
    expect(words).toContain(told);
  }
  expect(await main.getByText("earned = lambda × unit").count()).toBe(1);
  // The version before has its own, once it is opened.
  const before = main.locator('[data-terms="1"]');
  await before.locator("summary").click();
  await before.getByText(pool.terms.formula.at(-1) ?? "").waitFor();
  await expectForEveryone(page, "terms of another scheme");
  await visit(watched, `${world.url}/`);
  expect(await main.locator("h1").textContent()).toContain(
    "goes to the workers, partly by job and partly by their part of a period's work.",
  );
  await visit(watched, `${world.url}/w/${ADA}`);
  expect(
    await main
      .getByText("What the scheme blend credited")
      .getByRole("link", { name: "statement" })
      .getAttribute("href"),
  ).toBe(`/v1/workers/${ADA}/statements.csv`);
  await visit(watched, `${world.url}/join`);
  await main.getByText("Under the scheme blend").waitFor();
  expect(await main.getByText("Streams at once").count()).toBe(0);
  expect(watched.complaints).toEqual([]);
});

test("a worker's payouts go on below the first page, and what is paid in a token says how much of it", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const line = (id: string): PayoutLine => ({
    id,
    run: "1",
    worker: ADA,
    payTo: ADA,
    amountWei: "20000000000000000",
    asset: { symbol: "USDC", token: BOB, decimals: 6 },
    assetAmount: "52125000",
    state: "final",
    plannedAt: "2026-11-20T08:00:00.000Z",
    sentAt: null,
    finalAt: null,
    transaction: null,
    block: null,
    gasWei: null,
    fiat: null,
    reasonCoded: null,
    reason: null,
  });
  const whole = { configured: true, explorer: null, count: 2, paidWei: "40000000000000000" } as const;
  const pages: Record<string, WorkerPayoutsAnswer> = {
    "": { ...whole, items: [line("2")], next: "older" },
    older: { ...whole, items: [line("1")], next: null },
  };
  await page.route("**/payouts*", (route) =>
    route.fulfill({ json: pages[new URL(route.request().url()).searchParams.get("cursor") ?? ""] }),
  );
  await visit(watched, `${world.url}/w/${ADA}`);
  const lines = page.locator("[data-line]");
  await poll(() => lines.count()).toBe(1);
  expect(await lines.textContent()).toContain("as 52.125\u00a0USDC");
  await page
    .locator("section", { has: page.locator("[data-line]") })
    .getByRole("button", { name: "Show more" })
    .click();
  await poll(() => lines.count()).toBe(2);
  expect(watched.complaints).toEqual([]);
});

test("the time spans are an hour, a day, a week and a month, each in the address of the page", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}`);
  const spans = page.getByRole("navigation", { name: "Time span" });
  expect(await spans.getByRole("link").allTextContents()).toEqual(["1 h", "24 h", "7 d", "30 d"]);
  for (const [words, window] of [
    ["1 h", "1h"],
    ["7 d", "7d"],
    ["30 d", "30d"],
    ["24 h", "24h"],
  ] as const) {
    await spans.getByRole("link", { name: words, exact: true }).click();
    await page.waitForURL(`**/w/${ADA}?window=${window}`);
    const { sums } = await world.ask<EarningsAnswer>(`/v1/workers/${ADA}/earnings?window=${window}`);
    const sentence = page.locator("section", { hasText: "Fee share" }).locator("p", { hasText: `in ${words} from` });
    await sentence.locator(`[data-wei="${sums.earnedWei}"]`).waitFor();
  }
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

test("the keyboard reaches everything: skip link, look-up by Ctrl and K, tables sorted by a button", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/workers`);
  await page.keyboard.press("Tab");
  expect(await page.evaluate("document.activeElement.className")).toBe("skip");
  // One key alone does nothing: whoever speaks to a computer, or brushes a key, stays.
  await page.keyboard.press("/");
  expect(await page.evaluate("document.activeElement.className")).toBe("skip");
  await page.keyboard.press("Control+k");
  await page.keyboard.type(`${BOB}.k8s-07`);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/w/${BOB}/k8s-07`);
  await page.goBack();
  const sort = page.getByRole("button", { name: "Success" });
  await sort.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/sort=success/);
  expect(await page.locator("th[aria-sort=descending]").textContent()).toBe("Success ↓");
  await page.keyboard.press("Enter");
  await page.locator("th[aria-sort=ascending]").waitFor();
  expect(await page.locator("th[aria-sort]").textContent()).toBe("Success ↑");
});

test("one more rig of a worker gets a name that none has, and a rig that names itself is none that was here", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${ADA}`);
  await page.getByRole("link", { name: "Add a rig" }).click();
  await page.getByText("Waiting for rig2 …").waitFor();
  await page.getByRole("button", { name: "Cloud" }).click();
  await page.waitForURL(/with=cloud/);
  await page.getByText("Waiting for rig2 …").waitFor();
  expect(await page.getByText("is here").count()).toBe(0);
});

test("the calculator on the page for joining reckons as the pool does, with its price and its terms beside it", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/join`);
  const { price, terms } = await world.ask<PoolAnswer>("/v1/pool");
  const both = page.locator("section", { hasText: "What it earns" });
  expect(await both.textContent()).toContain("commission = floor(fee × commissionPpm / 1000000)");
  await both.getByLabel("Streams at once").fill("3");
  await both.getByLabel("Hours a day").fill("24");
  await both.getByLabel("Renditions").selectOption("large");
  const pixels = (640n * 360n + 1280n * 720n + 1920n * 1080n) * 30n * 3n * 86_400n;
  const feeWei = (pixels * BigInt(price.pricePerUnitWei)) / BigInt(price.pixelsPerUnit);
  const dayWei = feeWei - (feeWei * BigInt(terms.commissionPpm)) / 1_000_000n;
  await both.locator(`p:has-text("a day") [data-wei="${dayWei}"]`).waitFor();
  await both.locator(`p:has-text("in 30 days") [data-wei="${dayWei * 30n}"]`).waitFor();
});

test("filters of the list are in its address, and an address with filters shows them", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/workers?state=offline`);
  await poll(() => page.locator("tbody tr").count()).toBe(1);
  // A list that ranks says what is better, and what each rig did hour by hour.
  await page.getByText("More is better in every column.").waitFor();
  expect(await page.locator("tbody tr svg polyline").count()).toBe(1);
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
