import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalChain, startLocalChain } from "@openpool/pool";
import type { PayoutLine, WorkerAnswer } from "@openpool/protocol";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ADA } from "../e2e/pool.ts";
import {
  DESK,
  expectForEveryone,
  expectStill,
  openBrowser,
  openPage,
  PHONE,
  settle,
  sideways,
  visit,
} from "./browser.ts";
import { EARNED_WEI, localPayouts, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 240_000 });

const EXPLORER = "https://arbiscan.io";
/** More than two segments earn, and less than three. */
const MINIMUM_WEI = (EARNED_WEI * 5n) / 2n;

let dir: string;
let chain: LocalChain;
let world: PagesWorld;
let browser: Browser;

/** Some days from now: far enough for every run to be planned by hand, and near enough to be shown as the next one. */
const soon = new Date(Date.now() + 3 * 86_400_000 + 3_600_000);

/** Blocks come when asked for, so that each state lasts as long as somebody looks. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-payouts-"));
  // By its number it is a chain that has an explorer.
  [chain, browser] = await Promise.all([startLocalChain({ manualMining: true, chainId: 42_161 }), openBrowser()]);
  const keyFile = join(dir, "payer.key");
  await writeFile(keyFile, chain.richKeys[0] ?? "", { mode: 0o600 });
  // Every run waits for a person.
  const fiat = { kind: "fixed", currency: "EUR", perEth: "2500000" } as const;
  const payouts = localPayouts(chain, { keyFile, approvalAboveWei: 0n, fiat });
  const firstTerms = {
    holdMs: 0,
    minimumPayoutWei: MINIMUM_WEI,
    schedule: { cron: `0 0 ${soon.getUTCDate()} ${soon.getUTCMonth() + 1} *`, timeZone: "UTC" },
  };
  world = await startPagesWorld({ payouts, firstTerms });
  await world.join(`${ADA}.rig1`);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** The amounts in a part of a page, exactly. */
async function weiIn(part: Locator): Promise<readonly bigint[]> {
  const found = await part.locator("[data-wei]").all();
  return Promise.all(found.map(async (one) => BigInt((await one.getAttribute("data-wei")) ?? -1)));
}

test("a worker reads what is unpaid, how much of the minimum that is, when it is paid and why not yet", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const money = page.locator(".money");
  const next = money.locator(".next");
  const when = new Intl.DateTimeFormat("en-GB", {
    timeZone: "Europe/Berlin",
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
  }).format(Date.UTC(soon.getUTCFullYear(), soon.getUTCMonth(), soon.getUTCDate()));

  await world.stream("below", 1);
  await visit(watched, `${world.url}/w/${ADA}`);
  const below = money.locator("[data-why-unpaid=below-minimum]");
  await below.waitFor({ timeout: 60_000 });
  expect(await below.textContent()).toMatch(
    /^0\.[\d\s]+ETH are owed, 0\.[\d\s]+ETH less than the minimum of 0\.[\d\s]+ETH\.\s*$/,
  );
  expect(await weiIn(below)).toEqual([EARNED_WEI, MINIMUM_WEI - EARNED_WEI, MINIMUM_WEI]);
  expect(await weiIn(money.locator(".amount-large"))).toEqual([EARNED_WEI]);
  expect(await weiIn(money.locator(".tick"))).toEqual([MINIMUM_WEI]);
  expect(await money.locator(".legend").textContent()).toContain("owed, 40 % of the minimum");
  expect(await next.locator("b").textContent()).toBe(`Next payout ${when}`);
  expect(await next.textContent()).toMatch(/in [23] d/);
  // It would get nothing then.
  expect(await next.textContent()).not.toContain("for you");
  await expectForEveryone(page, "worker below the minimum");

  await world.stream("above", 2);
  const above = money.locator("[data-why-unpaid=waits-for-payout]");
  await above.waitFor({ timeout: 60_000 });
  await expect.poll(() => weiIn(above), { timeout: 60_000 }).toEqual([3n * EARNED_WEI]);
  expect(await above.textContent()).toMatch(
    /^0\.[\d\s]+ETH are owed and over the minimum; the next payout is in [23] d/,
  );
  expect(await above.textContent()).toContain(when);
  expect(await below.count()).toBe(0);
  expect(await money.locator(".legend").textContent()).toContain("owed, 120 % of the minimum");
  const { nextPayout } = await world.ask<WorkerAnswer>(`/v1/workers/${ADA}`);
  expect(nextPayout).toMatchObject({ configured: true, estimateWei: String(3n * EARNED_WEI) });
  await next.getByText("for you").waitFor();
  expect(await next.textContent()).toMatch(/about 0\.[\d\s]+ETH for you/);
  expect(watched.complaints).toEqual([]);
});

const lineIn = (page: Page, state: string): Locator => page.locator(`tr[data-line="${state}"]`);

/** The newest payout on a worker's page, once it is in this state: its reader comes back to it all the time, so that it asks again. */
async function untilState(page: Page, state: string): Promise<Locator> {
  const line = lineIn(page, state);
  const look = async (): Promise<number> => {
    await page.evaluate('document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))');
    return line.count();
  };
  await expect.poll(look, { interval: 500, timeout: 60_000 }).toBe(1);
  return line;
}

test("a worker watches its payout: planned, sent, confirmed, final; the operator approves it meanwhile", async () => {
  await using worker = await openPage(browser);
  await visit(worker, `${world.url}/w/${ADA}`);
  const before = BigInt(String(await chain.request("eth_getBalance", [ADA, "latest"])));

  await using operator = await openPage(browser);
  const { page: desk } = operator;
  await desk.goto(`${world.pool.running.adminUrl}/admin`);
  const token = await readFile(join(world.pool.dataDir, "admin-token"), "utf8");
  await desk.getByLabel("Admin token").fill(token.trim());
  await desk.getByRole("button", { name: "Use it" }).click();
  await desk.getByRole("button", { name: "Dry run" }).click();
  await desk.locator("p[role=status]", { hasText: "It would pay" }).waitFor();
  await desk.getByRole("button", { name: "Plan a run now" }).click();
  await desk.getByRole("dialog").getByRole("button", { name: "Plan a run now" }).click();

  const planned = await untilState(worker.page, "planned");
  expect(await weiIn(planned)).toEqual([3n * EARNED_WEI]);
  await worker.page.locator("[data-why-unpaid=payout-under-way]").waitFor();
  await desk.locator("[data-exception=approval-needed]").waitFor();
  const run = desk.locator("[data-run]");
  await run.getByRole("button", { name: "Approve" }).click();
  await desk.getByRole("dialog").getByLabel("Your name, for the log").fill("Grace");
  await desk.getByRole("dialog").getByRole("button", { name: "Approve" }).click();

  const sent = await untilState(worker.page, "sent");
  expect(await sent.textContent()).toMatch(/0x[0-9a-f]{4}…/);
  await chain.request("anvil_mine", ["0x1"]);
  await untilState(worker.page, "confirmed");
  await chain.request("anvil_mine", ["0x5"]);
  // A page that stays in sight asks by itself, every ten seconds.
  await lineIn(worker.page, "final").waitFor({ timeout: 60_000 });

  const after = BigInt(String(await chain.request("eth_getBalance", [ADA, "latest"])));
  expect(after - before).toBe(3n * EARNED_WEI);
  await expect
    .poll(async () => (await world.ask<{ balance: { paidWei: string } }>(`/v1/workers/${ADA}`)).balance.paidWei)
    .toBe(String(3n * EARNED_WEI));
  await worker.page.locator("[data-why-unpaid]").waitFor({ state: "detached" });
  // A browser reports refusals itself; there were none.
  expect([...worker.complaints, ...operator.complaints]).toEqual([]);
});

test("the pages of payouts and of the run tell the same, for everyone and on a phone", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/payouts`);
  await expectForEveryone(page, "payouts with runs");
  await page.locator("tbody tr").first().getByRole("link").first().click();
  await page.waitForURL(/\/payouts\/.+/);
  await settle(page);
  await page.locator('tr[data-line="final"]').waitFor();
  await expectForEveryone(page, "payout run");
  await visit(watched, `${world.url}/w/${ADA}`);
  await expectStill(page);
  await expectForEveryone(page, "worker who was paid");
  await page.setViewportSize(PHONE);
  const { items } = await world.ask<{ items: PayoutLine[] }>(`/v1/workers/${ADA}/payouts`);
  const [paid] = items;
  const line = page.locator('tr[data-line="final"]');
  // Nothing that somebody was paid by or with needs a larger screen.
  await line.locator(`[title="${paid?.transaction}"]:visible`).waitFor();
  const { amount = "", currency } = paid?.fiat ?? {};
  expect([Number(amount) > 0, currency]).toEqual([true, "EUR"]);
  await line.getByText(`worth €${Number(amount).toLocaleString("en-GB", { minimumFractionDigits: 2 })} then`).waitFor();
  expect(watched.complaints).toEqual([]);
});

test("addresses and transactions lead to the explorer of the pool's chain, and are copied whole", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const { items } = await world.ask<{ items: PayoutLine[] }>(`/v1/workers/${ADA}/payouts`);
  const hash = items[0]?.transaction ?? "";
  expect(hash).toMatch(/^0x[0-9a-f]{64}$/);
  const copied = async (name: string): Promise<string> => {
    await page
      .getByRole("button", { name: `Copy ${name}`, exact: true })
      .locator("visible=true")
      .first()
      .click();
    return page.evaluate("navigator.clipboard.readText()");
  };
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await visit(watched, `${world.url}/w/${ADA}/rig1`);
  await page.locator(`main a[href="${EXPLORER}/address/${ADA}"]`).first().waitFor();
  // The browser has the fonts by now: what may still move is what comes late, as the marks of the explorer did.
  await visit(watched, `${world.url}/workers`);
  await expectStill(page);
  await page.locator(`main a[href="${EXPLORER}/address/${ADA}"]`).first().waitFor();
  // A rig is its worker's address and its name; the chain knows the address alone.
  expect(await copied(`${ADA.slice(0, 6)}…${ADA.slice(-4)}.rig1`)).toBe(`${ADA}.rig1`);
  await visit(watched, `${world.url}/`);
  await expectStill(page);
  for (const size of [DESK, PHONE]) {
    await page.setViewportSize(size);
    const transaction = page.locator(`main a[href="${EXPLORER}/tx/${hash}"]:visible`);
    await transaction.waitFor();
    expect(await transaction.count()).toBe(1);
    expect(await sideways(page)).toBe(0);
  }
  expect(await copied(`${hash.slice(0, 6)}…${hash.slice(-4)}`)).toBe(hash);
});
