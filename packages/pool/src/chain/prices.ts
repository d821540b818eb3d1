import { PoolError } from "@openpool/base";
import { decodeFunctionResult, encodeFunctionData, parseAbi } from "viem";
import type { FiatSource, PriceSource } from "../payouts/options.ts";
import type { Asset, AssetPrice, FiatPrice, Hex } from "../payouts/types.ts";
import type { ChainNode } from "./node.ts";
import { ourAddress } from "./signer.ts";

const feedAbi = parseAbi([
  "function latestRoundData() view returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)",
  "function decimals() view returns (uint8)",
]);
const poolAbi = parseAbi([
  "function observe(uint32[] secondsAgos) view returns (int56[] tickCumulatives, uint160[] secondsPerLiquidityCumulativeX128s)",
  "function token0() view returns (address)",
]);

/** A feed that is older was not kept up. */
const FEED_MAX_AGE_MS = 26 * 60 * 60 * 1000;
const ETHER = 10n ** 18n;
/** 1.0001 with 100 binary digits behind the point is exact enough for any tick. */
const ONE = 1n << 128n;

interface Agreement {
  readonly quorum: number | undefined;
}

/** What enough nodes answer alike. */
async function agreed<T>(
  nodes: readonly ChainNode[],
  { quorum = Math.floor(nodes.length / 2) + 1 }: Agreement,
  ask: (node: ChainNode) => Promise<T>,
  keyOf: (answer: T) => string,
): Promise<T> {
  const votes = new Map<string, { answer: T; votes: number }>();
  for (const one of await Promise.allSettled(nodes.map(async (node) => ask(node)))) {
    if (one.status === "rejected") continue;
    const vote = votes.get(keyOf(one.value)) ?? { answer: one.value, votes: 0 };
    vote.votes += 1;
    votes.set(keyOf(one.value), vote);
    if (vote.votes >= quorum) return vote.answer;
  }
  throw new PoolError({ code: "payout/no-price" }, "The RPC nodes do not agree on a price.");
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

/** How many units of a token one ETH is worth now, from where the settings say. */
export async function tokenPriceOf(
  source: PriceSource,
  token: Asset,
  nodes: readonly ChainNode[],
  agreement: Agreement,
): Promise<AssetPrice> {
  if (source.kind === "fixed") return { unitsPerEth: source.unitsPerEth, source: "fixed", atBlock: undefined };
  const { pool, seconds } = source;
  const token0 = await agreed(
    nodes,
    agreement,
    async (node) =>
      ourAddress(
        decodeFunctionResult({
          abi: poolAbi,
          functionName: "token0",
          data: await node.call(pool, encodeFunctionData({ abi: poolAbi, functionName: "token0" })),
        }),
      ),
    String,
  );
  const observe: Hex = encodeFunctionData({ abi: poolAbi, functionName: "observe", args: [[seconds, 0]] });
  // Nodes are some blocks apart: the mean over so long a time differs by little, and the middle one is taken.
  const ticks = (
    await Promise.allSettled(
      nodes.map(async (node) => {
        const [[then = 0n, now = 0n]] = decodeFunctionResult({
          abi: poolAbi,
          functionName: "observe",
          data: await node.call(pool, observe),
        });
        return { tick: Math.floor(Number(now - then) / seconds), block: await node.latestBlock() };
      }),
    )
  )
    .flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))
    .sort((a, b) => a.tick - b.tick);
  const middle = ticks[Math.floor(ticks.length / 2)];
  if (!middle || ticks.length < (agreement.quorum ?? Math.floor(nodes.length / 2) + 1)) {
    throw new PoolError({ code: "payout/no-price" }, `Too few RPC nodes tell the price of the pool ${pool}.`);
  }
  // Units of the token for one unit of ETH, whichever of the two comes first in the pool.
  const price = priceOfTick(token0 === token ? -middle.tick : middle.tick);
  const unitsPerEth = (price * ETHER) / ONE;
  if (unitsPerEth === 0n) {
    throw new PoolError(
      { code: "payout/no-price" },
      `The pool ${pool} says that the token is worth more than all ETH.`,
    );
  }
  return { unitsPerEth, source: `uniswap-v3:${pool}:${seconds}`, atBlock: middle.block };
}

/** What ETH is worth in money now. Undefined where the feed has not been kept up. */
export async function fiatPriceOf(
  source: FiatSource,
  nodes: readonly ChainNode[],
  agreement: Agreement,
  nowMs: number,
): Promise<FiatPrice | undefined> {
  const { currency } = source;
  if (source.kind === "fixed") return { currency, perEth: source.perEth, source: "configured", atMs: nowMs };
  const { feed } = source;
  const call = async (node: ChainNode, functionName: "decimals" | "latestRoundData"): Promise<Hex> =>
    node.call(feed, encodeFunctionData({ abi: feedAbi, functionName }));
  const { answer, updatedAt, decimals } = await agreed(
    nodes,
    agreement,
    async (node) => {
      const [, answer, , updatedAt] = decodeFunctionResult({
        abi: feedAbi,
        functionName: "latestRoundData",
        data: await call(node, "latestRoundData"),
      });
      const decimals = decodeFunctionResult({
        abi: feedAbi,
        functionName: "decimals",
        data: await call(node, "decimals"),
      });
      return { answer, updatedAt, decimals };
    },
    (one) => `${one.answer} ${one.updatedAt} ${one.decimals}`,
  );
  const atMs = Number(updatedAt) * 1000;
  if (answer <= 0n || nowMs - atMs > FEED_MAX_AGE_MS) return undefined;
  const digits = answer.toString().padStart(decimals + 1, "0");
  const perEth = decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
  return { currency, perEth, source: `chainlink:${feed}`, atMs };
}
