import { stoppedClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { calls, parseKey, signerOfKey } from "../chain/index.ts";
import type { LocalChain } from "../chain/local-chain.ts";
import { deployTestContract } from "../chain/testing/deploy-test-contract.ts";
import { checksumOf, type SafeFile } from "./safe-file.ts";
import { type AnvilPoolSetup, AnvilWorld, FINALITY } from "./testing/anvil-pool.ts";
import type { Hex } from "./types.ts";

// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: AnvilWorld;
let local: LocalChain;
beforeAll(async () => {
  world = await AnvilWorld.start();
  ({ local } = world);
});
afterAll(() => world[Symbol.asyncDispose]());

const open = (setup: AnvilPoolSetup = {}) => world.openPool(setup);
const newWorker = (): WorkerAddress => world.newWorker();
const mine = (blocks?: number): Promise<void> => world.mine(blocks);

test("a multisig's run is exported, executed and booked by what the chain says", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({ rules: { method: "safe" }, settings: { safe: safe.address } });
  const worker = await pool.owe(newWorker(), 7_000n);
  const refuses = await pool.owe(newWorker(), 7_001n);
  await local.request("anvil_setCode", [refuses, "0x60006000fd"]);
  const { run } = await pool.engine.plan({ dryRun: false });
  const file = JSON.parse(await pool.engine.exportRun(run?.id ?? "", "safe")) as {
    readonly transactions: readonly { readonly to: string; readonly value: string; readonly data: Hex }[];
  };
  await expect(pool.engine.cancel(run?.id ?? "")).rejects.toThrow(/payout\/wrong-state/);
  const [call] = file.transactions;
  const hash = (await local.request("eth_sendTransaction", [
    {
      from: safe.address,
      to: call?.to,
      value: `0x${BigInt(call?.value ?? 0).toString(16)}`,
      data: call?.data,
      gas: "0x4c4b40",
    },
  ])) as Hex;
  await expect(pool.engine.reconcile(run?.id ?? "", `0x${"1".repeat(64)}`)).rejects.toThrow(/does not know/);
  await mine(FINALITY);
  expect((await pool.engine.reconcile(run?.id ?? "", hash)).state).toBe("done");
  expect((await pool.ledger.balance(worker)).paidWei).toBe(7_000n);
  expect(await pool.ledger.balance(refuses)).toMatchObject({ owedWei: 7_001n, paidWei: 0n });
  expect((await pool.engine.plan({ dryRun: true })).waiting[0]?.reason).toContain("its last payment failed");
});

/** What a file of the transaction builder says, executed as the multisig would. */
async function execute(file: string, from: string): Promise<Hex> {
  const { transactions } = JSON.parse(file) as {
    readonly transactions: readonly { readonly to: string; readonly value: string; readonly data: Hex }[];
  };
  const [call] = transactions;
  const value = `0x${BigInt(call?.value ?? 0).toString(16)}`;
  const hash = await local.request("eth_sendTransaction", [
    { from, to: call?.to, value, data: call?.data, gas: "0x4c4b40" },
  ]);
  await mine(FINALITY);
  return hash as Hex;
}

test("a payout is handed to the multisig only when it is approved, and is nobody else's from then on", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({
    rules: { method: "safe", approvalAboveWei: 1n },
    settings: { safe: safe.address },
  });
  await pool.owe(newWorker(), 7_100n);
  const first = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  await expect(pool.engine.exportRun(first, "safe")).rejects.toThrow(/payout\/wrong-state.*not approved/);
  await pool.engine.cancel(first);
  await expect(pool.engine.exportRun(first, "safe")).rejects.toThrow(/payout\/wrong-state.*cancelled/);
  const second = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  await pool.engine.approve(second, "ada");
  await pool.engine.pause("a look");
  await expect(pool.engine.exportRun(second, "safe")).rejects.toThrow(/stand still: a look/);
  await pool.engine.resume();
  const file = await pool.engine.exportRun(second, "safe");
  // Another contract would take the batch once more: a run stays with its own.
  const elsewhere = pool.openEngine({ rules: { batchContract: newWorker() } });
  expect(await elsewhere.engine.exportRun(second, "safe")).toBe(file);
  await elsewhere.store[Symbol.asyncDispose]();
  expect(await pool.engine.exportRun(second, "safe")).toBe(file);
  await expect(pool.engine.cancel(second)).rejects.toThrow(/payout\/wrong-state/);
});

test("a payout that would pay who was held since it was planned is not handed out", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({ rules: { method: "safe" }, settings: { safe: safe.address } });
  const [held, other] = [await pool.owe(newWorker(), 7_100n), await pool.owe(newWorker(), 7_101n)];
  const { run } = await pool.engine.plan({ dryRun: false });
  await pool.engine.hold(held, "a look");
  await expect(pool.engine.exportRun(run?.id ?? "", "safe")).rejects.toThrow(
    new RegExp(`payout/wrong-state.*would pay ${held}, and the operator holds its payouts .a look.: cancel it`),
  );
  await pool.engine.cancel(run?.id ?? "");
  const next = await pool.engine.plan({ dryRun: false });
  expect(next.lines.map((line) => line.worker)).toEqual([other]);
  await pool.engine.exportRun(next.run?.id ?? "", "safe");
});

test("a payout that would pay who changed its address since it was planned is not handed out", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({
    rules: { method: "safe" },
    settings: { safe: safe.address },
    deps: { signedBy: async () => true },
  });
  const [worker, payTo] = [await pool.owe(newWorker(), 7_200n), newWorker()];
  const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  const limits = { thresholdWei: 0n, maxGasPriceWei: 0n, maxGasSharePpm: 0n };
  await pool.engine.requestPayTo({ worker, payTo, asset: "pool", ...limits, nonce: 1n, signature: "0x" });
  await pool.engine.step();
  await expect(pool.engine.exportRun(id, "safe")).rejects.toThrow(
    new RegExp(`payout/wrong-state.*would pay ${worker}, and it is to be paid at ${payTo} by now.*: cancel it`),
  );
});

describe("a multisig that is a contract", () => {
  /** A payout in ETH and in a token, to three workers of whom one takes nothing. */
  async function openPayout() {
    const multisig = await deployTestContract(local, "Multisig");
    const token = await deployTestContract(local, "Token", "POOL");
    await local.request("anvil_setBalance", [multisig.address, "0xde0b6b3a7640000"]);
    await token.send("give", multisig.address, 10n ** 24n);
    const pool = await open({
      rules: { method: "safe", choices: [token.address] },
      settings: { safe: multisig.address },
      deps: {
        signedBy: async () => true,
        price: async (of) => ({ token: of, unitsPerEth: 2n * 10n ** 18n, source: "a test", atBlock: undefined }),
      },
    });
    const inToken = await pool.owe(newWorker(), 7_501n);
    const wish = { payTo: inToken, asset: token.address, thresholdWei: 0n, maxGasPriceWei: 0n, maxGasSharePpm: 0n };
    await pool.engine.requestPayTo({ worker: inToken, ...wish, nonce: 1n, signature: "0x" });
    await pool.engine.step();
    const plain = await pool.owe(newWorker(), 7_502n);
    const refuses = await pool.owe((await deployTestContract(local, "Refuses")).address, 7_503n);
    const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    /** All that a file says, in one transaction, as a Safe does. */
    const executeFile = async (text: string): Promise<Hex> => {
      const { transactions } = JSON.parse(text) as SafeFile;
      const hash = await multisig.send(
        "execute",
        transactions.map(({ to, value, data }) => ({ to, value: BigInt(value), data })),
      );
      await mine(FINALITY);
      return hash;
    };
    return { pool, multisig, token, id, inToken, plain, refuses, executeFile };
  }

  test("executes the whole file in one transaction, and each of its payments is booked as the chain has it", async () => {
    const { pool, multisig, token, id, inToken, plain, refuses, executeFile } = await openPayout();
    await using _pool = pool;
    const file = await pool.engine.exportRun(id, "safe");
    await pool.engine.reconcile(id, await executeFile(file));
    expect((await pool.engine.run(id))?.run.state).toBe("done");
    expect(await pool.chain.balance(plain)).toBe(7_502n);
    expect(await pool.chain.tokenBalance(token.address, inToken)).toBe(15_002n);
    expect(await pool.ledger.balance(inToken)).toMatchObject({ owedWei: 0n, paidWei: 7_501n });
    expect(await pool.ledger.balance(refuses)).toMatchObject({ owedWei: 7_503n, payingWei: 0n, paidWei: 0n });
    // What was refused came back, and the file is of no use any more.
    expect(await pool.chain.balance(multisig.address)).toBe(10n ** 18n - 7_502n);
    await expect(executeFile(file)).rejects.toThrow(/reverted/);
  });

  test("executes the calls of the file one by one: each is booked by itself, and what is left is cancelled or given up alone", async () => {
    const { pool, multisig, token, id, inToken, plain, refuses, executeFile } = await openPayout();
    await using _pool = pool;
    const file = JSON.parse(await pool.engine.exportRun(id, "safe")) as SafeFile;
    const inEth = file.transactions.filter(({ value }) => value !== "0");
    const hash = await executeFile(JSON.stringify({ ...file, transactions: inEth }));
    expect((await pool.engine.reconcile(id, hash)).state).toBe("exported");
    expect((await pool.ledger.balance(plain)).paidWei).toBe(7_502n);
    expect(await pool.ledger.balance(refuses)).toMatchObject({ owedWei: 7_503n, payingWei: 0n });
    expect(await pool.ledger.balance(inToken)).toMatchObject({ owedWei: 0n, payingWei: 7_501n });
    await expect(pool.engine.reconcile(id, hash)).rejects.toThrow(`did not do its batch of ${token.address}`);
    const left = JSON.parse(await pool.engine.exportRun(id, "safe")) as SafeFile;
    expect(left.transactions).toEqual(file.transactions.filter(({ value }) => value === "0"));
    const cancels = JSON.parse(await pool.engine.exportRun(id, "safe-cancel")) as SafeFile;
    expect(cancels.transactions).toHaveLength(1);
    await pool.store[Symbol.asyncDispose]();
    const { engine, store } = pool.openEngine({ rules: { method: "transfers" } });
    await engine.giveUp(id, { safe: multisig.address, reason: "burnt", by: "ada" });
    expect(await store.givenUp(local.chainId)).toMatchObject([{ run: { id }, assets: [token.address] }]);
    expect(await pool.ledger.balance(inToken)).toMatchObject({ owedWei: 7_501n, payingWei: 0n });
    await store[Symbol.asyncDispose]();
  });

  test("executes the file that cancels: both assets are owed again, and the payment can never be made", async () => {
    const { pool, token, id, inToken, plain, executeFile } = await openPayout();
    await using _pool = pool;
    const file = await pool.engine.exportRun(id, "safe");
    await pool.engine.reconcile(id, await executeFile(await pool.engine.exportRun(id, "safe-cancel")));
    expect((await pool.engine.run(id))?.lines.map(({ state }) => state)).toEqual(["returned", "returned", "returned"]);
    await expect(executeFile(file)).rejects.toThrow(/reverted/);
    expect(await pool.chain.balance(plain)).toBe(0n);
    expect(await pool.chain.tokenBalance(token.address, inToken)).toBe(0n);
    expect((await pool.ledger.balance(inToken)).owedWei).toBe(7_501n);
  });

  test("gets files of the transaction builder's shape, with its checksum", async () => {
    const { pool, multisig, id } = await openPayout();
    await using _pool = pool;
    for (const format of ["safe", "safe-cancel"] as const) {
      const text = await pool.engine.exportRun(id, format);
      const { meta, ...file } = JSON.parse(text) as SafeFile;
      const { checksum, ...bare } = meta;
      expect(checksum).toBe(checksumOf({ ...file, meta: bare }, calls.keccak));
      expect(meta).toMatchObject({ createdFromSafeAddress: multisig.address, createdFromOwnerAddress: "" });
      expect(file).toMatchObject({ version: "1.0", chainId: "31337", createdAt: expect.any(Number) });
      for (const one of file.transactions) {
        expect(one).toEqual({
          to: expect.stringMatching(/^0x[0-9a-fA-F]{40}$/),
          value: expect.stringMatching(/^\d+$/),
          data: expect.stringMatching(/^0x([0-9a-f]{2})+$/),
        });
      }
      // Handed out again it is the same file.
      expect(await pool.engine.exportRun(id, format)).toBe(text);
    }
  });
});

test("a payout that the multisig shall not make is cancelled by it on the chain, and owed again", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({ rules: { method: "safe" }, settings: { safe: safe.address } });
  const workers = [await pool.owe(newWorker(), 7_201n), await pool.owe(newWorker(), 7_202n)];
  const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  await expect(pool.engine.exportRun(id, "safe-cancel")).rejects.toThrow(/was not exported/);
  const payment = await pool.engine.exportRun(id, "safe");
  const cancelled = await execute(await pool.engine.exportRun(id, "safe-cancel"), safe.address);
  await pool.engine.reconcile(id, cancelled);
  expect((await pool.engine.run(id))?.lines.map((line) => line.state)).toEqual(["returned", "returned"]);
  // The first file is of no use any more.
  const late = await execute(payment, safe.address);
  expect((await pool.chain.finalReceipt(late)) as object).toMatchObject({ succeeded: false });
  const again = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  await pool.engine.reconcile(again, await execute(await pool.engine.exportRun(again, "safe"), safe.address));
  expect(await Promise.all(workers.map((one) => pool.chain.balance(one)))).toEqual([7_201n, 7_202n]);
});

test("a payout whose multisig is lost is taken back only by a pool that pays otherwise by now, and watched from then on", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  const clock = stoppedClock(new Date().toISOString());
  await using pool = await open({ rules: { method: "safe" }, settings: { safe: safe.address }, clock });
  const worker = await pool.owe(newWorker(), 7_301n);
  const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  const how = { safe: safe.address, reason: "two of three keys burnt", by: "ada" };
  await expect(pool.engine.giveUp(id, how)).rejects.toThrow(/was not exported/);
  const file = await pool.engine.exportRun(id, "safe");
  await expect(pool.engine.giveUp(id, how)).rejects.toThrow(/start the pool with another/);
  await pool.store[Symbol.asyncDispose]();
  const { engine, store } = pool.openEngine({ rules: { method: "transfers" } });
  await expect(engine.giveUp(id, { ...how, safe: newWorker() })).rejects.toThrow(/not by 0x/);
  expect((await engine.giveUp(id, how)).state).toBe("cancelled");
  await expect(engine.giveUp(id, how)).rejects.toThrow(/payout\/wrong-state/);
  expect((await pool.events()).slice(-2).map(({ type }) => type)).toEqual(["payout.returned", "payout.given-up"]);
  clock.advance(1_000);
  await engine.plan({ dryRun: false });
  await pool.finish(engine);
  expect(await pool.chain.balance(worker)).toBe(7_301n);
  expect((await engine.status()).halted).toBeUndefined();
  // The keys were not lost, after all.
  await execute(file, safe.address);
  clock.advance(5 * 60_000);
  await engine.step();
  expect((await engine.status()).halted).toMatchObject({ code: "payout/paid-after-all" });
  await engine.resume();
  clock.advance(5 * 60_000);
  await engine.step();
  expect((await engine.status()).halted, "it is said once").toBeUndefined();
  await store[Symbol.asyncDispose]();
});

test("what the multisig executed is not given up, but reconciled", async () => {
  const safe = signerOfKey(parseKey(local.richKeys[2] ?? ""));
  await using pool = await open({ rules: { method: "safe" }, settings: { safe: safe.address } });
  await pool.owe(newWorker(), 7_401n);
  const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
  await execute(await pool.engine.exportRun(id, "safe"), safe.address);
  await pool.store[Symbol.asyncDispose]();
  const { engine, store } = pool.openEngine({ rules: { method: "transfers" } });
  const how = { safe: safe.address, reason: "lost", by: "ada" };
  await expect(engine.giveUp(id, how)).rejects.toThrow(/payouts reconcile/);
  await store[Symbol.asyncDispose]();
});
