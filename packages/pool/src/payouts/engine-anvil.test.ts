import { PoolError, silentLogger, stoppedClock, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { checkChainId, openChain, parseKey, signerOfKey } from "../chain/index.ts";
import type { LocalChain } from "../chain/local-chain.ts";
import { type AnvilPoolSetup, AnvilWorld, FINALITY } from "./testing/anvil-pool.ts";
import type { Hex } from "./types.ts";

// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: AnvilWorld;
let local: LocalChain;
let contract: WorkerAddress;
beforeAll(async () => {
  world = await AnvilWorld.start();
  ({ local, contract } = world);
});
afterAll(() => world[Symbol.asyncDispose]());

const open = (setup: AnvilPoolSetup = {}) => world.openPool(setup);
const newWorker = (): WorkerAddress => world.newWorker();
const mine = (blocks?: number): Promise<void> => world.mine(blocks);
async function manualMining(on: boolean): Promise<void> {
  await local.request("evm_setAutomine", [!on]);
}

test("a batch pays every worker exactly what it is owed, in one transaction, and the books say the same", async () => {
  await using pool = await open();
  const owed = new Map([newWorker(), newWorker(), newWorker()].map((one, i) => [one, 10n ** 15n + BigInt(i)]));
  for (const [one, amount] of owed) await pool.owe(one, amount);
  const planned = await pool.engine.plan({ dryRun: false });
  expect([planned.refused, planned.lines.length]).toEqual([undefined, 3]);
  await pool.finish();
  const detail = await pool.engine.run(planned.run?.id ?? "");
  expect([detail?.run.state, detail?.intents.length]).toEqual(["done", 1]);
  for (const [one, amount] of owed) {
    expect(await pool.chain.balance(one)).toBe(amount);
    expect(await pool.ledger.balance(one)).toEqual({ heldWei: 0n, owedWei: 0n, payingWei: 0n, paidWei: amount });
  }
  const totals = await pool.ledger.totals();
  expect(totals.gasWei).toBeGreaterThan(0n);
  expect(totals.gasWei).toBe(-totals.reserveWei);
});

describe("when blocks are made by hand", () => {
  beforeAll(() => manualMining(true));
  afterAll(() => manualMining(false));

  test("a payment whose block vanishes is sent again and made once", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 12_345n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    await mine();
    await pool.engine.step();
    expect((await pool.engine.run(run?.id ?? ""))?.lines[0]?.state).toBe("confirmed");
    await local.request("anvil_reorg", [1, []]);
    expect(await pool.chain.balance(worker)).toBe(0n);
    await pool.engine.step();
    expect((await pool.engine.run(run?.id ?? ""))?.lines[0]?.state).toBe("sent");
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(12_345n);
    expect((await pool.ledger.balance(worker)).paidWei).toBe(12_345n);
  });

  test("a transaction that the node forgets is handed to it again", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 777n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    const hash = (await pool.engine.run(run?.id ?? ""))?.intents[0]?.transactions[0]?.hash;
    await local.request("anvil_dropTransaction", [hash]);
    await mine();
    expect(await pool.chain.balance(worker)).toBe(0n);
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(777n);
  });

  test("a transaction that is not mined is outbid with the same nonce, and one of the two is mined", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using pool = await open({ clock });
    const worker = await pool.owe(newWorker(), 888n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    clock.advance(61_000);
    await pool.engine.step();
    const first = (await pool.engine.run(run?.id ?? ""))?.intents[0]?.transactions;
    expect(first?.length, "no price helps where no block is made").toBe(1);
    await local.request("anvil_dropTransaction", [first?.[0]?.hash]);
    await mine();
    await pool.engine.step();
    const intent = (await pool.engine.run(run?.id ?? ""))?.intents[0];
    expect(intent?.transactions.length).toBe(2);
    expect((intent?.transactions[1]?.maxFeeWei ?? 0n) * 10n).toBeGreaterThan(
      (intent?.transactions[0]?.maxFeeWei ?? 0n) * 11n,
    );
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(888n);
  });

  test("where the account cannot pay the higher fee any more, what was offered before is handed out again", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using pool = await open({ clock, key: `0x${"7".repeat(64)}` });
    const fund = (wei: bigint) => local.request("anvil_setBalance", [pool.signer.address, `0x${wei.toString(16)}`]);
    await fund(10n ** 19n);
    const worker = await pool.owe(newWorker(), 887n);
    const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    await pool.engine.step();
    const intent = async () => (await pool.engine.run(id))?.intents[0];
    const first = await intent();
    await local.request("anvil_dropTransaction", [first?.transactions[0]?.hash]);
    await mine();
    clock.advance(61_000);
    await pool.engine.step();
    await local.request("anvil_dropTransaction", [(await intent())?.transactions[1]?.hash]);
    await fund((first?.valueWei ?? 0n) + (first?.gasLimit ?? 0n) * (first?.transactions[0]?.maxFeeWei ?? 0n));
    await pool.finish();
    expect((await intent())?.minedHash).toBe(first?.transactions[0]?.hash);
    expect(await pool.chain.balance(worker)).toBe(887n);
  });

  test("fees of a transaction that is not mined rise to a multiple of the first one and no further", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using pool = await open({ clock, settings: { maxBump: 2 } });
    const worker = await pool.owe(newWorker(), 889n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    const versions = async () => (await pool.engine.run(run?.id ?? ""))?.intents[0]?.transactions ?? [];
    for (let i = 0; i < 9; i++) {
      await local.request("anvil_dropTransaction", [(await versions()).at(-1)?.hash]);
      await mine();
      clock.advance(61_000);
      await pool.engine.step();
    }
    const offered = await versions();
    expect(offered.length).toBeGreaterThan(3);
    expect(offered.length).toBeLessThan(9);
    expect(offered.at(-1)?.maxFeeWei).toBeLessThanOrEqual(2n * (offered[0]?.maxFeeWei ?? 0n));
    expect((await pool.engine.status()).waitingFor).toContain("--payout-max-bump");
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(889n);
  });

  test("what was sent on one chain is decided there: under another chain id payouts halt and touch nothing", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 890n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    await pool.store[Symbol.asyncDispose]();
    const other = pool.openEngine({ deps: { chain: { ...pool.chain, chainId: 4_242 } } });
    await other.engine.step();
    expect((await other.engine.status()).halted).toMatchObject({ code: "payout/other-chain" });
    await expect(other.engine.resume()).rejects.toThrow(/payout\/other-chain.*--chain-id 31337/);
    await other.store[Symbol.asyncDispose]();
    const back = pool.openEngine();
    await back.engine.resume();
    for (let i = 0; i < 2 * FINALITY; i++) {
      await mine();
      await back.engine.step();
    }
    expect((await back.engine.run(run?.id ?? ""))?.run.state).toBe("done");
    await back.store[Symbol.asyncDispose]();
    expect(await pool.chain.balance(worker)).toBe(890n);
  });

  test("a foreign transaction on the nonce halts; after a look the payment is made with another", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 999n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    const ours = (await pool.engine.run(run?.id ?? ""))?.intents[0];
    const foreign = await pool.signer.sign({
      chainId: local.chainId,
      nonce: ours?.nonce ?? 0,
      to: pool.signer.address,
      valueWei: 0n,
      data: "0x",
      gasLimit: 21_000n,
      maxFeeWei: 10n ** 12n,
      maxTipWei: 10n ** 11n,
    });
    await local.request("anvil_dropTransaction", [ours?.transactions[0]?.hash]);
    await local.request("eth_sendRawTransaction", [foreign.raw]);
    await mine();
    await pool.engine.step();
    await pool.engine.step();
    expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-taken");
    expect((await pool.engine.plan({ dryRun: false })).refused).toContain("something else signs");
    await mine(FINALITY);
    await pool.engine.step();
    // Owed is what a person has looked at, not before.
    expect((await pool.ledger.balance(worker)).payingWei).toBe(999n);
    await pool.engine.resume();
    await pool.engine.step();
    expect(await pool.ledger.balance(worker)).toMatchObject({ owedWei: 999n, payingWei: 0n });
    await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(999n);
  });
});

test("a payment whose receipt no node has any more is not taken for lost: it waits for a node that knows", async () => {
  let forgotten = true;
  const chain = await open().then(async (pool) => {
    await pool[Symbol.asyncDispose]();
    return pool.chain;
  });
  const fate: typeof chain.fate = async (...asked) =>
    forgotten ? { kind: "taken", final: true } : chain.fate(...asked);
  await using pool = await open({ deps: { chain: { ...chain, fate } } });
  const worker = await pool.owe(newWorker(), 1_111n);
  const { run } = await pool.engine.plan({ dryRun: false });
  await pool.engine.step();
  await mine(FINALITY);
  await pool.engine.step();
  await pool.engine.step();
  expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-taken");
  const hash = (await pool.engine.run(run?.id ?? ""))?.intents[0]?.transactions[0]?.hash;
  await expect(pool.engine.resume()).rejects.toThrow(`the payment ${hash} is in block`);
  expect((await pool.engine.run(run?.id ?? ""))?.lines[0]?.state).toBe("sent");
  expect((await pool.ledger.balance(worker)).payingWei).toBe(1_111n);
  forgotten = false;
  await pool.engine.resume();
  expect(await pool.ledger.balance(worker)).toMatchObject({ owedWei: 0n, payingWei: 0n, paidWei: 1_111n });
  expect(await pool.chain.balance(worker)).toBe(1_111n);
});

describe("bad input", () => {
  test("two processes never both pay: who does not hold the lock changes nothing", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 5_000n);
    await pool.engine.step();
    const other = pool.openEngine();
    await expect(other.engine.step()).rejects.toThrow(/payout\/not-leader/);
    await expect(other.engine.plan({ dryRun: false })).rejects.toThrow(/payout\/not-leader/);
    // The first one's connection breaks, as when its machine is cut off: then the other one leads, and the first cannot.
    await pool.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'openpool payer%'",
    );
    await expect
      .poll(() =>
        other.engine.step().then(
          () => "leads",
          () => "follows",
        ),
      )
      .toBe("leads");
    await expect(pool.engine.plan({ dryRun: false })).rejects.toThrow(/payout\/not-leader|store\/unavailable/);
    await other.engine.plan({ dryRun: false });
    await pool.finish(other.engine);
    expect(await pool.chain.balance(worker)).toBe(5_000n);
    await other.store[Symbol.asyncDispose]();
  });

  test("an account without money plans nothing and says why", async () => {
    await using pool = await open({ key: `0x${"5".repeat(64)}` });
    await pool.owe(newWorker(), 5_000n);
    const planned = await pool.engine.plan({ dryRun: false });
    expect(planned.run).toBeUndefined();
    expect(planned.waiting[0]?.reason).toContain("does not hold enough");
  });

  test("a contract that is not ours, or is not there, is never called", async () => {
    await using pool = await open({ rules: { batchContract: newWorker() } });
    await pool.owe(newWorker(), 5_000n);
    expect((await pool.engine.plan({ dryRun: false })).refused).toContain("no batch contract of ours");
  });

  test("a payee whose code cannot be run, or burns gas, fails alone: the others are paid at once", async () => {
    await using pool = await open({ rules: { method: "transfers" } });
    const [broken, burning] = [await pool.owe(newWorker(), 3_001n), await pool.owe(newWorker(), 3_002n)];
    await local.request("anvil_setCode", [broken, "0xfe"]);
    // Counts down from 65 535: some 2 million gas.
    await local.request("anvil_setCode", [burning, "0x61ffff5b60019003806003570000"]);
    const honest = await pool.owe(newWorker(), 3_003n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect(await pool.chain.balance(honest)).toBe(3_003n);
    const lines = (await pool.engine.run(run?.id ?? ""))?.lines ?? [];
    expect(new Map(lines.map((line) => [line.worker, line.reason]))).toEqual(
      new Map([
        [broken, expect.stringMatching(/refuses the payment/)],
        [burning, expect.stringMatching(/its code wants \d+ gas/)],
        [honest, undefined],
      ]),
    );
    expect(await pool.ledger.balance(burning)).toMatchObject({ owedWei: 3_002n, payingWei: 0n });
  });

  test("gas that a payee's code costs counts against the limit on gas, whatever the plan took it for", async () => {
    await using pool = await open({ rules: { method: "transfers", maxGasSharePpm: 100_000n } });
    const price = (await pool.chain.gasPrices()).nowWei;
    // A tenth of it is what 60 000 gas cost: enough for what the plan expects, not for what this code burns.
    const dear = await pool.owe(newWorker(), 600_000n * price);
    await local.request("anvil_setCode", [dear, "0x6109c45b60019003806003570000"]);
    const honest = await pool.owe(newWorker(), 600_000n * price);
    await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect(await pool.chain.balance(honest)).toBe(600_000n * price);
    expect((await pool.engine.linesOf(dear))[0]?.reason).toMatch(/its code costs \d+ gas: gas would take/);
    // Once gas is cheap it is paid without anybody who does something about it.
    expect((await pool.store.payees()).find((one) => one.worker === dear)?.held).toBeUndefined();
    expect((await pool.engine.plan({ dryRun: true })).lines.map((line) => line.worker)).toEqual([dear]);
  });

  test.each(["paused", "halted"])("a payout that is %s while it is estimated is not signed then", async (how) => {
    await using pool = await open({ rules: { method: "transfers" } });
    const worker = await pool.owe(newWorker(), 4_100n);
    const { chain } = pool;
    let stopped = false;
    const estimateGas: typeof chain.estimateGas = async (call) => {
      if (call.to === worker && !stopped) {
        stopped = true;
        if (how === "paused") await engine.pause("the operator looks at something");
        else await store.halt({ code: "payout/odd", message: "odd", atMs: 0, intent: undefined, nonce: undefined });
      }
      return chain.estimateGas(call);
    };
    const { engine, store } = pool.openEngine({ deps: { chain: { ...chain, estimateGas } } });
    await using _store = store;
    await pool.store[Symbol.asyncDispose]();
    await engine.plan({ dryRun: false });
    await engine.step();
    await engine.step();
    expect(stopped).toBe(true);
    const [run] = await store.runs(1);
    expect(run?.state).toBe("approved");
    await engine.resume();
    await pool.finish(engine);
    expect(await chain.balance(worker)).toBe(4_100n);
  });

  test("a payment that no node says anything about waits alone, is given back after an hour, and holds nobody", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using pool = await open({ clock, rules: { method: "transfers" } });
    const [odd, honest] = [await pool.owe(newWorker(), 3_200n), await pool.owe(newWorker(), 3_201n)];
    const { chain } = pool;
    let isOdd = true;
    const estimateGas: typeof chain.estimateGas = (call) =>
      isOdd && call.to === odd
        ? Promise.reject(new PoolError({ code: "payout/no-quorum" }, "the node is busy"))
        : chain.estimateGas(call);
    const { engine, store } = pool.openEngine({ deps: { chain: { ...chain, estimateGas } } });
    await using _store = store;
    await pool.store[Symbol.asyncDispose]();
    await engine.plan({ dryRun: false });
    for (let i = 0; (await chain.balance(honest)) === 0n; i++) {
      expect(i).toBeLessThan(10);
      await engine.step();
      await mine();
    }
    await mine(FINALITY);
    await engine.step();
    await engine.step();
    expect((await engine.status()).waitingFor).toContain("the node is busy");
    await pool.owe(honest, 5n);
    expect((await engine.plan({ dryRun: false })).refused).toContain("is not done yet");
    clock.advance(60 * 60_000);
    await engine.step();
    expect((await store.runs(1))[0]?.state).toBe("done");
    const next = await engine.plan({ dryRun: false });
    expect(next.lines.map((line) => line.worker)).toEqual([honest]);
    expect(next.waiting).toMatchObject([{ worker: odd, reason: expect.stringContaining("the node is busy") }]);
    await pool.finish(engine);
    expect(await chain.balance(honest)).toBe(3_206n);
    isOdd = false;
    await engine.retry(odd);
    await engine.plan({ dryRun: false });
    await pool.finish(engine);
    expect(await chain.balance(odd)).toBe(3_200n);
  });

  test("a payment that there is too little for keeps the others from nothing, nor, after an hour, from the next payout", async () => {
    const key: Hex = `0x${"6".repeat(64)}`;
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using pool = await open({ clock, key, rules: { method: "transfers" } });
    await local.request("anvil_setBalance", [pool.signer.address, `0x${(10n ** 18n).toString(16)}`]);
    const [large, small] = [await pool.owe(newWorker(), 10n ** 17n), await pool.owe(newWorker(), 3_100n)];
    await pool.engine.plan({ dryRun: false });
    await local.request("anvil_setBalance", [pool.signer.address, `0x${(10n ** 17n).toString(16)}`]);
    await pool.engine.step();
    await mine(FINALITY);
    await pool.engine.step();
    await pool.engine.step();
    expect(await pool.chain.balance(small)).toBe(3_100n);
    expect((await pool.engine.status()).waitingFor).toContain("holds");
    await pool.owe(small, 5n);
    clock.advance(60 * 60_000);
    await pool.engine.step();
    const next = await pool.engine.plan({ dryRun: false });
    expect(next.lines.map((line) => line.worker)).toEqual([small]);
    expect(next.waiting).toMatchObject([{ worker: large, code: "no-funds" }]);
    await pool.finish();
    expect(await pool.chain.balance(small)).toBe(3_105n);
    await local.request("anvil_setBalance", [pool.signer.address, `0x${(10n ** 18n).toString(16)}`]);
    await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect(await pool.chain.balance(large)).toBe(10n ** 17n);
  });

  test("our own address, one that nobody holds and more than a chain can hold are left out with the reason", async () => {
    await using pool = await open();
    await pool.owe(pool.signer.address, 1_000n);
    await pool.owe(contract, 1_000n);
    await pool.owe(parseAddress(`0x${"0".repeat(39)}4`) as WorkerAddress, 1_000n);
    await pool.owe(newWorker(), 10n ** 77n * 9n);
    const fine = await pool.owe(newWorker(), 1_000n);
    const planned = await pool.engine.plan({ dryRun: false });
    expect(planned.lines.map((line) => line.worker)).toEqual([fine]);
    expect(planned.waiting.map((one) => one.reason).sort()).toEqual([
      "its address is one that nobody holds",
      "its address is the batch contract",
      "its address is the paying account itself",
      expect.stringMatching(/larger than a chain can hold|does not hold enough/),
    ]);
    await pool.finish();
  });

  test("a worker that is taken out of the books' list of workers mid-run is paid all the same", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 4_000n);
    await pool.engine.plan({ dryRun: false });
    await pool.database.query("delete from openpool.workers where worker = $1", [worker]);
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(4_000n);
  });

  test("a clock that jumps by years changes nothing about a payment", async () => {
    let offsetMs = 0;
    await using pool = await open({ clock: { ...systemClock, now: () => Date.now() + offsetMs } });
    const worker = await pool.owe(newWorker(), 4_100n);
    await pool.engine.plan({ dryRun: false });
    offsetMs = -5 * 365 * 86_400_000;
    await pool.engine.step();
    offsetMs = 5 * 365 * 86_400_000;
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(4_100n);
  });

  test("a schedule that a clock ahead of its time reckoned is reckoned again when the clock is right", async () => {
    let nowMs = Date.parse("2026-01-01T00:00:00Z");
    await using pool = await open({
      clock: { ...systemClock, now: () => nowMs },
      terms: { schedule: "0 6 * * 1" },
    });
    nowMs = Date.parse("2035-06-06T00:00:00Z");
    await pool.engine.step();
    nowMs = Date.parse("2026-01-01T00:00:00Z");
    await pool.engine.step();
    expect((await pool.engine.next()).atMs).toBe(Date.parse("2026-01-05T06:00:00Z"));
  });

  test("what was released before a ban, or of an earlier ban, releases nothing of the next one", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 4_210n);
    const isLeftOut = async (): Promise<boolean> =>
      (await pool.engine.plan({ dryRun: true })).waiting.some((one) => one.worker === worker);
    const ban = (reason: string | null) =>
      pool.database.query("update openpool.workers set banned = $2 where worker = $1", [worker, reason]);
    await pool.engine.hold(worker, "a look");
    await pool.engine.release(worker);
    await pool.database.query("insert into openpool.workers (worker, locked) values ($1, false)", [worker]);
    expect(await isLeftOut()).toBe(false);
    await ban("cheats");
    expect(await isLeftOut()).toBe(true);
    await pool.engine.release(worker);
    expect(await isLeftOut()).toBe(false);
    await ban("cheats again");
    expect(await isLeftOut()).toBe(true);
    await pool.engine.release(worker);
    await ban(null);
    await ban("cheats again");
    expect(await isLeftOut()).toBe(true);
  });

  test("a banned worker is not paid until the operator releases it; what was planned before and not signed is taken back", async () => {
    await using pool = await open({ rules: { approvalAboveWei: 1n } });
    const [banned, other] = [await pool.owe(newWorker(), 4_201n), await pool.owe(newWorker(), 4_202n)];
    const first = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    await pool.database.query("insert into openpool.workers (worker, locked, banned) values ($1, false, 'cheats')", [
      banned,
    ]);
    await pool.engine.approve(first, "ada");
    await pool.finish();
    expect([await pool.chain.balance(banned), await pool.chain.balance(other)]).toEqual([0n, 4_202n]);
    expect((await pool.ledger.balance(banned)).owedWei).toBe(4_201n);
    const { waiting } = await pool.engine.plan({ dryRun: true });
    expect(waiting[0]?.reason).toBe(`it is banned (cheats): openpool workers release ${banned}`);
    await pool.engine.release(banned);
    expect((await pool.engine.plan({ dryRun: true })).lines.map((line) => line.worker)).toEqual([banned]);
    await pool.engine.hold(banned, "a look");
    expect((await pool.engine.plan({ dryRun: true })).waiting[0]?.reason).toContain("holds its payouts (a look)");
  });

  test("what happens to a payout and what the event log says of it are one transaction", async () => {
    await using pool = await open({ rules: { approvalAboveWei: 1n } });
    const worker = await pool.owe(newWorker(), 4_301n);
    const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    const writtenBy = async (rows: string): Promise<readonly (string | undefined)[]> => {
      const found = await pool.database.query<{ of: string; told: string | null }>(
        `select row.xmin::text as of, (select e.xmin::text from openpool.events e order by position desc limit 1) as told
         from ${rows} row`,
      );
      return [...new Set(found.flatMap(({ of, told }) => [of, told ?? undefined]))];
    };
    expect(await writtenBy("openpool.payout_runs")).toHaveLength(1);
    await pool.engine.approve(id, "ada");
    expect(await writtenBy("openpool.payout_runs")).toHaveLength(1);
    const [run] = await pool.store.openRuns();
    expect(run?.run.state).toBe("approved");
    await pool.finish();
    expect(await writtenBy("openpool.payout_lines")).toHaveLength(1);
    const events = await pool.events();
    expect(events.map(({ type, worker: whose }) => [type, whose])).toEqual([
      ["payout.planned", null],
      ["payout.approved", null],
      ["payout.signed", null],
      ["payout.paid", worker],
    ]);
    expect(events.at(-1)?.data).toMatchObject({ run: id, amountWei: "4301", payTo: worker });
  });

  test("a payout above the limit waits for a person; a cancelled one is owed again", async () => {
    await using pool = await open({ rules: { approvalAboveWei: 1_000n } });
    const worker = await pool.owe(newWorker(), 1_001n);
    const first = await pool.engine.plan({ dryRun: false });
    await pool.engine.step();
    expect((await pool.engine.run(first.run?.id ?? ""))?.run.state).toBe("planned");
    await pool.engine.cancel(first.run?.id ?? "");
    expect((await pool.ledger.balance(worker)).owedWei).toBe(1_001n);
    const second = await pool.engine.plan({ dryRun: false });
    await pool.engine.approve(second.run?.id ?? "", "ada");
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(1_001n);
  });

  test("a node of another chain is found out before anything is paid", async () => {
    const { nodes } = openChain({
      rpcUrls: [local.url],
      chainId: 42_161,
      quorum: undefined,
      finality: 1,
      maxGasPriceWei: undefined,
    });
    await expect(checkChainId(nodes, 42_161, silentLogger)).rejects.toThrow(/payout\/wrong-chain/);
  });

  test("a database that is lost in the middle of a run costs nothing but time", async () => {
    await using pool = await open();
    const worker = await pool.owe(newWorker(), 6_000n);
    await pool.engine.plan({ dryRun: false });
    for (let i = 0; i < 4; i++) {
      const step = pool.engine.step().catch(() => {});
      await pool.database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'openpool pay%' and datname = current_database()",
      );
      await step;
      await mine();
    }
    await expect
      .poll(() =>
        pool.finish().then(
          () => "done",
          () => "not yet",
        ),
      )
      .toBe("done");
    expect(await pool.chain.balance(worker)).toBe(6_000n);
    expect((await pool.ledger.balance(worker)).paidWei).toBe(6_000n);
  });

  test("an export for people holds nothing that can be sent", async () => {
    await using pool = await open();
    await pool.owe(newWorker(), 7_501n);
    const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    await pool.finish();
    const raws = (await pool.engine.run(id))?.intents.flatMap((one) => one.transactions.map(({ raw }) => raw)) ?? [];
    const text = await pool.engine.exportRun(id, "json");
    expect(raws).toHaveLength(1);
    expect(raws.filter((raw) => text.includes(raw.slice(2)))).toEqual([]);
    expect(JSON.parse(text).intents[0].transactions[0].hash).toMatch(/^0x[0-9a-f]{64}$/);
  });

  test("a plan at its time that gas forbids is made again every quarter of an hour, until it pays or its next time comes", async () => {
    let nowMs = Date.parse("2026-01-05T05:59:00Z");
    let gasWei = 10n ** 12n;
    const chain = await open().then(async (pool) => {
      await pool[Symbol.asyncDispose]();
      return pool.chain;
    });
    await using pool = await open({
      clock: { ...systemClock, now: () => nowMs },
      terms: { schedule: "0 6 * * 1" },
      rules: { maxGasPriceWei: 10n ** 11n },
      deps: { chain: { ...chain, gasPrices: async () => ({ ...(await chain.gasPrices()), nowWei: gasWei }) } },
    });
    const worker = await pool.owe(newWorker(), 7_601n);
    const stepAt = async (time: string): Promise<string> => {
      nowMs = Date.parse(time);
      await pool.engine.step();
      return new Date((await pool.engine.next()).atMs ?? 0).toISOString();
    };
    await stepAt("2026-01-05T05:59:00Z");
    expect(await stepAt("2026-01-05T06:00:00Z")).toBe("2026-01-05T06:15:00.000Z");
    expect(await stepAt("2026-01-05T06:14:00Z")).toBe("2026-01-05T06:15:00.000Z");
    expect(await stepAt("2026-01-12T05:59:00Z")).toBe("2026-01-12T06:00:00.000Z");
    gasWei = 1n;
    expect(await stepAt("2026-01-12T06:00:00Z")).toBe("2026-01-19T06:00:00.000Z");
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(7_601n);
    // Nobody is owed anything: that does not pass by waiting.
    expect(await stepAt("2026-01-19T06:00:00Z")).toBe("2026-01-26T06:00:00.000Z");
  });

  test("an account's nonces are its own: a pool that moves to another account after a resume pays on, and the old one is decided", async () => {
    const fund = (address: string) => local.request("anvil_setBalance", [address, `0x${(10n ** 19n).toString(16)}`]);
    const [oldKey, newKey]: Hex[] = [`0x${"8".repeat(64)}`, `0x${"9".repeat(64)}`];
    const rules = { method: "transfers" } as const;
    await using pool = await open({ key: oldKey!, rules });
    await fund(pool.signer.address);
    const moved = signerOfKey(parseKey(newKey!));
    await fund(moved.address);
    // The old account has some past, so that its nonces are far from those of the new one.
    const foreign = async (nonce: number): Promise<Hex> => {
      const call = { to: pool.signer.address, valueWei: 0n, data: "0x", gasLimit: 21_000n } as const;
      const fees = { maxFeeWei: 10n ** 12n, maxTipWei: 10n ** 11n };
      const { raw, hash } = await pool.signer.sign({ chainId: local.chainId, nonce, ...call, ...fees });
      await local.request("eth_sendRawTransaction", [raw]);
      return hash;
    };
    for (let nonce = 0; nonce < 5; nonce++) await foreign(nonce);
    await mine(FINALITY);
    await pool.owe(newWorker(), 1n);
    await pool.engine.plan({ dryRun: false });
    await pool.finish();
    // A thief uses the old key, on the very nonce of a payment, and takes all that the account has.
    for (let i = 0; i < 3; i++) await pool.owe(newWorker(), 7_701n);
    await manualMining(true);
    const id = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    await pool.engine.step();
    const detail = await pool.engine.run(id);
    const [ours, behind, last] = detail?.intents ?? [];
    const workers = detail?.intents.map((one) => detail.lines.find((line) => line.intent === one.id)!.worker) ?? [];
    const [worker, other] = workers as [WorkerAddress, WorkerAddress];
    for (const one of [ours, behind, last]) await local.request("anvil_dropTransaction", [one?.transactions[0]?.hash]);
    const stolen = await foreign(ours?.nonce ?? 0);
    await manualMining(false);
    await mine(FINALITY);
    await local.request("anvil_setBalance", [pool.signer.address, "0x0"]);
    await pool.engine.step();
    await pool.engine.step();
    expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-taken");
    const lost = { payer: pool.signer.address, reason: "its key was stolen", by: "ada" };
    await expect(pool.engine.giveUp(id, lost)).rejects.toThrow(/payout\/wrong-state.*another --payout-keystore first/);
    await pool.store[Symbol.asyncDispose]();
    // The key of before is gone: another account pays, and what the old one left open is decided all the same.
    const { engine, store } = pool.openEngine({ deps: { signer: moved } });
    await expect(engine.giveUp(id, lost)).rejects.toThrow(/payouts resume. comes first/);
    await engine.resume({ foreign: [stolen] });
    expect(await pool.ledger.balance(worker)).toMatchObject({ owedWei: 7_701n, payingWei: 0n });
    const accounts = await store.accounts(local.chainId);
    expect(accounts.get(pool.signer.address)).toMatchObject({ floor: 7 });
    expect(accounts.get(moved.address)).toMatchObject({ floor: 0 });
    // What it signed behind that is as good as ever, and can be mined by nobody: it has no money.
    await engine.step();
    expect((await engine.plan({ dryRun: false })).refused).toContain("is not done yet");
    await expect(engine.giveUp(id, { ...lost, payer: moved.address })).rejects.toThrow(/is paid by 0x/);
    expect((await engine.giveUp(id, lost)).state).toBe("done");
    await expect(engine.giveUp(id, lost)).rejects.toThrow(/nothing that is signed and not decided/);
    expect((await pool.events()).at(-1)).toMatchObject({ type: "payout.given-up", data: { run: id, by: "ada" } });
    // Each hears that its payment did not go through: what took the place of the first paid it nothing.
    const told = (await pool.events()).filter(({ type }) => type === "payout.returned");
    expect(told.map((one) => one.worker)).toEqual(workers);
    await engine.plan({ dryRun: false });
    await pool.finish(engine);
    expect(await Promise.all(workers.map((one) => pool.chain.balance(one)))).toEqual([7_701n, 7_701n, 7_701n]);
    // Somebody sends the old account money all the same, and somebody else has kept what it signed.
    await fund(pool.signer.address);
    await local.request("eth_sendRawTransaction", [behind?.transactions[0]?.raw]);
    await mine(FINALITY);
    await engine.step();
    expect((await engine.status()).halted?.code).toBe("payout/nonce-ahead");
    expect((await engine.resume()).notOwed).toEqual([{ worker: other, wei: 7_701n }]);
    expect((await pool.ledger.balance(other)).paidWei).toBe(await pool.chain.balance(other));
    await store[Symbol.asyncDispose]();
    // Who goes back to it makes what was not mined of that impossible, with the very nonces, before anybody is paid.
    const back = pool.openEngine();
    await pool.owe(worker, 5n);
    await back.engine.plan({ dryRun: false });
    await pool.finish(back.engine);
    expect(await pool.chain.balance(worker)).toBe(7_706n);
    expect((await pool.chain.send(last?.transactions[0]?.raw ?? "0x"))[0]).toContain("nonce too low");
    await back.store[Symbol.asyncDispose]();
  });
});
