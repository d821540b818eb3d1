import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createSignatureCheck, isSignedPayTo, parseKey } from "../chain/index.ts";
import { payToTypedData } from "../chain/payto.ts";
import { ourAddress, signerOfKey } from "../chain/signer.ts";
import { deployTestContract, type TestContract } from "../chain/testing/deploy-test-contract.ts";
import type { PriceOf } from "./gather.ts";
import { type AnvilPoolSetup, AnvilWorld, FINALITY, POOL_NAME } from "./testing/anvil-pool.ts";
import type { Hex, PayoutWish } from "./types.ts";

// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: AnvilWorld;
beforeAll(async () => {
  world = await AnvilWorld.start();
});
afterAll(() => world[Symbol.asyncDispose]());

type TestPool = Awaited<ReturnType<typeof open>>;

/** 2.5 tokens for one ETH. */
const UNITS_PER_ETH = 25n * 10n ** 17n;
const price: PriceOf = async (token) => ({ token, unitsPerEth: UNITS_PER_ETH, source: "fixed", atBlock: undefined });

function open({ deps, ...setup }: AnvilPoolSetup = {}) {
  return world.openPool({
    ...setup,
    deps: {
      price,
      signedBy: (request) =>
        isSignedPayTo(request, { pool: POOL_NAME, chainId: world.local.chainId }, createSignatureCheck([], 1)),
      ...deps,
    },
  });
}

let keys = 0;
/** A worker that can sign. */
function newSigner(): { readonly worker: WorkerAddress; readonly account: PrivateKeyAccount } {
  keys += 1;
  const account = privateKeyToAccount(`0x${keys.toString(16).padStart(64, "6")}`);
  return { worker: ourAddress(account.address), account };
}

/** The worker signs how it wants to be paid, and hands that in. */
async function wish(
  pool: TestPool,
  { worker, account }: ReturnType<typeof newSigner>,
  wanted: Partial<PayoutWish>,
  nonce = 1n,
) {
  const request = {
    worker,
    payTo: worker,
    thresholdWei: 0n,
    asset: "pool" as const,
    maxGasPriceWei: 0n,
    maxGasSharePpm: 0n,
    nonce,
    ...wanted,
  };
  const place = { pool: POOL_NAME, chainId: world.local.chainId };
  const signature: Hex = await account.signTypedData(payToTypedData(request, place));
  const change = await pool.engine.requestPayTo({ ...request, signature });
  // It counts with the next step.
  await pool.engine.step();
  return change;
}

/** A token, of which the pool has plenty. */
async function newToken(pool: Pick<TestPool, "signer"> | undefined, mode = 0): Promise<TestContract> {
  const token = await deployTestContract(world.local, "Token", "POOL");
  await token.send("set", mode, 18);
  if (pool) await token.send("give", pool.signer.address, 10n ** 30n);
  return token;
}

const inToken = (wei: bigint): bigint => (wei * UNITS_PER_ETH) / 10n ** 18n;
const reasons = (waiting: readonly { readonly reason: string }[]): string[] => waiting.map((one) => one.reason);

describe("a worker that has chosen a token", () => {
  test("is paid in it at the price of the plan, beside others who are paid in ETH", async () => {
    const token = await newToken(undefined);
    await using pool = await open({ rules: { choices: [token.address] } });
    await token.send("give", pool.signer.address, 10n ** 20n);
    const chose = newSigner();
    await wish(pool, chose, { asset: token.address });
    await pool.owe(chose.worker, 1_000_003n);
    const also = newSigner();
    await wish(pool, also, { asset: token.address });
    await pool.owe(also.worker, 77n);
    const plain = await pool.owe(world.newWorker(), 5_555n);
    const { run } = await pool.engine.plan({ dryRun: false });
    expect(run).toMatchObject({
      asset: "mixed",
      totalWei: 1_005_635n,
      prices: [{ token: token.address, unitsPerEth: UNITS_PER_ETH, source: "fixed" }],
    });
    await pool.finish();
    const detail = await pool.engine.run(run?.id ?? "");
    expect(detail?.intents.map((one) => one.kind).sort()).toEqual(["approve", "batch", "batch"]);
    expect(await pool.chain.tokenBalance(token.address, chose.worker)).toBe(inToken(1_000_003n));
    expect(await pool.chain.tokenBalance(token.address, also.worker)).toBe(inToken(77n));
    expect(await pool.chain.balance(plain)).toBe(5_555n);
    expect(await pool.chain.balance(chose.worker)).toBe(0n);
    expect(await pool.ledger.balance(chose.worker)).toMatchObject({ owedWei: 0n, paidWei: 1_000_003n });
  });

  test("can choose only what is offered, and gets nothing else when that ends", async () => {
    const token = await newToken(undefined);
    await using pool = await open({ rules: { choices: [token.address] } });
    const chose = newSigner();
    const nobody = world.newWorker();
    await expect(wish(pool, chose, { asset: nobody })).rejects.toThrow(/payto\/not-offered.*eth/s);
    await wish(pool, chose, { asset: token.address });
    await pool.owe(chose.worker, 1_000n);
    await using later = await open({ rules: { choices: [] } });
    await later.owe(chose.worker, 1_000n);
    await later.database.query("insert into openpool.payout_payees (worker, asset) values ($1, $2)", [
      chose.worker,
      token.address,
    ]);
    expect(reasons((await later.engine.plan({ dryRun: true })).waiting)).toEqual([
      expect.stringContaining("does not offer any more"),
    ]);
  });

  test("waits alone when there is no price, no token or too little of it, each with the reason", async () => {
    const [priced, dear] = [await newToken(undefined), await newToken(undefined)];
    const missing = world.newWorker();
    await using pool = await open({
      rules: { choices: [priced.address, dear.address, missing] },
      deps: { price: async (of) => (of === dear.address ? { problem: "its feed is old" } : price(of)) },
    });
    await dear.send("give", pool.signer.address, 10n ** 20n);
    for (const asset of [priced.address, dear.address, missing]) {
      const one = newSigner();
      await wish(pool, one, { asset });
      await pool.owe(one.worker, 1_000n);
    }
    const plain = await pool.owe(world.newWorker(), 1_000n);
    const planned = await pool.engine.plan({ dryRun: false });
    expect(planned.lines.map((one) => one.worker)).toEqual([plain]);
    expect(reasons(planned.waiting).sort()).toEqual([
      "its feed is old",
      "the paying account does not hold enough for it",
      `there is no token at ${missing} on chain 31337`,
    ]);
    const { floats } = await pool.engine.status();
    expect(floats.find((one) => one.asset === priced.address)).toMatchObject({ state: "low", balance: 0n });
  });
});

describe("a token that misbehaves", () => {
  /** Two workers that are owed something, in a pool that pays in nothing else. */
  async function openWith(token: TestContract, method: "batch" | "transfers") {
    const pool = await open({ rules: { asset: token.address, method } });
    await token.send("give", pool.signer.address, 10n ** 30n);
    const workers = [await pool.owe(world.newWorker(), 10_000n), await pool.owe(world.newWorker(), 20_000n)];
    const settle = async () => {
      const { run } = await pool.engine.plan({ dryRun: false });
      await pool.finish();
      const detail = await pool.engine.run(run?.id ?? "");
      return {
        lines: detail?.lines.map((one) => one.state),
        why: [...new Set(detail?.lines.map((one) => one.reason))],
        kinds: detail?.intents.map((one) => one.kind),
        halted: (await pool.engine.status()).halted?.code,
        held: (await pool.store.payees()).filter((one) => one.held !== undefined).length,
      };
    };
    const owed = async (): Promise<bigint[]> =>
      Promise.all(workers.map(async (one) => (await pool.ledger.balance(one)).owedWei));
    return { pool, workers, settle, owed, [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose]() };
  }

  test.each([
    ["answers false", 1],
    ["takes a fee", 2],
    ["reverts", 3],
  ])("%s: a batch pays nobody too little, halts, and is paid when the token is well again", async (_what, mode) => {
    const token = await newToken(undefined, mode);
    await using world_ = await openWith(token, "batch");
    expect(await world_.settle()).toMatchObject({
      lines: ["returned", "returned"],
      halted: "payout/token-refused",
      held: 0,
    });
    expect(await world_.owed()).toEqual([10_000n, 20_000n]);
    expect((await world_.pool.engine.plan({ dryRun: false })).refused).toContain("paid none of 2 workers");
    await token.send("set", 0, 18);
    await world_.pool.engine.resume();
    expect(await world_.settle()).toMatchObject({ lines: ["final", "final"], halted: undefined });
    expect(await world_.pool.chain.tokenBalance(token.address, world_.workers[1]!)).toBe(inToken(20_000n));
  });

  test("answers false in the batch of a multisig: it is the token, and nobody is held for it", async () => {
    const token = await newToken(undefined, 1);
    const safe = signerOfKey(parseKey(world.local.richKeys[2] ?? ""));
    await token.send("give", safe.address, 10n ** 24n);
    await using pool = await open({
      rules: { method: "safe", asset: token.address },
      settings: { safe: safe.address },
    });
    const workers = [await pool.owe(world.newWorker(), 10_000n), await pool.owe(world.newWorker(), 20_000n)];
    const { run } = await pool.engine.plan({ dryRun: false });
    const id = run?.id ?? "";
    const { transactions } = JSON.parse(await pool.engine.exportRun(id, "safe")) as {
      readonly transactions: readonly { readonly to: string; readonly data: Hex }[];
    };
    let hash: Hex = "0x";
    for (const { to, data } of transactions) {
      const call = { from: safe.address, to, data, gas: "0x4c4b40" };
      hash = (await world.local.request("eth_sendTransaction", [call])) as Hex;
    }
    await world.mine(FINALITY);
    expect((await pool.engine.reconcile(id, hash)).state).toBe("done");
    expect((await pool.engine.status()).halted?.code).toBe("payout/token-refused");
    expect((await pool.store.payees()).filter((one) => one.held !== undefined)).toEqual([]);
    for (const [i, one] of workers.entries())
      expect((await pool.ledger.balance(one)).owedWei).toBe([10_000n, 20_000n][i]);
  });

  test("answers false to a transfer: nothing moved, and the worker is held until someone looks", async () => {
    await using world_ = await openWith(await newToken(undefined, 1), "transfers");
    expect(await world_.settle()).toMatchObject({
      lines: ["failed", "failed"],
      why: [expect.stringContaining("look at the balance of its address before you retry")],
      held: 2,
    });
    expect(await world_.owed()).toEqual([10_000n, 20_000n]);
  });

  test("reverts in a transfer: it is never sent", async () => {
    await using world_ = await openWith(await newToken(undefined, 3), "transfers");
    expect(await world_.settle()).toMatchObject({
      lines: ["failed", "failed"],
      why: [expect.stringContaining("the token refuses the payment")],
      kinds: [],
    });
  });

  test("takes a fee of a transfer: it counts as paid, and payouts halt for what is missing", async () => {
    const token = await newToken(undefined, 2);
    await using world_ = await openWith(token, "transfers");
    expect(await world_.settle()).toMatchObject({ lines: ["final", "final"], halted: "payout/token-short" });
    const [first] = world_.workers;
    expect(await world_.pool.chain.tokenBalance(token.address, first!)).toBe(
      inToken(10_000n) - inToken(10_000n) / 100n,
    );
  });

  test("indexes nothing of its event: what it moved is read all the same", async () => {
    await using world_ = await openWith(await newToken(undefined, 7), "transfers");
    expect(await world_.settle()).toMatchObject({ lines: ["final", "final"], halted: undefined });
  });

  test("says in its own words what it moved: it counts as paid, and payouts halt until someone looks", async () => {
    await using world_ = await openWith(await newToken(undefined, 8), "transfers");
    expect(await world_.settle()).toMatchObject({ lines: ["final", "final"], halted: "payout/token-short" });
    expect(await world_.owed()).toEqual([0n, 0n]);
  });

  test.each([
    ["says yes to an allowance and gives none", 4, 2],
    ["refuses to allow anything", 6, 0],
  ])("%s: its payments are given back, and little gas is lost", async (_what, mode, approvals) => {
    await using world_ = await openWith(await newToken(undefined, mode), "batch");
    const settled = await world_.settle();
    expect(settled).toMatchObject({ lines: ["returned", "returned"], held: 0, halted: undefined });
    expect(settled.kinds).toEqual(Array.from({ length: approvals }, () => "approve"));
    expect(await world_.owed()).toEqual([10_000n, 20_000n]);
  });

  test("wants an allowance to pass through zero: it does, and everybody is paid", async () => {
    const token = await newToken(undefined, 5);
    await using world_ = await openWith(token, "batch");
    const { pool } = world_;
    // What a payout before left over.
    const approval = await pool.signer.sign({
      chainId: world.local.chainId,
      nonce: await pool.chain.nextNonce(pool.signer.address),
      to: token.address,
      valueWei: 0n,
      data: `0x095ea7b3${world.contract.slice(2).padStart(64, "0")}${"1".padStart(64, "0")}`,
      gasLimit: 100_000n,
      maxFeeWei: 10n ** 12n,
      maxTipWei: 1n,
    });
    await pool.chain.send(approval.raw);
    await expect.poll(() => pool.chain.tokenAllowance(token.address, pool.signer.address, world.contract)).toBe(1n);
    expect(await world_.settle()).toMatchObject({
      lines: ["final", "final"],
      kinds: ["approve", "approve", "batch"],
    });
  });

  test("is gone from the account when it is to be sent: ETH is paid, and the rest can be taken back", async () => {
    const token = await newToken(undefined);
    await using pool = await open({ rules: { choices: [token.address] } });
    await token.send("give", pool.signer.address, 1_000n);
    const chose = newSigner();
    await wish(pool, chose, { asset: token.address });
    await pool.owe(chose.worker, 400n);
    const plain = await pool.owe(world.newWorker(), 600n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await token.send("take", pool.signer.address);
    for (let i = 0; i < 6; i++) {
      await pool.engine.step();
      await world.mine();
    }
    await pool.engine.step();
    expect((await pool.engine.status()).waitingFor).toContain("fund it, or cancel the rest");
    expect(await pool.chain.balance(plain)).toBe(600n);
    await pool.engine.cancel(run?.id ?? "");
    expect((await pool.engine.run(run?.id ?? ""))?.run.state).toBe("done");
    expect((await pool.ledger.balance(chose.worker)).owedWei).toBe(400n);
  });
});

describe("gas", () => {
  test("that workers bear is fixed in the plan, kept back, and goes to the reserve", async () => {
    await using pool = await open({ terms: { gasBorneBy: "worker" } });
    const amountWei = 10n ** 16n;
    const worker = await pool.owe(world.newWorker(), amountWei);
    const { lines } = await pool.engine.plan({ dryRun: false });
    const share = lines[0]?.gasShareWei ?? 0n;
    expect(share).toBeGreaterThan(0n);
    await pool.finish();
    expect(await pool.chain.balance(worker)).toBe(amountWei - share);
    expect(await pool.ledger.balance(worker)).toMatchObject({ owedWei: 0n, payingWei: 0n, paidWei: amountWei - share });
    const { gasWei, reserveWei } = await pool.ledger.totals();
    expect(reserveWei).toBe(share - gasWei);
  });

  test("over a worker's own limit is the reason why it waits; others are paid", async () => {
    await using pool = await open();
    const [cautious, thrifty] = [newSigner(), newSigner()];
    await wish(pool, cautious, { maxGasPriceWei: 1n });
    await wish(pool, thrifty, { maxGasSharePpm: 1n });
    for (const one of [cautious, thrifty]) await pool.owe(one.worker, 10n ** 16n);
    const plain = await pool.owe(world.newWorker(), 10n ** 16n);
    const planned = await pool.engine.plan({ dryRun: true });
    expect(planned.lines.map((one) => one.worker)).toEqual([plain]);
    const why = new Map(planned.waiting.map((one) => [one.worker, one.reason]));
    expect(why.get(cautious.worker)).toMatch(/^gas costs [\d.]+ gwei, the limit is 0\.000000001, as it wants it$/);
    expect(why.get(thrifty.worker)).toMatch(
      /^gas would take \d+ % of the amount, the limit is 0\.0001 %, as it wants it$/,
    );
  });

  test("and a threshold of a worker's own: it waits for more, and can change its mind", async () => {
    await using pool = await open();
    const saves = newSigner();
    await wish(pool, saves, { thresholdWei: 2_000n });
    await pool.owe(saves.worker, 1_500n);
    expect(reasons((await pool.engine.plan({ dryRun: true })).waiting)).toEqual([
      "0.0000000000000015 ETH are less than 0.000000000000002 ETH, from which it wants to be paid",
    ]);
    await expect(wish(pool, saves, { thresholdWei: 0n }, 1n)).rejects.toThrow(/payto\/old-nonce/);
    await wish(pool, saves, { thresholdWei: 0n }, 2n);
    expect((await pool.engine.plan({ dryRun: true })).lines).toHaveLength(1);
  });
});

describe("a change of address", () => {
  test("since the plan counts: the money is paid at the new one, by the next plan", async () => {
    await using pool = await open({ rules: { approvalAboveWei: 1n } });
    const [moved, payTo] = [newSigner(), world.newWorker()];
    await pool.owe(moved.worker, 4_301n);
    const other = await pool.owe(world.newWorker(), 4_302n);
    const first = (await pool.engine.plan({ dryRun: false })).run?.id ?? "";
    await wish(pool, moved, { payTo });
    await pool.engine.approve(first, "ada");
    await pool.finish();
    expect([await pool.chain.balance(moved.worker), await pool.chain.balance(other)]).toEqual([0n, 4_302n]);
    const line = (await pool.engine.run(first))?.lines.find((one) => one.worker === moved.worker);
    expect(line).toMatchObject({ state: "returned", reason: expect.stringContaining(`paid at ${payTo} by now`) });
    await pool.engine.approve((await pool.engine.plan({ dryRun: false })).run?.id ?? "", "ada");
    await pool.finish();
    expect(await pool.chain.balance(payTo)).toBe(4_301n);
  });

  test("is not held for a payment that fails at the old one", async () => {
    const refuses = (await deployTestContract(world.local, "Refuses")).address;
    await using pool = await open();
    const mover = newSigner();
    await wish(pool, mover, { payTo: refuses });
    await pool.owe(mover.worker, 5_000n);
    await pool.engine.plan({ dryRun: false });
    // Signed at the old address, and in force before the chain has decided.
    await pool.engine.step();
    await wish(pool, mover, { payTo: mover.worker }, 2n);
    await pool.finish();
    expect((await pool.engine.payees()).find((one) => one.worker === mover.worker)?.stopped).toBe(false);
    expect((await pool.engine.plan({ dryRun: true })).lines[0]).toMatchObject({ payTo: mover.worker });
  });

  test("that was cancelled stays so when its signature comes again", async () => {
    await using pool = await open({ settings: { payToDelayMs: 60_000 } });
    const mover = newSigner();
    const payTo = world.newWorker();
    expect(await wish(pool, mover, { payTo })).toMatchObject({ state: "waiting" });
    await pool.engine.cancelPayTo(mover.worker);
    expect(await wish(pool, mover, { payTo })).toMatchObject({ state: "cancelled" });
  });
});

describe("payees that nobody wants to meet", () => {
  test.each(["Refuses", "Burns"] as const)(
    "%s: its money stays owed, it is told, and others are paid",
    async (name) => {
      const { address } = await deployTestContract(world.local, name);
      await using pool = await open();
      await pool.owe(address, 9_000n);
      const plain = await pool.owe(world.newWorker(), 8_000n);
      await pool.engine.plan({ dryRun: false });
      await pool.finish();
      expect(await pool.chain.balance(plain)).toBe(8_000n);
      expect(await pool.ledger.balance(address)).toMatchObject({ owedWei: 9_000n, payingWei: 0n, paidWei: 0n });
      expect((await pool.events()).find((one) => one.type === "payout.returned")).toMatchObject({
        worker: address,
        data: { reason: expect.stringContaining("did not take the payment") },
      });
      expect(reasons((await pool.engine.plan({ dryRun: true })).waiting)).toEqual([
        expect.stringContaining(`openpool payouts retry ${address}`),
      ]);
      // Alone it is asked first: nothing is sent that would fail.
      await pool.engine.retry(address);
      const { run } = await pool.engine.plan({ dryRun: false });
      await pool.finish();
      const detail = await pool.engine.run(run?.id ?? "");
      expect(detail?.lines[0]).toMatchObject({ method: "transfer", state: "failed" });
      expect(detail?.lines[0]?.reason).toContain("its address refuses the payment");
      expect(detail?.intents).toEqual([]);
    },
  );
});

describe("what is kept beside a payout", () => {
  const fiat = { currency: "EUR", perEth: "2500.5", source: "configured", atMs: 0 };

  test("is the price in money, with the run and once for the day; nothing is computed from it", async () => {
    await using pool = await open({ deps: { fiat: async () => fiat } });
    const worker = await pool.owe(world.newWorker(), 3_000n);
    const { run } = await pool.engine.plan({ dryRun: false });
    await pool.finish();
    expect((await pool.engine.run(run?.id ?? ""))?.run.fiat).toEqual(fiat);
    expect((await pool.engine.linesOf(worker))[0]).toMatchObject({ fiat, amountWei: 3_000n, sendAmount: 3_000n });
    const days = await pool.database.query<{ currency: string; per_eth: string }>(
      "select currency, per_eth from openpool.fiat_prices",
    );
    expect(days).toEqual([{ currency: "EUR", per_eth: "2500.5" }]);
  });

  test("may be missing: a feed that fails stops no payout", async () => {
    await using pool = await open({ deps: { fiat: async () => ({ problem: "its feed is old" }) } });
    await pool.owe(world.newWorker(), 3_000n);
    expect((await pool.engine.plan({ dryRun: false })).run?.fiat).toBeUndefined();
    await pool.finish();
  });
});

describe("the account", () => {
  const emptyKey: Hex = `0x${"5".repeat(64)}`;

  test("that holds less than is owed says so before the payout, and who waits for it", async () => {
    await using pool = await open({ key: emptyKey });
    await world.local.request("anvil_setBalance", [pool.signer.address, "0x1000"]);
    await pool.owe(world.newWorker(), 5_000n);
    await pool.engine.step();
    const { warnings, floats } = await pool.engine.status();
    expect(floats).toMatchObject([{ asset: "eth", state: "low", balance: 4_096n }]);
    expect(warnings[0]).toMatch(
      /holds 0\.000000000000004096 ETH, and all that is owed .* fund it before the next payout/,
    );
    const planned = await pool.engine.plan({ dryRun: false });
    expect([planned.run, reasons(planned.waiting)]).toEqual([
      undefined,
      ["the paying account does not hold enough for it"],
    ]);
  });

  test("is weighed again as soon as nodes answer, also while a run is open, whose payments it is to make or has made", async () => {
    await using pool = await open({ key: emptyKey, rules: { method: "transfers", approvalAboveWei: 1n } });
    await world.local.request("anvil_setBalance", [pool.signer.address, "0xde0b6b3a7640000"]);
    await pool.owe(world.newWorker(), 5_000n);
    const plan = await pool.engine.plan({ dryRun: false });
    // As after a restart while the run waits for a person, with nodes that do not answer at first.
    let answers = false;
    await pool.store[Symbol.asyncDispose]();
    const balance: typeof pool.chain.balance = async (of) => {
      if (!answers) throw new Error("no node answers");
      return pool.chain.balance(of);
    };
    const { engine, store } = pool.openEngine({ deps: { chain: { ...pool.chain, balance } } });
    await engine.step();
    expect(await engine.status()).toMatchObject({ balanceWei: undefined, floats: [] });
    answers = true;
    await engine.step();
    const before = await engine.status();
    expect(before).toMatchObject({ balanceWei: 10n ** 18n, goneWei: 0n });
    expect(before.floats[0]!.due).toBeGreaterThanOrEqual(5_000n);
    await engine.approve(plan.run!.id, "a person");
    // Handed out, and perhaps in a block, but not final yet: nothing is missing, and nothing is needed for it any more.
    await engine.step();
    await store[Symbol.asyncDispose]();
    const again = pool.openEngine();
    await again.engine.step();
    expect(await again.engine.status()).toMatchObject({ goneWei: 5_000n, floats: [{ due: 0n }] });
    await pool.finish(again.engine);
    await again.store[Symbol.asyncDispose]();
  });

  test("that holds much more than payouts need is a risk, and says so", async () => {
    await using pool = await open();
    await pool.owe(world.newWorker(), 5_000n);
    await pool.engine.plan({ dryRun: true });
    expect((await pool.engine.status()).warnings).toEqual([expect.stringContaining("more than 10 payouts need")]);
  });

  test("is weighed without a question about anybody: who is paid is looked up for a plan, and only whose time has come", async () => {
    const asked: WorkerAddress[][] = [];
    await using pool = await open({ terms: { minimumWei: 5_000n } });
    const payees: typeof pool.chain.payees = (addresses, asset) => {
      asked.push([...addresses]);
      return pool.chain.payees(addresses, asset);
    };
    await pool.store[Symbol.asyncDispose]();
    const watched = pool.openEngine({ deps: { chain: { ...pool.chain, payees } } });
    const due = await pool.owe(world.newWorker(), 5_000n);
    await pool.owe(world.newWorker(), 4_999n);
    await watched.engine.step();
    expect((await watched.engine.status()).floats).toHaveLength(1);
    expect(asked.flat()).toEqual([]);
    await watched.engine.plan({ dryRun: true });
    expect(asked.flat()).toEqual([due]);
    await watched.store[Symbol.asyncDispose]();
  });

  test("is never paid itself, nor is an address that nobody can hold", async () => {
    await using pool = await open();
    await pool.owe(pool.signer.address, 1_000n);
    await pool.owe(parseAddress(`0x${"0".repeat(39)}1`) as WorkerAddress, 1_000n);
    expect(reasons((await pool.engine.plan({ dryRun: false })).waiting).sort()).toEqual([
      "its address is one that nobody holds",
      "its address is the paying account itself",
    ]);
  });
});
