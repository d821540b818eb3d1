import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { BatchDone, Chain, MadeTransaction, NonceFate, Payee, Receipt } from "../payouts/ports.ts";
import type { Hex } from "../payouts/types.ts";
import { keyOf, openAgreement, shortly } from "./agreement.ts";
import type { ChainNode } from "./node.ts";

export interface QuorumOptions {
  readonly chainId: number;
  /** How many nodes must say the same before it counts. */
  readonly quorum: number;
  /** `finalized`: what the chain calls so; a number: a block counts once so many, itself included, are there. */
  readonly finality: "finalized" | number;
  /** Never offer more than this for a gas, in wei. */
  readonly maxGasPriceWei: bigint | undefined;
  /** What the batch contract's code must be. */
  readonly batchRuntime: Hex;
  readonly encodeBalanceOf: (owner: WorkerAddress) => Hex;
  readonly encodeAllowance: (owner: WorkerAddress, spender: WorkerAddress) => Hex;
  readonly encodeIsPaid: (payer: WorkerAddress, batch: Hex) => Hex;
}

/** Most nodes answer a question about the events of so many blocks. */
const LOG_BLOCKS = 2_000;

/** What one node sees of a nonce. */
type Sight =
  | { readonly kind: "mined"; readonly final: boolean; readonly receipt: Receipt }
  | { readonly kind: "taken"; readonly final: boolean }
  | { readonly kind: "open" }
  | { readonly kind: "unsure"; readonly why: string };

/**
 * A chain that is only believed where enough nodes agree. One node alone (quorum 1) is believed as it is: then it must be
 * one's own.
 */
export function openQuorumChain(nodes: readonly ChainNode[], options: QuorumOptions): Chain {
  const { quorum } = options;
  const { ask, agreed, reached } = openAgreement(nodes, quorum);
  const byValue = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
  /** The least that a quorum vouches for: who boasts decides nothing. */
  const vouched = (values: bigint[]): bigint => values.sort(byValue).reverse()[quorum - 1] ?? 0n;

  /** Of what a quorum says in about the same words the most: too little gas is burnt for nothing, too much is charged to somebody. */
  function alike(values: bigint[]): bigint {
    const sorted = values.sort(byValue);
    const most = sorted.findLast((value, i) => {
      const least = sorted[i - quorum + 1];
      return least !== undefined && value * 4n <= least * 5n;
    });
    if (most !== undefined) return most;
    throw new PoolError(
      { code: "payout/no-quorum" },
      `The RPC nodes contradict each other about the gas of a payment: ${sorted.join(", ")}.`,
    );
  }

  /** Before all that decides something: an address may lead to another chain today. */
  async function onItsChain(node: ChainNode): Promise<void> {
    const found = await node.chainId();
    if (found !== options.chainId) {
      throw new PoolError(
        { code: "payout/wrong-chain" },
        `The RPC node ${node.name} is on chain ${found}, and the pool pays on chain ${options.chainId}.`,
      );
    }
  }

  const finalBlock = async (node: ChainNode): Promise<number> =>
    options.finality === "finalized" ? node.finalizedBlock() : (await node.latestBlock()) - options.finality + 1;

  /** The last block, final or not, that a quorum has. */
  const lastBlock = (): Promise<number> => reached((node) => node.latestBlock());
  /** The last block that was made before a time; -1: none. */
  async function blockBefore(atMs: number): Promise<number> {
    let [low, high] = [-1, await lastBlock()];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((await agreed((node) => node.blockTime(middle))) < atMs) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  /** An account's next nonce after a block. */
  const nonceAfter = async (account: WorkerAddress, block: number): Promise<number> =>
    block < 0 ? 0 : agreed((node) => node.transactionCount(account, block));

  async function sight(node: ChainNode, account: WorkerAddress, nonce: number, hashes: readonly Hex[]): Promise<Sight> {
    await onItsChain(node);
    // In this order: what is mined between two questions then shows as its receipt, never as someone else's.
    const final = await finalBlock(node);
    const count = await node.transactionCount(account, "latest");
    for (const hash of hashes) {
      const receipt = await node.receipt(hash);
      if (!receipt) continue;
      const canonical = (await node.blockHash(receipt.blockNumber)) === receipt.blockHash;
      if (!canonical || receipt.hash !== hash) {
        return { kind: "unsure", why: `${node.name} gives a receipt of a block that it does not have` };
      }
      return { kind: "mined", final: receipt.blockNumber <= final, receipt };
    }
    if (count <= nonce) return { kind: "open" };
    // A node that does not keep such old state cannot vote on what is final.
    const finalCount = final < 0 ? 0 : await node.transactionCount(account, final).catch(() => 0);
    return { kind: "taken", final: finalCount > nonce };
  }

  function judge(sights: readonly Sight[]): NonceFate {
    const mined = new Map<string, Extract<Sight, { kind: "mined" }>[]>();
    for (const one of sights) {
      if (one.kind !== "mined") continue;
      const key = keyOf(one.receipt);
      mined.set(key, [...(mined.get(key) ?? []), one]);
    }
    for (const [first, ...rest] of mined.values()) {
      if (!first || rest.length + 1 < quorum) continue;
      const finals = [first, ...rest].filter((one) => one.final).length;
      return { kind: "mined", final: finals >= quorum, receipt: first.receipt };
    }
    const taken = sights.filter((one) => one.kind === "taken");
    if (taken.length >= quorum) {
      return { kind: "taken", final: taken.filter((one) => one.final).length >= quorum };
    }
    if (sights.filter((one) => one.kind === "open").length >= quorum) return { kind: "open" };
    const why = sights.flatMap((one) => (one.kind === "unsure" ? [one.why] : []))[0];
    return { kind: "unsure", why: why ?? "the RPC nodes do not agree yet" };
  }

  return {
    chainId: options.chainId,
    lastBlock,
    nextNonce: (account) =>
      reached(async (node) => {
        await onItsChain(node);
        return node.transactionCount(account, "latest");
      }),
    async pendingNonce(account) {
      const counts = await ask(async (node) => {
        await onItsChain(node);
        return node.transactionCount(account, "pending");
      });
      return Math.max(...counts);
    },
    async settledNonce(account) {
      // What a quorum vouches for at least is not enough here: one that lies beside one that is silent would decide.
      const { latest, final } = await agreed(async (node) => {
        await onItsChain(node);
        const block = await finalBlock(node);
        const count = await node.transactionCount(account, "latest");
        return { latest: count, final: block < 0 ? 0 : await node.transactionCount(account, block) };
      });
      return latest === final ? latest : undefined;
    },
    async nonceAt(account, atMs) {
      return nonceAfter(account, await blockBefore(atMs));
    },
    async madeSince(account, atMs, from, to) {
      const made: MadeTransaction[] = [];
      // Halves the blocks until each holds one that the account did something in.
      const look = async (low: number, lowNonce: number, high: number, highNonce: number): Promise<void> => {
        if (highNonce <= Math.max(from, lowNonce) || lowNonce >= to) return;
        if (high - low === 1) {
          const inBlock = await agreed((node) => node.transactionsIn(high, account));
          made.push(...inBlock.filter(({ nonce }) => nonce >= from && nonce < to));
          return;
        }
        const middle = Math.floor((low + high) / 2);
        const nonce = await nonceAfter(account, middle);
        await look(low, lowNonce, middle, nonce);
        await look(middle, nonce, high, highNonce);
      };
      const [start, high] = [await blockBefore(atMs), await lastBlock()];
      const startNonce = await nonceAfter(account, start);
      // Where the time was wrong, all of the chain is looked at.
      const [low, lowNonce] = startNonce > from ? [-1, 0] : [start, startNonce];
      await look(low, lowNonce, high, await nonceAfter(account, high));
      return made.sort((a, b) => a.nonce - b.nonce);
    },
    transactionsIn: (block, account) => agreed((node) => node.transactionsIn(block, account)),
    async batchesSince(contract, atMs) {
      const found: BatchDone[] = [];
      const high = await lastBlock();
      for (let first = (await blockBefore(atMs)) + 1; first <= high; first += LOG_BLOCKS) {
        const last = Math.min(high, first + LOG_BLOCKS - 1);
        found.push(...(await agreed((node) => node.batchesIn(contract, first, last))));
      }
      return found;
    },
    async fate(account, nonce, hashes) {
      const sights = await Promise.all(
        nodes.map((node) =>
          sight(node, account, nonce, hashes).catch((error: unknown): Sight => ({
            kind: "unsure",
            why: `${node.name}: ${shortly(error)}`,
          })),
        ),
      );
      return judge(sights);
    },
    async finalReceipt(hash) {
      // As a nonce of nobody: without a receipt it is simply not there.
      const sights = await ask(async (node): Promise<Sight> => {
        await onItsChain(node);
        const receipt = await node.receipt(hash);
        if (!receipt) return { kind: "open" };
        const final = await finalBlock(node);
        const canonical = (await node.blockHash(receipt.blockNumber)) === receipt.blockHash;
        return { kind: "mined", final: canonical && receipt.blockNumber <= final, receipt };
      });
      const fate = judge(sights);
      if (fate.kind === "mined")
        return fate.final ? fate.receipt : { none: "its block is not final yet", agreed: false };
      if (fate.kind === "unsure") return { none: fate.why, agreed: false };
      return { none: "the chain does not know it", agreed: true };
    },
    async gasPrices() {
      const answers = await ask(async (node) => ({ base: await node.baseFee(), tip: await node.tip() }));
      const baseWei = vouched(answers.map((one) => one.base));
      const maxTipWei = vouched(answers.map((one) => one.tip));
      const nowWei = baseWei + maxTipWei;
      // Twice the base fee outlasts six full blocks in a row; the unused part is not charged.
      const wanted = 2n * baseWei + maxTipWei;
      const limit = options.maxGasPriceWei;
      const maxFeeWei = limit !== undefined && wanted > limit ? limit : wanted;
      return { nowWei, maxFeeWei, maxTipWei: maxTipWei > maxFeeWei ? maxFeeWei : maxTipWei };
    },
    async balance(account) {
      return vouched(await ask((node) => node.balance(account)));
    },
    async tokenBalance(token, account) {
      return wordOf(await agreed((node) => node.call(token, options.encodeBalanceOf(account))));
    },
    async tokenAllowance(token, owner, spender) {
      return wordOf(await agreed((node) => node.call(token, options.encodeAllowance(owner, spender))));
    },
    async isBatchDone(contract, payer, batch) {
      const answer = wordOf(await agreed((node) => node.call(contract, options.encodeIsPaid(payer, batch))));
      if (answer !== undefined) return answer !== 0n;
      throw new PoolError(
        { code: "payout/no-quorum" },
        `There is no batch contract at ${contract}, or the RPC nodes do not know it: nobody can say whether it took batch ${batch}.`,
      );
    },
    async payees(addresses, asset) {
      const found = new Map<WorkerAddress, Payee>();
      for (let i = 0; i < addresses.length; i += 20) {
        await Promise.all(
          addresses.slice(i, i + 20).map(async (address) => {
            const payee = await agreed(async (node): Promise<Payee> => {
              const code = await node.code(address);
              if (asset !== "eth") {
                const held = wordOf(await node.call(asset, options.encodeBalanceOf(address))) ?? 0n;
                return { exists: held > 0n, isContract: code !== "0x" };
              }
              const [count, balance] = await Promise.all([
                node.transactionCount(address, "latest"),
                node.balance(address),
              ]);
              // An account that has delegated to code (0xef0100…) runs it when it is paid, as a contract does.
              return { exists: code !== "0x" || count > 0 || balance > 0n, isContract: code !== "0x" };
            });
            found.set(address, payee);
          }),
        );
      }
      return found;
    },
    async estimateGas(call) {
      const answers = await ask((node) => node.estimateGas(call));
      const refused = answers.flatMap((one) => ("refused" in one ? [one.refused] : []));
      const gas = answers.flatMap((one) => ("gas" in one ? [one.gas] : []));
      if (gas.length >= quorum) return { gas: alike(gas) };
      // Code can show itself differently to each node: that is its own trouble, and stops nobody else's payment.
      return { refused: refused[0] ?? "no reason given", agreed: refused.length >= quorum };
    },
    async hasBatchContract(address) {
      const code = await agreed(async (node) => {
        await onItsChain(node);
        return node.code(address);
      });
      return code.toLowerCase() === options.batchRuntime.toLowerCase();
    },
    async send(raw) {
      const answers = await Promise.allSettled(
        nodes.map(async (node) => {
          await onItsChain(node);
          await node.send(raw);
        }),
      );
      return answers.map(
        (one, i) => `${nodes[i]?.name}: ${one.status === "fulfilled" ? "taken" : shortly(one.reason)}`,
      );
    },
  };
}

/** A number that a contract answered; undefined where it did not answer one. */
function wordOf(data: Hex): bigint | undefined {
  return data.length === 66 ? BigInt(data) : undefined;
}
