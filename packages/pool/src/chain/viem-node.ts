import type { WorkerAddress } from "@openpool/protocol";
import {
  BaseError,
  concat,
  createPublicClient,
  encodeDeployData,
  erc6492SignatureValidatorAbi,
  erc6492SignatureValidatorByteCode,
  ExecutionRevertedError,
  http,
  InsufficientFundsError,
  type Log,
  parseAbiItem,
  type PublicClient,
  RpcRequestError,
  size,
  slice,
  toEventSelector,
  TransactionReceiptNotFoundError,
} from "viem";
import type { MadeTransaction, Receipt } from "../payouts/ports.ts";
import type { Hex } from "../payouts/types.ts";
import type { ChainNode } from "./node.ts";
import { ourAddress } from "./signer.ts";

const UNPAID = toEventSelector("Unpaid(address,bytes32,uint256)");
const PAID_EVENT = parseAbiItem("event Paid(address indexed payer, bytes32 indexed batch, uint256 unpaid)");
const PAID = toEventSelector(PAID_EVENT);
const TRANSFER = toEventSelector("Transfer(address,address,uint256)");

/** The host of an RPC URL: paths and queries of such URLs are keys more often than not. */
export function nodeName(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "an RPC node";
}

/** What a node's error says, without its URL and request (a URL may hold a key). */
export function nodeErrorText(error: unknown): string {
  const text = error instanceof BaseError ? error.details || error.shortMessage : String(error);
  return text
    .split("\n")[0]!
    .replaceAll(/\b(?:https?|wss?):\/\/\S+/g, "the node")
    .slice(0, 300);
}

/** Speaks to one node. Every question is bounded in time and asked once: whether again is the caller's decision. */
export function rpcClient(url: string, timeoutMs: number): PublicClient {
  return createPublicClient({ transport: http(url, { timeout: timeoutMs, retryCount: 0 }), cacheTime: 0 });
}

/** One JSON-RPC endpoint. */
export function openViemNode(url: string, { timeoutMs = 10_000 }: { readonly timeoutMs?: number } = {}): ChainNode {
  const client = rpcClient(url, timeoutMs);
  const address = (account: WorkerAddress): Hex => account as Hex;
  return {
    name: nodeName(url),
    chainId: () => client.getChainId(),
    latestBlock: async () => Number(await client.getBlockNumber({ cacheTime: 0 })),
    finalizedBlock: async () => Number((await client.getBlock({ blockTag: "finalized" })).number),
    async blockHash(number) {
      const block = await client.request({
        method: "eth_getBlockByNumber",
        params: [`0x${number.toString(16)}`, false],
      });
      return block?.hash ?? undefined;
    },
    transactionCount: (account, at) =>
      client.getTransactionCount({
        address: address(account),
        ...(typeof at === "number" ? { blockNumber: BigInt(at) } : { blockTag: at }),
      }),
    blockTime: async (number) => Number((await client.getBlock({ blockNumber: BigInt(number) })).timestamp) * 1000,
    async transactionsIn(number, account) {
      const { transactions } = await client.getBlock({ blockNumber: BigInt(number), includeTransactions: true });
      return transactions.flatMap((one): MadeTransaction[] =>
        account === undefined || one.from.toLowerCase() === account.toLowerCase()
          ? [
              {
                hash: one.hash,
                nonce: one.nonce,
                block: number,
                to: one.to ? ourAddress(one.to) : undefined,
                valueWei: one.value,
                data: one.input,
              },
            ]
          : [],
      );
    },
    async batchesIn(contract, first, last) {
      const logs = await client.getLogs({
        address: address(contract),
        event: PAID_EVENT,
        fromBlock: BigInt(first),
        toBlock: BigInt(last),
        strict: true,
      });
      return logs.map((log) => ({
        payer: ourAddress(log.args.payer),
        batch: log.args.batch,
        hash: log.transactionHash,
        block: Number(log.blockNumber),
      }));
    },
    async receipt(hash) {
      try {
        const found = await client.getTransactionReceipt({ hash });
        return {
          hash: found.transactionHash,
          blockNumber: Number(found.blockNumber),
          blockHash: found.blockHash,
          succeeded: found.status === "success",
          gasUsed: found.gasUsed,
          gasPriceWei: found.effectiveGasPrice,
          batches: batchesOf(found.logs),
          transfers: transfersOf(found.logs),
          loggedBy: [...new Set(found.logs.map((log) => ourAddress(log.address)))],
        };
      } catch (error) {
        if (error instanceof TransactionReceiptNotFoundError) return undefined;
        throw error;
      }
    },
    baseFee: async () => (await client.getBlock({ blockTag: "latest" })).baseFeePerGas ?? (await client.getGasPrice()),
    tip: () => client.estimateMaxPriorityFeePerGas(),
    balance: (account) => client.getBalance({ address: address(account) }),
    code: async (account) => (await client.getCode({ address: address(account) })) ?? "0x",
    async call(to, data, atBlock) {
      const at = atBlock === undefined ? {} : { blockNumber: BigInt(atBlock) };
      try {
        return (await client.call({ to: address(to), data, ...at })).data ?? "0x";
      } catch (error) {
        if (hasReverted(error)) return "0x";
        throw error;
      }
    },
    async takesSignature(account, hash, signature) {
      // Code that is run without being deployed: it makes the wallet where there is none yet, asks it, and says 1 or 0.
      const data = encodeDeployData({
        abi: erc6492SignatureValidatorAbi,
        bytecode: erc6492SignatureValidatorByteCode,
        args: [address(account), hash, signature],
      });
      try {
        return BigInt((await client.call({ data })).data ?? "0x0") === 1n;
      } catch (error) {
        if (hasReverted(error)) return false;
        throw error;
      }
    },
    async estimateGas({ from, to, valueWei, data }) {
      const ask = async (): Promise<{ readonly gas: bigint } | Refusal> => {
        try {
          return { gas: await client.estimateGas({ account: address(from), to: address(to), value: valueWei, data }) };
        } catch (error) {
          return refusalIn(error);
        }
      };
      const first = await ask();
      if ("gas" in first || first.isCertain) return first;
      // Nodes have many words for code that fails (a bad opcode, no gas left). They are about the payment only where the
      // node can estimate one that nothing speaks against, and says the same when it is asked once more.
      await client.estimateGas({ account: address(from), to: address(from), value: 0n });
      return ask();
    },
    async send(raw) {
      try {
        await client.sendRawTransaction({ serializedTransaction: raw });
      } catch (cause) {
        // What the node itself said, and not what kind of error that is.
        throw new Error(nodeErrorText(cause), { cause });
      }
    },
  };
}

interface Refusal {
  readonly refused: string;
  /** The node says that the payment's code refused it, in the words that all nodes have for that. */
  readonly isCertain: boolean;
}

/** JSON-RPC codes for requests that were not answered: unknown or bad ones, too many, state that is not there. */
const TROUBLE_CODES: ReadonlySet<number> = new Set([
  429, -32700, -32600, -32601, -32602, -32001, -32002, -32004, -32005, -32006, -32011, -32097,
]);
/** Under these codes some nodes tell of code that fails, and others of their own trouble: only the words say which. */
const VAGUE_CODES: ReadonlySet<number> = new Set([-32000, -32603]);
const OF_CODE = /opcode|out ?of ?gas|gas required|stack ?(under|over)|invalid ?jump|evm ?error|vm ex|revert/i;

/** What a node says against a payment; throws the error where that is trouble of the node's own. */
function refusalIn(error: unknown): Refusal {
  const refused = nodeErrorText(error);
  if (hasReverted(error) || isCausedBy(error, InsufficientFundsError)) return { refused, isCertain: true };
  const answer = error instanceof BaseError ? error.walk((one) => one instanceof RpcRequestError) : null;
  if (!(answer instanceof RpcRequestError) || TROUBLE_CODES.has(answer.code)) throw error;
  if (VAGUE_CODES.has(answer.code) && !OF_CODE.test(refused)) throw error;
  return { refused, isCertain: false };
}

function hasReverted(error: unknown): boolean {
  return isCausedBy(error, ExecutionRevertedError);
}

function isCausedBy(error: unknown, kind: typeof ExecutionRevertedError | typeof InsufficientFundsError): boolean {
  return error instanceof BaseError && error.walk((one) => one instanceof kind) !== null;
}

function batchesOf(logs: readonly Log[]): Receipt["batches"] {
  return logs.flatMap((log): Receipt["batches"] => {
    const [topic, payer, batch] = log.topics;
    if (payer === undefined || batch === undefined || log.topics.length !== 3 || size(log.data) !== 32) return [];
    const which = { contract: ourAddress(log.address), payer: party(payer), batch };
    const number = Number(BigInt(log.data));
    if (topic === UNPAID) return [{ ...which, says: "unpaid", place: number }];
    return topic === PAID ? [{ ...which, says: "done", unpaid: number }] : [];
  });
}

/** The address in a word of an event. */
function party(word: Hex): WorkerAddress {
  return ourAddress(`0x${word.slice(26)}`);
}

/** Not all tokens index what they should: in whatever part of the event its three words are, their order is the same. */
function transfersOf(logs: readonly Log[]): Receipt["transfers"] {
  return logs.flatMap((log) => {
    const [topic, ...indexed] = log.topics;
    const words = concat([...indexed, log.data]);
    if (topic !== TRANSFER || size(words) !== 96) return [];
    const [from, to] = [party(slice(words, 0, 32)), party(slice(words, 32, 64))];
    return [{ token: ourAddress(log.address), from, to, amount: BigInt(slice(words, 64)) }];
  });
}
