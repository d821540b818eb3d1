import { type LocalChain, startLocalChain } from "@openpool/pool";
import type { PoolAnswer, SolvencyAnswer, WorkerAddress } from "@openpool/protocol";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { deployLivepeerStandIn } from "../../packages/pool/src/chain/testing/livepeer-stand-in.ts";
import { ADA, BOB, until } from "../e2e/pool.ts";
import { expectForEveryone, openBrowser, openPage, visit } from "./browser.ts";
import { type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

const orchestrator = "0x00000000000000000000000000000000000A11cE" as WorkerAddress;
const gateway = BOB as WorkerAddress;
/** What two winning tickets paid: more than the work of the test is worth. */
const REDEEMED_WEI = 7_500_000_000_000_000n;
const SEGMENTS = 3;

let chain: LocalChain;
let world: PagesWorld;
let browser: Browser;

beforeAll(async () => {
  [chain, browser] = await Promise.all([startLocalChain(), openBrowser()]);
  const livepeer = await deployLivepeerStandIn(chain.url);
  await livepeer.set({ feeSharePpm: 100_000n, ownStake: 40n, totalStake: 100n });
  for (const paidWei of [5_000_000_000_000_000n, 2_500_000_000_000_000n]) {
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: paidWei, paidWei });
  }
  world = await startPagesWorld({
    income: {
      rpcUrls: [chain.url],
      quorum: undefined,
      orchestrator,
      controller: livepeer.address,
      fromBlock: 0,
      confirmations: 0,
    },
  });
  await world.join(`${ADA}.rig1`);
  await world.stream("paid for", SEGMENTS);
  // What the pages say of income is kept for a while: nobody asks before everything is in the books.
  await until(async () => {
    const answer = await fetch(`${world.pool.running.adminUrl}/solvency`);
    const { recentRedeemedWei, creditedWei } = (await answer.json()) as Record<string, string | null>;
    const credited = await world.pool.credited();
    return (
      credited.segments === SEGMENTS &&
      creditedWei === credited.creditedWei.toString() &&
      recentRedeemedWei === REDEEMED_WEI.toString()
    );
  }, 60_000);
}, 180_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
});

/** As pages write a share: two digits, cut. */
const shown = (ppm: number): string => `${Math.floor(ppm / 100) / 100} %`;

test("luck and reserve are on the first page, and are what the chain and the books say", async () => {
  const { books, income } = await world.ask<SolvencyAnswer>("/v1/solvency");
  if (!income.configured) throw new Error(income.why);
  const fees = BigInt(books.feesWei);
  expect(income.receivedWei).toBe("7050000000000000"); // 90 % of it, and 40 of 100 of the delegators' tenth
  expect(income.received30dWei).toBe(REDEEMED_WEI.toString());
  expect(income.expected30dWei).toBe(fees.toString());
  expect(income.luckPpm).toBe(Number((REDEEMED_WEI * 1_000_000n) / fees));
  expect(BigInt(income.reserveWei ?? 0)).toBe(REDEEMED_WEI - BigInt(books.creditedWei));

  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/`);
  await page.getByText("Luck, 30 d:").waitFor();
  const legend = page.locator(".legend");
  expect(await legend.textContent()).toContain(`Luck, 30 d: ${shown(income.luckPpm ?? 0)} of expected income`);
  expect(await legend.locator(`[data-wei="${income.reserveWei}"]`).count()).toBe(1);
  const { money } = await world.ask<PoolAnswer>("/v1/pool");
  expect(money).toEqual({ luckPpm: income.luckPpm, reserveWei: income.reserveWei });
  expect(watched.complaints).toEqual([]);
});

test("the page of transparency says whether everything is covered, with the same numbers", async () => {
  const { income } = await world.ask<SolvencyAnswer>("/v1/solvency");
  if (!income.configured) throw new Error(income.why);
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/transparency`);
  const section = page.locator("section", { hasText: "Is it covered?" });
  const words = (await section.textContent()) ?? "";
  expect(words).toContain(`${shown(income.luckPpm ?? 0)} of what was expected`);
  expect(words).toContain(`Fundable share${shown(income.maxSharePpm ?? 0)}`);
  expect(words).toContain("days of earnings");
  for (const wei of [income.received30dWei, income.expected30dWei, income.reserveWei]) {
    expect(await section.locator(`[data-wei="${wei}"]`).count()).toBeGreaterThan(0);
  }
  for (const path of ["/", "/transparency"]) {
    await visit(watched, `${world.url}${path}`);
    await expectForEveryone(page, path === "/" ? "pool with income" : "transparency with income");
  }
  expect(watched.complaints).toEqual([]);
});
