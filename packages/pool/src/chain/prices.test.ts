import type { WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { PriceSource } from "../payouts/options.ts";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import type { ChainNode } from "./node.ts";
import { fiatPriceOf, priceOfTick, tokenPriceOf } from "./prices.ts";
import { deployTestContract, type TestContract } from "./testing/deploy-test-contract.ts";
import { openViemNode } from "./viem-node.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let chain: LocalChain;
let node: ChainNode;
let token: TestContract;
let weth: TestContract;
beforeAll(async () => {
  chain = await startLocalChain();
  node = openViemNode(chain.url, { timeoutMs: 60_000 });
  token = await deployTestContract(chain, "Token", "POOL");
  weth = await deployTestContract(chain, "Token", "WETH");
});
afterAll(() => chain[Symbol.asyncDispose]());

const alone = { quorum: 1 };
const nowMs = Date.now();
const nowS = BigInt(Math.floor(nowMs / 1000));
const price = (source: PriceSource, of: WorkerAddress = token.address) =>
  tokenPriceOf(source, of, [node], alone, nowMs);
const problem = async (source: PriceSource, of?: WorkerAddress): Promise<string> => {
  const found = await price(source, of);
  return "problem" in found ? found.problem : `a price: ${found.unitsPerEth}`;
};
const feed = async (decimals: number, answer: bigint, updatedAt = nowS): Promise<WorkerAddress> =>
  (await deployTestContract(chain, "Feed", decimals, answer, updatedAt)).address;

test("ticks are what they are called: each is a ten-thousandth more", () => {
  const asNumber = (tick: number): number => Number(priceOfTick(tick)) / 2 ** 128;
  expect(asNumber(0)).toBe(1);
  for (const tick of [1, -1, 23_027, -23_027, 69_081, -200_000, 400_000]) {
    expect(asNumber(tick) / 1.0001 ** tick).toBeCloseTo(1, 9);
  }
});

describe("a pool of Uniswap V3", () => {
  const poolOf = async (
    tick: number,
    {
      first = token,
      second = weth,
      remembers = 3_600,
    }: { first?: TestContract; second?: TestContract; remembers?: number } = {},
  ): Promise<PriceSource> => {
    const { address } = await deployTestContract(chain, "Pool", first.address, second.address, BigInt(tick), remembers);
    return { kind: "uniswap-v3", pool: address, seconds: 1_800 };
  };

  test("prices the token on either side of it, in its smallest unit", async () => {
    // Token first: a token is 1.0001^-23027 ETH, about a tenth. Token second: an ETH is 1.0001^23027 tokens.
    for (const source of [await poolOf(-23_027), await poolOf(23_027, { first: weth, second: token })]) {
      const found = await price(source);
      if ("problem" in found) throw new Error(found.problem);
      expect(Number(found.unitsPerEth) / 1e19).toBeCloseTo(1, 4);
      expect(found).toMatchObject({ token: token.address, atBlock: expect.any(Number) });
      expect(found.source).toMatch(/^uniswap-v3:0x[0-9a-fA-F]{40}:1800$/);
    }
  });

  test("rounds a mean below zero down, as the pools themselves do", async () => {
    const [down, exact] = [await price(await poolOf(-1)), await price(await poolOf(0))];
    if ("problem" in down || "problem" in exact) throw new Error("no price");
    expect(exact.unitsPerEth).toBe(10n ** 18n);
    expect(down.unitsPerEth).toBeGreaterThan(exact.unitsPerEth);
  });

  test("is not believed where it trades something else, forgets, says the impossible, or is no pool", async () => {
    const other = await deployTestContract(chain, "Token", "USDC");
    expect(await problem(await poolOf(0, { first: other }))).toContain("does not trade");
    expect(await problem(await poolOf(0, { second: other }))).toContain("is not WETH");
    expect(await problem(await poolOf(0, { remembers: 60 }))).toContain("does not remember 1800 s");
    expect(await problem(await poolOf(887_273))).toContain("no pool can say");
    expect(await problem({ kind: "uniswap-v3", pool: token.address, seconds: 600 })).toContain("is no pool");
    const nobody = "0x7777777777777777777777777777777777777777" as WorkerAddress;
    expect(await problem({ kind: "uniswap-v3", pool: nobody, seconds: 600 })).toContain("is no pool");
  });
});

describe("Chainlink's feeds", () => {
  test("price a token in ETH, or both in the same money, whatever their decimals", async () => {
    await token.send("set", 0, 6);
    // A token is a fiftieth of an ETH.
    const inEth: PriceSource = { kind: "chainlink", feed: await feed(18, 2n * 10n ** 16n), ethFeed: undefined };
    expect(await price(inEth)).toMatchObject({ unitsPerEth: 50_000_000n });
    // 6.25 for a token, 3 125 for an ETH: 500 tokens.
    const usd: PriceSource = {
      kind: "chainlink",
      feed: await feed(8, 625_000_000n),
      ethFeed: await feed(6, 3_125_000_000n),
    };
    expect(await price(usd)).toMatchObject({ unitsPerEth: 500_000_000n });
    await token.send("set", 0, 18);
    expect(await price(usd)).toMatchObject({ unitsPerEth: 500n * 10n ** 18n });
  });

  test.each([
    ["zero", 0n, nowS, "is no price"],
    ["less than zero", -5n, nowS, "is no price"],
    ["old", 5n, nowS - 27n * 3_600n, "was last kept up 20"],
    ["never given", 5n, 0n, "was last kept up never"],
    ["of the future", 5n, nowS + 3_600n, "of the future"],
  ])("are not believed when their answer is %s", async (_name, answer, updatedAt, why) => {
    const bad = await feed(8, answer, updatedAt);
    const good = await feed(8, 10n ** 8n);
    expect(await problem({ kind: "chainlink", feed: bad, ethFeed: undefined })).toContain(why);
    expect(await problem({ kind: "chainlink", feed: good, ethFeed: bad })).toContain(why);
    const fiat = await fiatPriceOf({ kind: "chainlink", currency: "USD", feed: bad }, [node], alone, nowMs);
    expect("problem" in fiat && fiat.problem).toContain(why);
  });

  test("are found out when they are none", async () => {
    expect(await problem({ kind: "chainlink", feed: token.address, ethFeed: undefined })).toContain(
      "no Chainlink feed",
    );
  });

  test("say what ETH is worth in money, to the last digit", async () => {
    const usd = await feed(8, 331_842_170_001n);
    expect(await fiatPriceOf({ kind: "chainlink", currency: "USD", feed: usd }, [node], alone, nowMs)).toEqual({
      currency: "USD",
      perEth: "3318.42170001",
      source: `chainlink:${usd}`,
      atMs: Number(nowS) * 1_000,
    });
  });
});

describe("several nodes", () => {
  const saying = (answer: bigint): ChainNode => ({
    ...node,
    async call(to, data) {
      const said = await node.call(to, data);
      // The second word of a round is its answer.
      return said.length === 2 + 5 * 64
        ? `0x${said.slice(2, 66)}${answer.toString(16).padStart(64, "0")}${said.slice(130)}`
        : said;
    },
  });
  const silent: ChainNode = { ...node, call: async () => Promise.reject(new Error("no answer")) };

  test("have to say about the same; one that lies or is silent moves nothing", async () => {
    const usd = await feed(8, 300_000_000_000n);
    const ask = (nodes: readonly ChainNode[]) =>
      fiatPriceOf({ kind: "chainlink", currency: "USD", feed: usd }, nodes, { quorum: undefined }, nowMs);
    expect(await ask([node, saying(1n), node])).toMatchObject({ perEth: "3000" });
    expect(await ask([silent, node, node])).toMatchObject({ perEth: "3000" });
    expect(await ask([node, saying(301_000_000_000n), silent])).toMatchObject({ perEth: "3010" });
    expect(await ask([node, saying(900_000_000_000n), silent])).toHaveProperty("problem");
    expect(await ask([node, saying(900_000_000_000n)])).toMatchObject({ problem: expect.stringContaining("agree") });
    expect(await ask([silent, silent, node])).toMatchObject({ problem: expect.stringContaining("does not answer") });
  });
});
