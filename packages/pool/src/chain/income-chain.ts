import { PoolError } from "@openpool/base";
import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import {
  type AbiEvent,
  type Address,
  type Client,
  formatLog,
  type Hex,
  hexToBytes,
  keccak256,
  numberToHex,
  pad,
  parseAbi,
  parseEventLogs,
  type RpcLog,
  stringToBytes,
  toEventSelector,
  zeroAddress,
} from "viem";
import { getBalance, getBlock, getBlockNumber, getChainId, readContract } from "viem/actions";
import { ownStakeInRound } from "../income/own-stake.ts";
import type { FeeCut, IncomeChain, IncomeLog, OrchestratorStanding } from "../income/types.ts";
import { majorityOf, openAgreement } from "./agreement.ts";
import { nodeErrorText, nodeName, rpcClient } from "./viem-node.ts";

/** Where Livepeer's contracts are found, by chain; on other chains the operator names the controller. */
const CONTROLLERS: Readonly<Record<number, Address>> = {
  42161: "0xD8E8328501E9645d16Cf49539efC04f734606ee4",
};

const TIMEOUT_MS = 20_000;

/** How nodes say that they keep no state of a block so old. */
const LACKS_STATE =
  /missing trie node|prun|archiv|historical|no state|state\b.{0,80}\b(?:not|un)[ -]?(?:available|found|exist)|older than/i;

const controllerAbi = parseAbi(["function getContract(bytes32 id) view returns (address)"]);
const brokerEvents = parseAbi([
  "event WinningTicketTransfer(address indexed sender, address indexed recipient, uint256 amount)",
  "event WinningTicketRedeemed(address indexed sender, address indexed recipient, uint256 faceValue, uint256 winProb, uint256 senderNonce, uint256 recipientRand, bytes auxData)",
]);
const bondingEvents = parseAbi(["event WithdrawFees(address indexed delegator, address recipient, uint256 amount)"]);
const roundsAbi = parseAbi(["function currentRound() view returns (uint256)"]);
const bondingAbi = parseAbi([
  "function getTranscoder(address transcoder) view returns (uint256 lastRewardRound, uint256 rewardCut, uint256 feeShare, uint256 lastActiveStakeUpdateRound, uint256 activationRound, uint256 deactivationRound, uint256 activeCumulativeRewards, uint256 cumulativeRewards, uint256 cumulativeFees, uint256 lastFeeRound)",
  "function getTranscoderEarningsPoolForRound(address transcoder, uint256 round) view returns (uint256 totalStake, uint256 transcoderRewardCut, uint256 transcoderFeeShare, uint256 cumulativeRewardFactor, uint256 cumulativeFeeFactor)",
  "function getDelegator(address delegator) view returns (uint256 bondedAmount, uint256 fees, address delegateAddress, uint256 delegatedAmount, uint256 startRound, uint256 lastClaimRound, uint256 nextUnbondingLockId)",
  "function transcoderTotalStake(address transcoder) view returns (uint256)",
  "function pendingStake(address delegator, uint256 endRound) view returns (uint256)",
  "function pendingFees(address delegator, uint256 endRound) view returns (uint256)",
]);

export interface IncomeChainOptions {
  readonly rpcUrls: readonly string[];
  /** How many of them must say the same before it counts; undefined: more than half. */
  readonly quorum: number | undefined;
  readonly orchestrator: WorkerAddress;
  /** Livepeer's controller; undefined: the one of Arbitrum One. */
  readonly controller: WorkerAddress | undefined;
  /** How many blocks behind the newest one a block is final; undefined: what the chain itself calls final. */
  readonly confirmations: number | undefined;
}

export class IncomeChainError extends PoolError<{
  readonly code: "income/no-controller" | "income/no-contract" | "income/bad-answer";
}> {}

interface Contracts {
  readonly broker: Address;
  readonly bonding: Address;
  readonly rounds: Address;
}

/** What one node says of an orchestrator's income. */
interface IncomeNode extends Omit<IncomeChain, "feeCut"> {
  readonly name: string;
  /** Rejects where the node keeps no state of that block. */
  feeCut(at: number | "latest"): Promise<FeeCut>;
}

/** The income of an orchestrator, as enough RPC nodes agree. Needs no key and no archive. */
export function openIncomeChain(options: IncomeChainOptions): IncomeChain {
  const nodes = options.rpcUrls.map((url) => openIncomeNode(url, options));
  const quorum = options.quorum ?? majorityOf(nodes);
  const { ask, agreed, reached } = openAgreement(nodes, quorum);
  return {
    chainId: () => agreed((node) => node.chainId()),
    finalBlock: () => reached((node) => node.finalBlock()),
    block: (number) => agreed((node) => node.block(number)),
    logs: (fromBlock, toBlock) => agreed((node) => node.logs(fromBlock, toBlock)),
    async feeCut(block) {
      let without = 0;
      try {
        return await agreed((node) =>
          node.feeCut(block).catch((error: unknown) => {
            if (LACKS_STATE.test(nodeErrorText(error))) without++;
            throw error;
          }),
        );
      } catch (error) {
        // Most nodes keep the state of the last blocks only. Whatever else it is passes: the block is read again then.
        if (nodes.length - without >= quorum) throw error;
        return agreed((node) => node.feeCut("latest"));
      }
    },
    async standing() {
      const all = await ask((node) => node.standing());
      // For people: nodes are some blocks apart. Of each number the least that a quorum vouches for.
      const least = (number: (one: OrchestratorStanding) => bigint): bigint =>
        all.map(number).sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))[quorum - 1] ?? 0n;
      return {
        feeSharePpm: least((one) => one.feeSharePpm),
        ownStake: least((one) => one.ownStake),
        totalStake: least((one) => one.totalStake),
        from: "latest",
        withdrawableWei: least((one) => one.withdrawableWei),
        walletWei: least((one) => one.walletWei),
      };
    },
  };
}

function openIncomeNode(url: string, { orchestrator: of, controller, confirmations }: IncomeChainOptions): IncomeNode {
  const client: Client = rpcClient(url, TIMEOUT_MS);
  const orchestrator = of as Address;
  let found: Promise<Contracts> | undefined;

  const lookUp = async (): Promise<Contracts> => {
    const chainId = await getChainId(client);
    const registry = (controller as Address | undefined) ?? CONTROLLERS[chainId];
    if (registry === undefined) {
      throw new IncomeChainError(
        { code: "income/no-controller" },
        `Livepeer's controller on chain ${chainId} is not known: name it with --controller.`,
      );
    }
    const contract = async (name: string): Promise<Address> => {
      const address = await readContract(client, {
        address: registry,
        abi: controllerAbi,
        functionName: "getContract",
        args: [keccak256(stringToBytes(name))],
      });
      if (address !== zeroAddress) return address;
      throw new IncomeChainError(
        { code: "income/no-contract" },
        `The controller ${registry} on chain ${chainId} knows no ${name}: check --controller and the RPC URL.`,
      );
    };
    const [broker, bonding, rounds] = await Promise.all([
      contract("TicketBroker"),
      contract("BondingManager"),
      contract("RoundsManager"),
    ]);
    return { broker, bonding, rounds };
  };
  /** Proxies: their addresses stay for good, whatever stands behind them. */
  const contracts = async (): Promise<Contracts> => {
    found ??= lookUp();
    try {
      return await found;
    } catch (error) {
      found = undefined;
      throw error;
    }
  };

  const cutAt = async (blockNumber: bigint | undefined): Promise<FeeCut> => {
    const { bonding, rounds } = await contracts();
    const at = blockNumber === undefined ? {} : { blockNumber };
    const round = await readContract(client, { ...at, address: rounds, abi: roundsAbi, functionName: "currentRound" });
    const poolOf = (its: bigint) =>
      readContract(client, {
        ...at,
        address: bonding,
        abi: bondingAbi,
        functionName: "getTranscoderEarningsPoolForRound",
        args: [orchestrator, its],
      });
    const [pool, poolBefore, transcoder, delegator, pendingStake, nextStake] = await Promise.all([
      poolOf(round),
      poolOf(round === 0n ? 0n : round - 1n),
      readContract(client, {
        ...at,
        address: bonding,
        abi: bondingAbi,
        functionName: "getTranscoder",
        args: [orchestrator],
      }),
      readContract(client, {
        ...at,
        address: bonding,
        abi: bondingAbi,
        functionName: "getDelegator",
        args: [orchestrator],
      }),
      readContract(client, {
        ...at,
        address: bonding,
        abi: bondingAbi,
        functionName: "pendingStake",
        args: [orchestrator, 0n],
      }),
      readContract(client, {
        ...at,
        address: bonding,
        abi: bondingAbi,
        functionName: "transcoderTotalStake",
        args: [orchestrator],
      }),
    ]);
    const [poolStake, , poolFeeShare, rewardFactor] = pool;
    const [, , , rewardFactorBefore] = poolBefore;
    const [lastRewardRound, , feeShare, , , , activeCumulativeRewards, cumulativeRewards] = transcoder;
    const [, , , , , lastClaimRound] = delegator;
    // A round in which nothing has happened yet has no numbers of its own.
    const inForce = poolStake > 0n;
    return {
      feeSharePpm: inForce ? poolFeeShare : feeShare,
      totalStake: inForce ? poolStake : nextStake,
      ownStake: ownStakeInRound({
        round,
        lastRewardRound,
        lastClaimRound,
        pendingStake,
        cumulativeRewards,
        activeCumulativeRewards,
        rewardFactorBefore,
        rewardFactor,
      }),
      from: blockNumber === undefined ? "latest" : "block",
    };
  };

  return {
    name: nodeName(url),
    chainId: () => getChainId(client),
    async finalBlock() {
      if (confirmations !== undefined) {
        return Math.max(0, Number(await getBlockNumber(client, { cacheTime: 0 })) - confirmations);
      }
      return Number((await getBlock(client, { blockTag: "finalized" })).number);
    },
    async block(number) {
      try {
        const block = await getBlock(client, { blockNumber: BigInt(number) });
        return { number, hash: block.hash, timeMs: Number(block.timestamp) * 1000 };
      } catch (error) {
        if (error instanceof Error && error.name === "BlockNotFoundError") return undefined;
        throw error;
      }
    },
    async logs(fromBlock, toBlock) {
      const { broker, bonding } = await contracts();
      const me = pad(orchestrator, { size: 32 });
      const ask = (address: Address, topics: readonly (Hex | readonly Hex[] | null)[]): Promise<readonly RpcLog[]> =>
        client.request({
          method: "eth_getLogs",
          params: [{ address, topics: [...topics], fromBlock: numberToHex(fromBlock), toBlock: numberToHex(toBlock) }],
        });
      const [tickets, withdrawals] = await Promise.all([
        ask(broker, [brokerEvents.map((event) => toEventSelector(event)), null, me]),
        ask(bonding, [toEventSelector(bondingEvents[0]), me]),
      ]);
      const parse = <const Abi extends readonly AbiEvent[]>(abi: Abi, emitter: Address, logs: readonly RpcLog[]) =>
        parseEventLogs({
          abi,
          strict: true,
          logs: logs.filter((log) => same(log.address, emitter)).map((log) => formatLog(log)),
        });
      return [
        ...ticketsOf(parse(brokerEvents, broker, tickets).filter(({ args }) => same(args.recipient, orchestrator))),
        ...parse(bondingEvents, bonding, withdrawals)
          .filter(({ args }) => same(args.delegator, orchestrator))
          .map((log): IncomeLog => ({
            kind: "withdrawn",
            ...placeOf(log),
            to: ours(log.args.recipient),
            amountWei: log.args.amount,
          })),
      ].sort((a, b) => a.block.number - b.block.number || a.logIndex - b.logIndex);
    },
    feeCut: (at) => cutAt(at === "latest" ? undefined : BigInt(at)),
    async standing() {
      const { bonding } = await contracts();
      const [cut, delegator, pendingFees, walletWei, rounds] = await Promise.all([
        cutAt(undefined),
        readContract(client, { address: bonding, abi: bondingAbi, functionName: "getDelegator", args: [orchestrator] }),
        readContract(client, {
          address: bonding,
          abi: bondingAbi,
          functionName: "pendingFees",
          args: [orchestrator, 0n],
        }),
        getBalance(client, { address: orchestrator }),
        contracts(),
      ]);
      const round = await readContract(client, {
        address: rounds.rounds,
        abi: roundsAbi,
        functionName: "currentRound",
      });
      const [, fees, , , , lastClaimRound] = delegator;
      // After a claim nothing more of this round can be taken before the next one.
      return { ...cut, withdrawableWei: lastClaimRound >= round ? fees : pendingFees, walletWei };
    },
  };
}

type TicketLog = ReturnType<typeof parseEventLogs<typeof brokerEvents, true>>[number];

/**
 * The contract says what it paid just before it says which ticket that was for, within one transaction; a ticket that brought
 * nothing has the second word alone.
 */
function ticketsOf(logs: readonly TicketLog[]): IncomeLog[] {
  const found: IncomeLog[] = [];
  let paid: (IncomeLog & { kind: "redeemed" }) | undefined;
  for (const log of logs) {
    const sender = ours(log.args.sender);
    if (log.eventName === "WinningTicketTransfer") {
      paid = { kind: "redeemed", ...placeOf(log), sender, paidWei: log.args.amount, faceWei: undefined };
      found.push(paid);
      continue;
    }
    if (paid && paid.tx === log.transactionHash && paid.sender === sender) {
      found[found.length - 1] = { ...paid, faceWei: log.args.faceValue };
    } else {
      found.push({ kind: "unpaid", ...placeOf(log), sender, faceWei: log.args.faceValue });
    }
    paid = undefined;
  }
  return found;
}

function placeOf(log: {
  readonly blockNumber: bigint | null;
  readonly blockHash: Hex | null;
  readonly logIndex: number | null;
  readonly transactionHash: Hex | null;
}): {
  readonly block: { readonly number: number; readonly hash: string };
  readonly logIndex: number;
  readonly tx: string;
} {
  const { blockNumber, blockHash, logIndex, transactionHash } = log;
  if (blockNumber === null || blockHash === null || logIndex === null || transactionHash === null) {
    throw new IncomeChainError(
      { code: "income/bad-answer" },
      "The RPC node answered with an event that is in no block yet: it was asked for blocks.",
    );
  }
  return { block: { number: Number(blockNumber), hash: blockHash }, logIndex, tx: transactionHash };
}

function ours(address: Address): WorkerAddress {
  return checksumAddress(hexToBytes(address));
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
