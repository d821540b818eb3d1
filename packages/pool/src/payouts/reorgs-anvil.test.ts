import type { WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { LocalChain } from "../chain/local-chain.ts";
import { type AnvilPoolSetup, AnvilWorld } from "./testing/anvil-pool.ts";
import type { Hex, PayoutIntent } from "./types.ts";

// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** A block is final once it has so many, itself included. */
const DEEP = 8;

let world: AnvilWorld;
let local: LocalChain;
beforeAll(async () => {
  world = await AnvilWorld.start();
  ({ local } = world);
  await local.request("evm_setAutomine", [false]);
});
afterAll(() => world[Symbol.asyncDispose]());

type TestPool = Awaited<ReturnType<typeof open>>;
/** A pool whose account has nothing under way. */
async function open(setup: AnvilPoolSetup = {}) {
  await world.mine(DEEP);
  return world.openPool({ finality: DEEP, ...setup });
}
const mine = (blocks?: number): Promise<void> => world.mine(blocks);

async function lineStates(pool: TestPool): Promise<readonly string[]> {
  const [run] = await pool.engine.runs();
  return ((await pool.engine.run(run?.id ?? ""))?.lines ?? []).map((line) => line.state);
}
async function intentsOf(pool: TestPool): Promise<readonly PayoutIntent[]> {
  const [run] = await pool.engine.runs();
  return (await pool.engine.run(run?.id ?? ""))?.intents ?? [];
}
/** Something else signs with the pool's key. */
async function foreign(pool: TestPool, nonce: number): Promise<{ readonly raw: Hex; readonly hash: Hex }> {
  const call = { to: pool.signer.address, valueWei: 0n, data: "0x", gasLimit: 21_000n } as const;
  return pool.signer.sign({ chainId: local.chainId, nonce, ...call, maxFeeWei: 10n ** 13n, maxTipWei: 10n ** 12n });
}

test.each([2, DEEP - 1])("a payment that lies under %i blocks which all vanish is made again, once", async (depth) => {
  await using pool = await open({ rules: { method: "transfers" } });
  const workers: WorkerAddress[] = [];
  for (let i = 0; i < 3; i++) workers.push(await pool.owe(world.newWorker(), 1_000n + BigInt(i)));
  await pool.engine.plan({ dryRun: false });
  await pool.engine.step();
  await mine(depth);
  await pool.engine.step();
  expect(await lineStates(pool)).toEqual(["confirmed", "confirmed", "confirmed"]);
  await local.request("anvil_reorg", [depth, []]);
  expect(await pool.chain.balance(workers[0]!)).toBe(0n);
  await pool.engine.step();
  expect(await lineStates(pool)).toEqual(["sent", "sent", "sent"]);
  await pool.finish();
  for (const [i, one] of workers.entries()) {
    expect(await pool.chain.balance(one)).toBe(1_000n + BigInt(i));
    expect((await pool.ledger.balance(one)).paidWei).toBe(1_000n + BigInt(i));
  }
  expect((await pool.events()).filter(({ type }) => type === "payout.reorged")).toHaveLength(3);
});

test("blocks that vanish again and again, deeper each time, delay a payment and double nothing", async () => {
  await using pool = await open();
  const worker = await pool.owe(world.newWorker(), 2_000n);
  await pool.engine.plan({ dryRun: false });
  for (let depth = 1; depth < DEEP; depth++) {
    await pool.engine.step();
    await mine(depth);
    await pool.engine.step();
    await local.request("anvil_reorg", [depth, []]);
  }
  await pool.finish();
  expect(await pool.chain.balance(worker)).toBe(2_000n);
  expect((await pool.engine.runs())[0]?.state).toBe("done");
});

test("nodes that throw out all that waits are handed it again", async () => {
  await using pool = await open({ rules: { method: "transfers" } });
  const workers = [await pool.owe(world.newWorker(), 3_001n), await pool.owe(world.newWorker(), 3_002n)];
  await pool.engine.plan({ dryRun: false });
  for (let i = 0; i < 3; i++) {
    await pool.engine.step();
    await local.request("anvil_dropAllTransactions");
    await mine();
  }
  expect(await pool.chain.balance(workers[0]!)).toBe(0n);
  await pool.finish();
  expect(await Promise.all(workers.map((one) => pool.chain.balance(one)))).toEqual([3_001n, 3_002n]);
  expect((await intentsOf(pool)).map(({ state }) => state)).toEqual(["final", "final"]);
});

test("a foreign transaction that outbids ours where it waits halts, and after a look the payment is made once", async () => {
  await using pool = await open();
  const worker = await pool.owe(world.newWorker(), 4_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.engine.step();
  const [ours] = await intentsOf(pool);
  // Nobody drops ours: the nodes themselves let the better paid one take its place.
  const { raw, hash } = await foreign(pool, ours?.nonce ?? 0);
  await local.request("eth_sendRawTransaction", [raw]);
  await mine(DEEP);
  await pool.engine.step();
  await pool.engine.step();
  expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-taken");
  expect(await pool.chain.balance(worker)).toBe(0n);
  await pool.engine.resume({ foreign: [hash] });
  await pool.engine.plan({ dryRun: false });
  await pool.finish();
  expect(await pool.chain.balance(worker)).toBe(4_000n);
});

test("a payment whose block vanishes, and whose nonce somebody else takes meanwhile, is made once with another", async () => {
  await using pool = await open();
  const worker = await pool.owe(world.newWorker(), 5_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.engine.step();
  await mine(3);
  await pool.engine.step();
  expect(await lineStates(pool)).toEqual(["confirmed"]);
  const [ours] = await intentsOf(pool);
  const { raw, hash } = await foreign(pool, ours?.nonce ?? 0);
  // In the blocks that come instead of those with the payment.
  await local.request("anvil_reorg", [3, [[raw, 0]]]);
  await mine(DEEP);
  expect(await pool.chain.balance(worker)).toBe(0n);
  await pool.engine.step();
  await pool.engine.step();
  expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-taken");
  // Owed again is what a person has looked at, not before.
  expect((await pool.ledger.balance(worker)).payingWei).toBe(5_000n);
  await pool.engine.resume({ foreign: [hash] });
  expect((await pool.ledger.balance(worker)).owedWei).toBe(5_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.finish();
  expect(await pool.chain.balance(worker)).toBe(5_000n);
});
