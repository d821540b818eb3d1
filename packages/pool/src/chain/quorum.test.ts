import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import type { ChainNode } from "./node.ts";
import { openQuorumChain } from "./quorum.ts";

const payer = parseAddress(`0x${"11".repeat(20)}`) as WorkerAddress;
const call = { from: payer, to: payer, valueWei: 0n, data: "0x" } as const;

/** Nodes that say no more than what is asked of them here. */
function chainOf(quorum: number, nodes: readonly Partial<ChainNode>[]): ReturnType<typeof openQuorumChain> {
  return openQuorumChain(nodes.map((node, i) => ({ name: `node ${i}`, ...node })) as ChainNode[], {
    chainId: 1,
    quorum,
    finality: 1,
    maxGasPriceWei: undefined,
    batchRuntime: "0x",
    encodeBalanceOf: () => "0x",
    encodeAllowance: () => "0x",
    encodeIsPaid: () => "0x",
  });
}

const priced = (base: bigint, tip: bigint): Partial<ChainNode> => ({ baseFee: async () => base, tip: async () => tip });
const needing = (gas: bigint): Partial<ChainNode> => ({ estimateGas: async () => ({ gas }) });
const gone: Partial<ChainNode> = {
  baseFee: () => Promise.reject(new Error("gone")),
  tip: () => Promise.reject(new Error("gone")),
};

describe("what gas costs", () => {
  test.each<[string, readonly Partial<ChainNode>[]]>([
    ["of two nodes", [priced(10n, 1n), priced(10n ** 15n, 10n ** 15n)]],
    ["of three, one of which is gone", [priced(10n, 1n), gone, priced(10n ** 15n, 10n ** 15n)]],
  ])("is never what one that boasts says, %s", async (_, nodes) => {
    expect(await chainOf(2, nodes).gasPrices()).toEqual({ nowWei: 11n, maxFeeWei: 21n, maxTipWei: 1n });
  });
});

describe("the gas that a payment needs", () => {
  test("is the most of what enough nodes say alike", async () => {
    expect(await chainOf(2, [needing(100n), needing(120n), needing(9_000n)]).estimateGas(call)).toEqual({ gas: 120n });
    expect(await chainOf(2, [needing(1n), needing(100n), needing(120n)]).estimateGas(call)).toEqual({ gas: 120n });
  });

  test("is nothing where they contradict each other: payouts wait", async () => {
    await expect(chainOf(2, [needing(21_000n), needing(9_000_000n)]).estimateGas(call)).rejects.toThrow(
      /contradict each other about the gas of a payment: 21000, 9000000/,
    );
  });
});
