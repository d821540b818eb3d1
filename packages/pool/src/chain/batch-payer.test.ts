import { readFileSync } from "node:fs";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactFile, batchPayerArtifact } from "../../contracts/compile.ts";
import type { Hex } from "../payouts/types.ts";
import { calls } from "./calls.ts";
import { deployBatchPayer } from "./deploy.ts";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import { parseKey, signerOfKey } from "./signer.ts";
import { deployTestContract } from "./testing/deploy-test-contract.ts";
import { openViemNode } from "./viem-node.ts";

test("the committed contract is what its source compiles to, byte for byte", () => {
  expect(readFileSync(artifactFile, "utf8")).toBe(batchPayerArtifact());
});

describe("on a chain", () => {
  let chain: LocalChain;
  let contract: WorkerAddress;
  const rich = signerOfKey(parseKey("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"));
  const plain = (n: number): WorkerAddress => parseAddress(`0x${n.toString(16).padStart(40, "d")}`) as WorkerAddress;
  const id = (n: number): Hex => `0x${n.toString(16).padStart(64, "0")}`;

  beforeAll(async () => {
    chain = await startLocalChain();
    const deployer = signerOfKey(parseKey(chain.richKeys[1] ?? ""));
    contract = (await deployBatchPayer(chain.url, deployer, { pollMs: 20 })).address;
  });
  afterAll(() => chain[Symbol.asyncDispose]());

  async function send(to: WorkerAddress, data: Hex, valueWei = 0n, gas = 10_000_000n) {
    const hash = String(
      await chain.request("eth_sendTransaction", [
        {
          from: rich.address,
          to,
          data,
          value: `0x${valueWei.toString(16)}`,
          gas: `0x${gas.toString(16)}`,
        },
      ]),
    ) as Hex;
    const node = openViemNode(chain.url);
    for (;;) {
      const receipt = await node.receipt(hash);
      // A block is made right after the transaction is taken, but not before that is answered.
      if (receipt) return receipt;
    }
  }
  const make = async (name: "Refuses" | "Burns" | "Bombs" | "Takes" | "Reenters", ...args: Hex[]) =>
    (await deployTestContract(chain, name, ...args)).address;
  const balance = (of: WorkerAddress): Promise<bigint> => openViemNode(chain.url).balance(of);
  const unpaid = (batches: readonly { readonly says: string }[]): unknown[] =>
    batches.flatMap((one) => ("place" in one ? [one.place] : []));

  test("payees that refuse, burn gas or answer at length keep nobody from being paid, and their money comes back", async () => {
    const hostile = [await make("Refuses"), await make("Burns"), await make("Bombs")];
    const payees = [plain(1), hostile[0]!, plain(2), hostile[1]!, hostile[2]!, await make("Takes"), plain(3)];
    const data = calls.payEth(
      id(1),
      payees.map((to) => ({ to, amount: 1_000n })),
    );
    const receipt = await send(contract, data, 7_000n);
    expect(receipt.succeeded).toBe(true);
    expect(unpaid(receipt.batches)).toEqual([1, 3, 4]);
    expect(receipt.batches.at(-1)).toMatchObject({ says: "done", unpaid: 3, payer: rich.address, batch: id(1) });
    expect(await Promise.all(payees.map(balance))).toEqual([1_000n, 0n, 1_000n, 0n, 0n, 1_000n, 1_000n]);
    expect(await balance(contract)).toBe(0n);
  });

  test("a batch is paid once, and only with the exact sum", async () => {
    const data = calls.payEth(id(2), [{ to: plain(4), amount: 5n }]);
    expect((await send(contract, data, 5n)).succeeded).toBe(true);
    expect((await send(contract, data, 5n)).succeeded).toBe(false);
    for (const wrong of [4n, 6n]) {
      const other = calls.payEth(id(3), [{ to: plain(4), amount: 5n }]);
      expect((await send(contract, other, wrong)).succeeded).toBe(false);
    }
    expect(await balance(plain(4))).toBe(5n);
  });

  test("with too little gas nothing happens, instead of payees that seem to refuse", async () => {
    const takes = await make("Takes");
    const data = calls.payEth(
      id(4),
      Array.from({ length: 20 }, () => ({ to: takes, amount: 1n })),
    );
    for (const gas of [100_000n, 150_000n, 200_000n, 250_000n, 300_000n]) {
      const receipt = await send(contract, data, 20n, gas);
      if (receipt.succeeded) expect(unpaid(receipt.batches)).toEqual([]);
    }
    const paid = await balance(takes);
    expect([0n, 20n]).toContain(paid);
  });

  test("a payee that calls back under the same batch id speaks for itself only", async () => {
    const reenters = await make("Reenters", id(5));
    const receipt = await send(
      contract,
      calls.payEth(id(5), [
        { to: reenters, amount: 1n },
        { to: plain(5), amount: 1n },
      ]),
      2n,
    );
    const ours = receipt.batches.filter((one) => one.payer === rich.address);
    expect(ours.at(-1)?.says).toBe("done");
    expect(await balance(plain(5))).toBe(1n);
    expect(await balance(contract)).toBe(0n);
  });

  test.each([
    ["an honest token pays", 0n, []],
    ["a token that answers false pays nobody, and says so", 1n, [0, 1]],
    ["a token that takes a fee pays nobody, and says so", 2n, [0, 1]],
  ])("%s", async (_name, mode, expected) => {
    const { address: token, send: tell } = await deployTestContract(chain, "Token", "POOL");
    await tell("set", mode, 18);
    await tell("give", rich.address, 10n ** 30n);
    await send(token, calls.tokenApprove(contract, 1_000n));
    const payments = [plain(6), plain(7)].map((to) => ({ to, amount: 500n }));
    const receipt = await send(contract, calls.payToken(id(6 + Number(mode)), token, payments));
    expect(receipt.succeeded).toBe(true);
    expect(unpaid(receipt.batches)).toEqual(expected);
  });
});
