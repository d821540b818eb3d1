import { formatUnits } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { type Abi, decodeFunctionResult, encodeFunctionData, parseAbi } from "viem";
import { type FiatSource, formatPriceSource, type PriceSource } from "../payouts/options.ts";
import type { AssetPrice, FiatPrice } from "../payouts/types.ts";
import { majorityOf, shortly } from "./agreement.ts";
import type { ChainNode } from "./node.ts";
import { ourAddress } from "./signer.ts";

const feedAbi = parseAbi([
  "function latestRoundData() view returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)",
  "function decimals() view returns (uint8)",
]);
const tokenAbi = parseAbi(["function decimals() view returns (uint8)", "function symbol() view returns (string)"]);
const poolAbi = parseAbi([
  "function observe(uint32[] secondsAgos) view returns (int56[] tickCumulatives, uint160[] secondsPerLiquidityCumulativeX128s)",
  "function token0() view returns (address)",
  "function token1() view returns (address)",
]);

/** Feeds speak at least once a day; one that is older was not kept up. */
const FEED_MAX_AGE_MS = 26 * 60 * 60 * 1000;
/** A feed's time may be so far ahead of our clock. */
const CLOCK_ROOM_MS = 15 * 60 * 1000;
/** Tokens that have more are no money. */
const MAX_DECIMALS = 36;
/** What a pool of Uniswap V3 can say at most. */
const MAX_TICK = 887_272;
const ETHER = 10n ** 18n;
/** 1 with 128 binary digits behind the point is exact enough for any tick. */
const ONE = 1n << 128n;

interface Votes {
  /** How many nodes must say about the same; undefined: more than half. */
  readonly quorum: number | undefined;
}

/** What one node says of a price. */
interface Quote {
  readonly value: bigint;
  readonly block: number | undefined;
  readonly atMs: number;
}

/** Why there is no price, in words for the operator. */
export interface NoPrice {
  readonly problem: string;
}

/**
 * The middle of what the nodes say, where enough of them say about the same (one in a hundred apart: they may be some blocks
 * apart). So one that lies moves nothing.
 */
async function voted(
  nodes: readonly ChainNode[],
  { quorum = majorityOf(nodes) }: Votes,
  ask: (node: ChainNode) => Promise<Quote | NoPrice>,
): Promise<Quote | NoPrice> {
  const answers = await Promise.all(
    nodes.map((node) =>
      ask(node).catch((error: unknown): NoPrice => ({
        problem: `${node.name} does not answer: ${shortly(error)}`,
      })),
    ),
  );
  const quotes = answers
    .flatMap((one) => ("problem" in one ? [] : [one]))
    .sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  const middle = quotes[Math.floor(quotes.length / 2)];
  const near = quotes.filter(({ value }) => {
    const apart = middle === undefined ? 0n : value > middle.value ? value - middle.value : middle.value - value;
    return middle !== undefined && apart * 100n <= middle.value;
  });
  if (middle !== undefined && near.length >= quorum) return middle;
  const [problem] = answers.flatMap((one) => ("problem" in one ? [one.problem] : []));
  return { problem: problem ?? "the RPC nodes do not agree on a price" };
}

/** What a price is read from: a node as it is now, or as it was after a block. */
type View = Pick<ChainNode, "name" | "call" | "latestBlock">;

/** A node as of a block, and the time that it was then. */
async function viewOf(
  node: ChainNode,
  nowMs: number,
  atBlock: number | undefined,
): Promise<{ readonly view: View; readonly atMs: number }> {
  if (atBlock === undefined) return { view: node, atMs: nowMs };
  const view: View = {
    name: node.name,
    call: (to, data) => node.call(to, data, atBlock),
    latestBlock: async () => atBlock,
  };
  return { view, atMs: await node.blockTime(atBlock) };
}

/** A call's answer; undefined where the contract does not answer as its kind does. */
async function read<T>(
  node: View,
  to: WorkerAddress,
  abi: Abi,
  functionName: string,
  args: readonly unknown[] = [],
): Promise<T | undefined> {
  const data = await node.call(to, encodeFunctionData({ abi, functionName, args }));
  try {
    // The ABI says what it is; the name is not known to the compiler here.
    return decodeFunctionResult({ abi, functionName, data }) as T;
  } catch {
    return undefined;
  }
}

/** `1.0001^tick` as a fraction of 2^128: what a Uniswap pool calls the price of token0 in token1. */
export function priceOfTick(tick: number): bigint {
  let result = ONE;
  let factor = (ONE * 10_001n) / 10_000n;
  for (let rest = Math.abs(tick); rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = (result * factor) / ONE;
    factor = (factor * factor) / ONE;
  }
  return tick < 0 ? (ONE * ONE) / result : result;
}

/** Units of the token for one ETH, as a pool has traded them in the mean of the last seconds. */
async function poolQuote(
  node: View,
  { pool, seconds }: Extract<PriceSource, { kind: "uniswap-v3" }>,
  token: WorkerAddress,
): Promise<Quote | NoPrice> {
  const sides = await Promise.all(
    ["token0", "token1"].map(async (side) => {
      const address = await read<`0x${string}`>(node, pool, poolAbi, side);
      return address === undefined ? undefined : ourAddress(address);
    }),
  );
  const [token0, token1] = sides;
  if (token0 === undefined || token1 === undefined) return { problem: `${pool} is no pool of Uniswap V3` };
  if (token0 !== token && token1 !== token) return { problem: `the pool ${pool} does not trade ${token}` };
  const other = token0 === token ? token1 : token0;
  if ((await read<string>(node, other, tokenAbi, "symbol")) !== "WETH") {
    return { problem: `the pool ${pool} trades ${token} for ${other}, which is not WETH` };
  }
  const seen = await read<readonly [readonly bigint[], unknown]>(node, pool, poolAbi, "observe", [[seconds, 0]]);
  const [then, now] = seen?.[0] ?? [];
  if (then === undefined || now === undefined) {
    return {
      problem: `the pool ${pool} does not remember ${seconds} s: name fewer seconds, or have its memory enlarged (increaseObservationCardinalityNext)`,
    };
  }
  const tick = Math.floor(Number(now - then) / seconds);
  if (Math.abs(tick) > MAX_TICK) return { problem: `the pool ${pool} says what no pool can say (tick ${tick})` };
  const value = (priceOfTick(token0 === token ? -tick : tick) * ETHER) / ONE;
  if (value === 0n) return { problem: `the pool ${pool} says that the token is worth more than all ETH` };
  return { value, block: await node.latestBlock(), atMs: 0 };
}

interface FeedAnswer {
  readonly answer: bigint;
  readonly decimals: number;
  readonly atMs: number;
}

/** The last word of a Chainlink feed; refused where it is old, not yet given, zero or negative. */
async function feedAnswer(node: View, feed: WorkerAddress, nowMs: number): Promise<FeedAnswer | NoPrice> {
  const round = await read<readonly [bigint, bigint, bigint, bigint, bigint]>(node, feed, feedAbi, "latestRoundData");
  const decimals = await read<number>(node, feed, feedAbi, "decimals");
  if (!round || decimals === undefined || decimals > MAX_DECIMALS) return { problem: `${feed} is no Chainlink feed` };
  const [, answer, , updatedAt] = round;
  const atMs = Number(updatedAt) * 1000;
  if (answer <= 0n) return { problem: `the feed ${feed} says ${answer}: that is no price` };
  if (atMs > nowMs + CLOCK_ROOM_MS) return { problem: `the feed ${feed} is of the future: check this machine's clock` };
  if (nowMs - atMs > FEED_MAX_AGE_MS) {
    return {
      problem: `the feed ${feed} was last kept up ${updatedAt === 0n ? "never" : new Date(atMs).toISOString()}`,
    };
  }
  return { answer, decimals, atMs };
}

/** Units of the token for one ETH, by a feed of the token in ETH, or two feeds of both in the same money. */
async function feedQuote(
  node: View,
  { feed, ethFeed }: Extract<PriceSource, { kind: "chainlink" }>,
  token: WorkerAddress,
  nowMs: number,
): Promise<Quote | NoPrice> {
  const decimals = await read<number>(node, token, tokenAbi, "decimals");
  if (decimals === undefined || decimals > MAX_DECIMALS) return { problem: `${token} does not say its decimals` };
  const inMoney = await feedAnswer(node, feed, nowMs);
  if ("problem" in inMoney) return inMoney;
  const eth = ethFeed === undefined ? { answer: 1n, decimals: 0, atMs: nowMs } : await feedAnswer(node, ethFeed, nowMs);
  if ("problem" in eth) return eth;
  const value =
    (eth.answer * 10n ** BigInt(inMoney.decimals + decimals)) / (inMoney.answer * 10n ** BigInt(eth.decimals));
  if (value === 0n) return { problem: `the feed ${feed} says that the token is worth more than all ETH` };
  return { value, block: await node.latestBlock(), atMs: inMoney.atMs };
}

/** How many units of a token one ETH is worth now, or was in a block, from where the settings say; or why nobody knows. */
export async function tokenPriceOf(
  source: PriceSource,
  token: WorkerAddress,
  nodes: readonly ChainNode[],
  votes: Votes,
  nowMs: number,
  atBlock?: number,
): Promise<AssetPrice | NoPrice> {
  if (source.kind === "fixed") return { token, unitsPerEth: source.unitsPerEth, source: "fixed", atBlock: undefined };
  const quote = await voted(nodes, votes, async (node) => {
    const { view, atMs } = await viewOf(node, nowMs, atBlock);
    return source.kind === "uniswap-v3" ? poolQuote(view, source, token) : feedQuote(view, source, token, atMs);
  });
  if ("problem" in quote) return { problem: `the price of ${token} is not known: ${quote.problem}` };
  return { token, unitsPerEth: quote.value, source: formatPriceSource(source), atBlock: quote.block };
}

/** What ETH is worth in money now, or why nobody knows. */
export async function fiatPriceOf(
  source: FiatSource,
  nodes: readonly ChainNode[],
  votes: Votes,
  nowMs: number,
): Promise<FiatPrice | NoPrice> {
  const { currency } = source;
  if (source.kind === "fixed") return { currency, perEth: source.perEth, source: "configured", atMs: nowMs };
  const { feed } = source;
  const quote = await voted(nodes, votes, async (node) => {
    const said = await feedAnswer(node, feed, nowMs);
    if ("problem" in said) return said;
    return { value: said.answer * 10n ** BigInt(MAX_DECIMALS - said.decimals), block: undefined, atMs: said.atMs };
  });
  if ("problem" in quote) return quote;
  return { currency, perEth: formatUnits(quote.value, MAX_DECIMALS), source: `chainlink:${feed}`, atMs: quote.atMs };
}
