import type { WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { calls, parseKey, signerOfKey } from "../chain/index.ts";
import { deployTestContract } from "../chain/testing/deploy-test-contract.ts";
import { compareWithChain, type PaidChain, paidTransactions } from "../store/chain-check.ts";
import { openSqlClient } from "../store/testing/sql-client.ts";
import { paymentsReader } from "./payments-of.ts";
import { type AnvilPoolSetup, AnvilWorld, FINALITY } from "./testing/anvil-pool.ts";
import type { Hex } from "./types.ts";

// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: AnvilWorld;
beforeAll(async () => {
  world = await AnvilWorld.start();
});
afterAll(() => world[Symbol.asyncDispose]());

/** A pool, and what the check of its books says of its payments. */
async function open(setup: AnvilPoolSetup) {
  const pool = await world.openPool(setup);
  const client = await openSqlClient(pool.database.connection, "test");
  const { chain } = pool;
  const read = paymentsReader({ chain, calls });
  const paidChain: PaidChain = {
    chainId: chain.chainId,
    transaction: (hash, of) => read(hash as Hex, of),
    hashesIn: async (block) => (await chain.transactionsIn(block, undefined)).map(({ hash }) => hash),
  };
  const compare = async () => {
    const which = { recent: true, also: [], setAside: [] };
    const said = await compareWithChain(await paidTransactions(client, chain.chainId, which), paidChain);
    return { ...said, wrong: said.wrong.map(({ message }) => message) };
  };
  return {
    pool,
    check: compare,
    /** What is wrong where the books say something else, which they then do not say any more. */
    async wrongWith(change: string, lines: string): Promise<string> {
      await client.query("begin");
      await client.query(`update openpool.payout_lines set ${change} where ${lines}`);
      const { wrong, chainProblem } = await compare();
      await client.query("rollback");
      expect(chainProblem).toBeUndefined();
      return wrong.join("\n");
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await pool[Symbol.asyncDispose]();
    },
  };
}

test("what a batch paid is read from the chain: another amount, recipient, asset or payer in the books is told", async () => {
  await using books = await open({});
  const { pool } = books;
  const ada = await pool.owe(world.newWorker(), 5_000n);
  const bob = await pool.owe(world.newWorker(), 6_000n);
  const refuses = await pool.owe((await deployTestContract(world.local, "Refuses")).address, 7_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.finish();
  expect(await books.check()).toMatchObject({ wrong: [], right: [expect.any(String)] });

  const whose = `worker = '${ada}'`;
  expect(await books.wrongWith("send_amount = send_amount + 1", whose)).toContain(
    `${ada} got 5000 wei, and booked for ${ada} are 5001`,
  );
  expect(await books.wrongWith(`pay_to = '${bob}'`, whose)).toContain(
    `${bob} got 6000 wei, and booked for ${ada}, ${bob} are 11000; ${ada} got 5000 wei, and booked are 0`,
  );
  expect(await books.wrongWith(`asset = '${bob}'`, whose)).toContain(
    `${ada} got 0 of token ${bob}, and booked for ${ada} are 5000`,
  );
  // Booked as paid although the contract said that it was not.
  const paid = "(select tx_hash from openpool.payout_lines where tx_hash is not null limit 1)";
  expect(await books.wrongWith(`state = 'final', tx_hash = ${paid}`, `worker = '${refuses}'`)).toContain(
    `${refuses} got 0 wei, and booked for ${refuses} are 7000`,
  );
  expect(await books.wrongWith("block = block - 1", "true")).toMatch(/it is in block \d+ and was in \d+/);
});

test("what plain transfers paid is read from the chain, of ETH and of a token", async () => {
  const token = await deployTestContract(world.local, "Token", "POOL");
  await token.send("set", 0, 18);
  const price = async (of: WorkerAddress) => ({
    token: of,
    unitsPerEth: 10n ** 18n,
    source: "fixed",
    atBlock: undefined,
  });
  for (const asset of ["eth", token.address] as const) {
    await using books = await open({ rules: { method: "transfers", asset }, deps: { price } });
    const { pool } = books;
    if (asset !== "eth") await token.send("give", pool.signer.address, 10n ** 30n);
    const ada = await pool.owe(world.newWorker(), 8_000n);
    await pool.owe(world.newWorker(), 9_000n);
    await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect(await books.check()).toMatchObject({ wrong: [], right: { length: 2 }, unread: [], chainProblem: undefined });
    const what = asset === "eth" ? "wei" : `of token ${asset}`;
    expect(await books.wrongWith("send_amount = 7999", `worker = '${ada}'`)).toContain(
      `${ada} got 8000 ${what}, and booked for ${ada} are 7999`,
    );
    await pool.engine.pause("it is over");
  }
});

test("what a multisig paid is read out of the call that its owners signed, wherever the batch stands in it", async () => {
  const safe = signerOfKey(parseKey(world.local.richKeys[2] ?? ""));
  await using books = await open({ rules: { method: "safe" }, settings: { safe: safe.address } });
  const { pool } = books;
  const ada = await pool.owe(world.newWorker(), 7_000n);
  const { run } = await pool.engine.plan({ dryRun: false });
  const file = JSON.parse(await pool.engine.exportRun(run?.id ?? "", "safe")) as {
    readonly transactions: readonly { readonly to: Hex; readonly value: string; readonly data: Hex }[];
  };
  const [call] = file.transactions;
  const value = `0x${BigInt(call?.value ?? 0).toString(16)}`;
  const sent = { from: safe.address, to: call?.to, value, data: call?.data, gas: "0x4c4b40" };
  const hash = (await world.local.request("eth_sendTransaction", [sent])) as Hex;
  await world.mine(FINALITY);
  await pool.engine.reconcile(run?.id ?? "", hash);
  expect(await books.check()).toMatchObject({ wrong: [], right: [hash] });
  expect(await books.wrongWith("send_amount = 1", "true")).toContain(
    `${ada} got 7000 wei, and booked for ${ada} are 1`,
  );

  // As a multisig has it: its own call around that of the contract.
  const { chain } = pool;
  const receipt = await chain.finalReceipt(hash);
  if ("none" in receipt) throw new Error(receipt.none);
  const within: Hex = `0x6a761202${"00".repeat(196)}${call?.data.slice(2)}${"00".repeat(28)}`;
  const made = { ...(await chain.transactionsIn(receipt.blockNumber, undefined))[0]!, hash, data: within };
  const nested = { ...chain, transactionsIn: async () => [made] };
  const of = { payer: safe.address, byMultisig: true, runs: [run?.id ?? ""] };
  const block = receipt.blockNumber;
  const paid = [{ to: ada, amount: 7_000n, asset: "eth" }];
  expect(await paymentsReader({ chain: nested, calls })(hash, of)).toEqual({ block, paid });
  // Beside the batches of others it may hold, which are none of this payout's.
  const [said] = receipt.batches;
  const other = { ...said!, batch: said!.batch.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")) as Hex };
  const beside = { ...nested, finalReceipt: async () => ({ ...receipt, batches: [other, ...receipt.batches] }) };
  expect(await paymentsReader({ chain: beside, calls })(hash, of)).toEqual({ block, paid });
  // A contract of another release cannot be vouched for.
  const elsewhere = { ...nested, hasBatchContract: async () => false };
  expect(await paymentsReader({ chain: elsewhere, calls })(hash, of)).toMatchObject({
    unreadable: expect.stringContaining("which is not the batch contract"),
  });
});

test("a token that delivers less than was sent is no wrong in the books, and nobody says that it is right", async () => {
  const token = await deployTestContract(world.local, "Token", "POOL");
  await token.send("set", 0, 18);
  const price = async (of: WorkerAddress) => ({
    token: of,
    unitsPerEth: 10n ** 18n,
    source: "fixed",
    atBlock: undefined,
  });
  await using books = await open({ rules: { method: "transfers", asset: token.address }, deps: { price } });
  const { pool } = books;
  await token.send("give", pool.signer.address, 10n ** 30n);
  const ada = await pool.owe(world.newWorker(), 8_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.finish();
  const { right } = await books.check();
  const { chain } = pool;
  const receipt = await chain.finalReceipt(right[0] as Hex);
  if ("none" in receipt) throw new Error(receipt.none);
  const transfers = receipt.transfers.map((one) => ({ ...one, amount: 7_999n }));
  const short = { ...chain, finalReceipt: async () => ({ ...receipt, transfers }) };
  const of = { payer: pool.signer.address as WorkerAddress, byMultisig: false, runs: [] };
  expect(await paymentsReader({ chain: short, calls })(right[0] as Hex, of)).toMatchObject({
    unreadable: `of 8000 of token ${token.address} to ${ada} the token delivered 7999`,
  });
  // Nothing that anybody can read, although the token said something: neither paid nor not.
  const silent = { ...chain, finalReceipt: async () => ({ ...receipt, transfers: [] }) };
  expect(await paymentsReader({ chain: silent, calls })(right[0] as Hex, of)).toMatchObject({
    unreadable: expect.stringContaining("which does not say what it moved"),
  });
  await pool.engine.pause("it is over");
});
