import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import {
  encodeFunctionData,
  getCreate2Address,
  hashMessage,
  keccak256,
  parseAbi,
  serializeErc6492Signature,
  zeroHash,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Hex } from "../payouts/types.ts";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import type { ChainNode } from "./node.ts";
import { createSignatureCheck } from "./signatures.ts";
import { ourAddress } from "./signer.ts";
import { codeOf, deployCode, walletOf } from "./testing/wallets.ts";
import { openViemNode } from "./viem-node.ts";

const key = (n: number) => privateKeyToAccount(`0x${n.toString(16).padStart(64, "0")}`);
const [owner, thief] = [key(0xa11ce), key(0xbad)];
const TEXT = "pool.example.com wants you to sign in with your Ethereum account:";

let chain: LocalChain;
let node: ChainNode;
beforeAll(async () => {
  chain = await startLocalChain();
  node = openViemNode(chain.url);
}, 60_000);
afterAll(() => chain[Symbol.asyncDispose]());

const deploy = (data: Hex): Promise<WorkerAddress> => deployCode(chain, data);

test("a key signs for its own address, without a chain to ask", async () => {
  const check = createSignatureCheck([], 1);
  const signature = await owner.signMessage({ message: TEXT });
  expect(await check.text(ourAddress(owner.address), TEXT, signature)).toBe(true);
  expect(await check.text(ourAddress(thief.address), TEXT, signature)).toBe(false);
  expect(await check.text(ourAddress(owner.address), `${TEXT} `, signature)).toBe(false);
});

test("a wallet that is a contract says itself who signs for it", async () => {
  const check = createSignatureCheck([node], 1);
  const wallet = await deploy(walletOf(owner.address));
  const good = await owner.signMessage({ message: TEXT });
  expect(await check.text(wallet, TEXT, good)).toBe(true);
  expect(await check.hash(wallet, hashMessage(TEXT), good)).toBe(true);
  expect(await check.text(wallet, `${TEXT} `, good)).toBe(false);
  expect(await check.text(wallet, TEXT, await thief.signMessage({ message: TEXT }))).toBe(false);
  expect(await check.text(wallet, TEXT, "0x1234")).toBe(false);
  // The owner's own address is another worker than its wallet.
  expect(await createSignatureCheck([], 1).text(wallet, TEXT, good)).toBe(false);
});

test("a wallet that does not exist yet signs with what makes it", async () => {
  const check = createSignatureCheck([node], 1);
  const factory = await deploy(codeOf("Factory"));
  const wallet = ourAddress(
    getCreate2Address({ from: factory as Hex, salt: zeroHash, bytecodeHash: keccak256(walletOf(owner.address)) }),
  );
  const data = encodeFunctionData({ abi: parseAbi(["function make(address)"]), args: [owner.address] });
  const wrapped = async (by: typeof owner): Promise<Hex> =>
    serializeErc6492Signature({ address: factory as Hex, data, signature: await by.signMessage({ message: TEXT }) });
  expect(await check.text(wallet, TEXT, await wrapped(owner))).toBe(true);
  expect(await check.text(wallet, TEXT, await wrapped(thief))).toBe(false);
  // What makes one wallet says nothing about another address.
  expect(await check.text(ourAddress(thief.address), TEXT, await wrapped(owner))).toBe(false);
});

test("contracts that revert, answer nothing or are none sign nothing", async () => {
  const check = createSignatureCheck([node], 1);
  const signature = await owner.signMessage({ message: TEXT });
  for (const name of ["Reverts", "Silent"] as const) {
    expect(await check.text(await deploy(codeOf(name)), TEXT, signature), name).toBe(false);
  }
  const nobody = parseAddress(`0x${"77".repeat(20)}`) as WorkerAddress;
  expect(await check.text(nobody, TEXT, signature)).toBe(false);
});

test("enough nodes must say yes, and where they are silent nothing is decided", async () => {
  const wallet = await deploy(walletOf(owner.address));
  const signature = await owner.signMessage({ message: TEXT });
  const saying = (answer: boolean | Error): ChainNode => ({
    ...node,
    takesSignature: async () => {
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  const lying = saying(true);
  const denying = saying(false);
  const silent = saying(new Error("away"));
  const ask = (nodes: readonly ChainNode[]): Promise<boolean> =>
    createSignatureCheck(nodes, 2).text(wallet, TEXT, signature);
  expect(await ask([node, node, silent])).toBe(true);
  expect(await ask([lying, denying, denying])).toBe(false);
  await expect(ask([node, silent, silent])).rejects.toThrow("payout/no-quorum");
  await expect(ask([lying, denying, silent])).rejects.toThrow("payout/no-quorum");
});
