import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalChain, startLocalChain } from "@openpool/pool";
import type { PayoutLine } from "@openpool/protocol";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ADA } from "../e2e/pool.ts";
import { expectForEveryone, openBrowser, openPage, PHONE, settle, visit } from "./browser.ts";
import { localPayouts, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

let dir: string;
let chain: LocalChain;
let world: PagesWorld;
let browser: Browser;

/** Blocks come when asked for, so that each state lasts as long as somebody looks. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-payouts-"));
  [chain, browser] = await Promise.all([startLocalChain({ manualMining: true }), openBrowser()]);
  const keyFile = join(dir, "payer.key");
  await writeFile(keyFile, chain.richKeys[0] ?? "", { mode: 0o600 });
  // Every run waits for a person.
  const fiat = { kind: "fixed", currency: "EUR", perEth: "2500000" } as const;
  const payouts = localPayouts(chain, { keyFile, approvalAboveWei: 0n, fiat });
  const firstTerms = {
    holdMs: 0,
    minimumPayoutWei: 0n,
    // A leap day is far enough away: runs are planned by hand.
    schedule: { cron: "0 0 29 2 *", timeZone: "UTC" },
  };
  world = await startPagesWorld({ payouts, firstTerms });
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** The newest payout on a worker's page, once it is in this state. */
async function untilState(page: Page, state: string): Promise<Locator> {
  const line = page.locator(`tr[data-line="${state}"]`);
  await line.waitFor({ timeout: 60_000 });
  return line;
}

test("a worker watches its payout: planned, sent, confirmed, final; the operator approves it meanwhile", async () => {
  await world.join(`${ADA}.rig1`);
  await world.stream("paid", 2);
  await using worker = await openPage(browser);
  await visit(worker, `${world.url}/w/${ADA}`);
  const before = BigInt(String(await chain.request("eth_getBalance", [ADA, "latest"])));

  await using operator = await openPage(browser);
  const { page: desk } = operator;
  await desk.goto(`${world.pool.running.adminUrl}/admin`);
  const token = await readFile(join(world.pool.dataDir, "admin-token"), "utf8");
  await desk.getByLabel("Admin token").fill(token.trim());
  await desk.getByRole("button", { name: "Use it" }).click();
  // The books follow the log within moments: a dry run says when there is something to pay.
  const dryRun = async (): Promise<string | null> => {
    await desk.getByRole("button", { name: "Dry run" }).click();
    return desk.locator("p[role=status]").textContent();
  };
  await expect.poll(dryRun, { timeout: 60_000 }).toContain("It would pay");
  await desk.getByRole("button", { name: "Plan a run now" }).click();
  await desk.getByRole("dialog").getByRole("button", { name: "Plan a run now" }).click();

  const planned = await untilState(worker.page, "planned");
  const wei = BigInt((await planned.locator("[data-wei]").getAttribute("data-wei")) ?? 0);
  expect(wei).toBeGreaterThan(0n);
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
  await untilState(worker.page, "final");

  const after = BigInt(String(await chain.request("eth_getBalance", [ADA, "latest"])));
  expect(after - before).toBe(wei);
  await expect
    .poll(async () => (await world.ask<{ balance: { paidWei: string } }>(`/v1/workers/${ADA}`)).balance.paidWei)
    .toBe(wei.toString());
  // A browser reports refusals itself; there were none.
  expect([...worker.complaints, ...operator.complaints]).toEqual([]);
});

test("the pages of payouts and of the run tell the same, for everyone and on a phone", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/payouts`);
  await page.locator("tbody tr").first().getByRole("link").first().click();
  await page.waitForURL(/\/payouts\/.+/);
  await settle(page);
  await page.locator('tr[data-line="final"]').waitFor();
  await expectForEveryone(page, "payout run");
  await visit(watched, `${world.url}/payouts`);
  await expectForEveryone(page, "payouts with runs");
  await visit(watched, `${world.url}/w/${ADA}`);
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
  // A chain on this machine has no explorer, and no page makes one up.
  expect(await page.locator('main a[href*="/tx/0x"], main a[href*="/address/0x"]').count()).toBe(0);
  expect(watched.complaints).toEqual([]);
});
