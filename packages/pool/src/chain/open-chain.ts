import { errorText, type Logger, PoolError } from "@openpool/base";
import { encodeFunctionData } from "viem";
import type { Chain } from "../payouts/ports.ts";
import type { Hex } from "../payouts/types.ts";
import { majorityOf } from "./agreement.ts";
import { batchPayerAbi, batchPayerRuntime } from "./batch-payer-artifact.ts";
import { erc20Abi } from "./calls.ts";
import type { ChainNode } from "./node.ts";
import { openQuorumChain } from "./quorum.ts";
import { openViemNode } from "./viem-node.ts";

export interface ChainOptions {
  readonly rpcUrls: readonly string[];
  readonly chainId: number;
  /** How many nodes must agree; undefined: more than half. */
  readonly quorum: number | undefined;
  readonly finality: "finalized" | number;
  readonly maxGasPriceWei: bigint | undefined;
  /** Of one question to one node, in milliseconds. */
  readonly timeoutMs?: number;
}

export interface OpenedChain {
  readonly chain: Chain;
  readonly nodes: readonly ChainNode[];
  /** How many of the nodes must agree. */
  readonly quorum: number;
}

/** The chain behind several RPC URLs. No node has to be there yet. */
export function openChain(options: ChainOptions): OpenedChain {
  const nodes = options.rpcUrls.map((url) => openViemNode(url, { timeoutMs: options.timeoutMs ?? 10_000 }));
  return { nodes, chain: chainOf(nodes, options), quorum: quorumOf(nodes, options) };
}

const quorumOf = (nodes: readonly ChainNode[], { quorum }: Pick<ChainOptions, "quorum">): number =>
  quorum ?? majorityOf(nodes);

/** The chain as such nodes show it together. */
export function chainOf(nodes: readonly ChainNode[], options: Omit<ChainOptions, "rpcUrls">): Chain {
  const quorum = quorumOf(nodes, options);
  return openQuorumChain(nodes, {
    chainId: options.chainId,
    quorum,
    finality: options.finality,
    maxGasPriceWei: options.maxGasPriceWei,
    batchRuntime: batchPayerRuntime,
    encodeBalanceOf: (owner) => encodeFunctionData({ abi: erc20Abi, functionName: "balanceOf", args: [owner as Hex] }),
    encodeAllowance: (owner, spender) =>
      encodeFunctionData({ abi: erc20Abi, functionName: "allowance", args: [owner as Hex, spender as Hex] }),
    encodeIsPaid: (payer, batch) =>
      encodeFunctionData({ abi: batchPayerAbi, functionName: "isPaid", args: [payer as Hex, batch] }),
  });
}

/**
 * Asks every node which chain it is on. @throws PoolError `payout/wrong-chain` when one that answers is on another: with
 * its money nothing may be decided. A node that does not answer is left for later.
 */
export async function checkChainId(nodes: readonly ChainNode[], chainId: number, logger: Logger): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      let found: number;
      try {
        found = await node.chainId();
      } catch (error) {
        logger.warn("an RPC node does not answer", { node: node.name, error: errorText(error).split("\n")[0] });
        return;
      }
      if (found !== chainId) {
        throw new PoolError(
          { code: "payout/wrong-chain" },
          `The RPC node ${node.name} is on chain ${found}, and the pool pays on chain ${chainId}: correct --rpc-url or --chain-id.`,
        );
      }
    }),
  );
}
