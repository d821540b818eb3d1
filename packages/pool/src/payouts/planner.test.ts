import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { type AssetNow, gasCosts, makePlan, type PlanInput } from "./planner.ts";
import type { Payee } from "./ports.ts";

const worker = (n: number): WorkerAddress =>
  parseAddress(`0x${(n + 1).toString(16).padStart(40, "3")}`) as WorkerAddress;
const contract = worker(9_999);
const payer = worker(9_998);
const existing: Payee = { exists: true, isContract: false };
const fresh: Payee = { exists: false, isContract: false };

/** ETH of a payer that has plenty, and payees that have some. */
function ether(owed: readonly bigint[], more: Partial<AssetNow> = {}): AssetNow {
  return {
    price: undefined,
    balance: 10n ** 60n,
    costs: gasCosts("eth", 21_000n),
    payees: new Map(owed.map((_wei, i) => [worker(i), existing])),
    ...more,
  };
}

function input(
  owed: readonly bigint[],
  change: Partial<PlanInput["rules"]> = {},
  more: Partial<PlanInput> = {},
): PlanInput {
  let ids = 0;
  return {
    rules: {
      method: "auto",
      asset: "eth",
      choices: [],
      minimumWei: 0n,
      dailyCapWei: undefined,
      approvalAboveWei: undefined,
      maxGasPriceWei: undefined,
      maxGasSharePpm: undefined,
      gasBorneBy: "pool",
      batchContract: contract,
      ...change,
    },
    nowMs: 0,
    newId: () => String(++ids),
    chainId: 1,
    payer,
    payable: owed.map((owedWei, i) => ({ worker: worker(i), owedWei, oldestOwedAtMs: i })),
    records: new Map(),
    assets: new Map([["eth", ether(owed)]]),
    gas: { nowWei: 10n, maxFeeWei: 20n, maxTipWei: 0n },
    plannedWei: 0n,
    gasBalanceWei: 10n ** 60n,
    fiat: undefined,
    ...more,
  };
}

test("everybody who is owed something is either paid all of it or told why not", () => {
  fc.assert(
    fc.property(
      fc.array(fc.bigInt({ min: 0n, max: 10n ** 30n }), { maxLength: 30 }),
      fc.record({
        minimumWei: fc.bigInt({ min: 0n, max: 10n ** 20n }),
        dailyCapWei: fc.option(fc.bigInt({ min: 1n, max: 10n ** 31n }), { nil: undefined }),
        maxGasSharePpm: fc.option(fc.bigInt({ min: 0n, max: 1_000_000n }), { nil: undefined }),
        gasBorneBy: fc.constantFrom("pool" as const, "worker" as const),
        method: fc.constantFrom("auto" as const, "batch" as const, "transfers" as const, "safe" as const),
      }),
      fc.bigInt({ min: 0n, max: 10n ** 31n }),
      (owed, rules, balance) => {
        const plan = makePlan(
          input(owed, rules, { assets: new Map([["eth", ether(owed, { balance })]]), gasBalanceWei: balance }),
        );
        const paid = new Map(plan.lines.map((line) => [line.worker, line]));
        const waits = new Map(plan.waiting.map((one) => [one.worker, one]));
        for (const [i, wei] of owed.entries()) {
          const line = paid.get(worker(i));
          const waiting = waits.get(worker(i));
          expect((line?.amountWei ?? 0n) + (waiting?.owedWei ?? 0n)).toBe(wei);
          // In parts only where nothing else would ever do.
          if (line && waiting) expect(wei > (rules.dailyCapWei ?? wei) && waiting.code === "daily-cap").toBe(true);
          if (line) expect(line.sendAmount + line.gasShareWei).toBe(line.amountWei);
          // A multisig's gas is not the pool's to take back.
          if (line) expect(line.gasShareWei > 0n).toBe(rules.gasBorneBy === "worker" && rules.method !== "safe");
        }
        const total = plan.lines.reduce((sum, line) => sum + line.amountWei, 0n);
        expect(plan.run?.totalWei ?? 0n).toBe(total);
        if (rules.dailyCapWei !== undefined) expect(total).toBeLessThanOrEqual(rules.dailyCapWei);
        if (rules.method !== "safe") expect(total).toBeLessThanOrEqual(balance === 0n ? 0n : balance * 2n);
      },
    ),
    { numRuns: times(200) },
  );
});

describe("the way to pay", () => {
  const many = Array.from({ length: 20 }, () => 10n ** 18n);
  const methods = (plan: ReturnType<typeof makePlan>): Set<string> => new Set(plan.lines.map((line) => line.method));

  test("many accounts that exist share a batch, a few do not", () => {
    expect(methods(makePlan(input(many)))).toEqual(new Set(["batch"]));
    expect(methods(makePlan(input(many.slice(0, 3))))).toEqual(new Set(["transfer"]));
  });

  test("a new account gets a transfer of its own, until data is what costs", () => {
    const payees = new Map(many.map((_wei, i) => [worker(i), i < 2 ? fresh : existing]));
    const cheapData = makePlan(input(many, {}, { assets: new Map([["eth", ether(many, { payees })]]) }));
    expect(
      cheapData.lines
        .filter((line) => line.method === "transfer")
        .map((line) => line.worker)
        .sort(),
    ).toEqual([worker(0), worker(1)].sort());
    const costs = gasCosts("eth", 121_000n);
    const dearData = makePlan(input(many, {}, { assets: new Map([["eth", ether(many, { payees, costs })]]) }));
    expect(methods(dearData)).toEqual(new Set(["batch"]));
  });

  test("what a token's transfers need is what the node says of them, in a batch as well; an ordinary token's only where it says nothing", () => {
    const token = worker(77);
    const unknown = gasCosts(token, 21_000n);
    expect([unknown.transfer, unknown.transferNew]).toEqual([35_000n, 52_000n]);
    const dear = gasCosts(token, 21_000n, { existing: 135_000n });
    expect(dear.transfer).toBe(135_000n);
    expect(dear.batchExisting - unknown.batchExisting).toBe(100_000n);
    expect(dear.transferNew).toBe(unknown.transferNew);
  });

  test("an amount that has no room in a batch goes alone", () => {
    const plan = makePlan(input([...many, 2n ** 96n]));
    expect(plan.lines.find((line) => line.amountWei === 2n ** 96n)?.method).toBe("transfer");
  });

  test("a multisig's payout fits into one transaction: the oldest are paid, the others are told that they come next", () => {
    const owed = Array.from({ length: 700 }, () => 10n ** 18n);
    const { lines, waiting } = makePlan(input(owed, { method: "safe" }));
    expect(lines.length + waiting.length).toBe(700);
    // More than 16 777 216 gas no transaction of Ethereum may use.
    expect(BigInt(lines.length) * (gasCosts("eth", 21_000n).batchExisting + 31_000n)).toBeLessThan(16_000_000n);
    expect(lines.length).toBeGreaterThan(200);
    expect(new Set(lines.map((line) => line.worker))).toEqual(
      new Set(Array.from({ length: lines.length }, (_one, i) => worker(i))),
    );
    expect(waiting[0]?.reason).toMatch(/holds no more payments/);
  });

  test("a multisig tries a worker again after a retry: it has no other way", () => {
    const retried = {
      worker: worker(0),
      payTo: worker(0),
      thresholdWei: 0n,
      asset: "pool",
      maxGasPriceWei: 0n,
      maxGasSharePpm: 0n,
      held: undefined,
      stopped: undefined,
      plainOnly: true,
    } as const;
    const records = new Map([[worker(0), retried]]);
    const methodsOf = (method: "safe" | "batch") =>
      makePlan(input([10n ** 18n], { method }, { records })).lines.map((line) => line.method);
    expect([methodsOf("safe"), methodsOf("batch")]).toEqual([["safe"], ["transfer"]]);
  });

  test("nobody is paid while gas is over the limit, and everybody is told", () => {
    const plan = makePlan(input(many, { maxGasPriceWei: 9n }));
    expect([plan.run, plan.waiting.length]).toEqual([undefined, 20]);
    expect(plan.waiting[0]?.reason).toBe("gas costs 0.00000001 gwei, the limit is 0.000000009");
  });
});

test("who is owed more than the daily cap is paid in parts, with what the others leave of it, and no part is too small", () => {
  const rules = { dailyCapWei: 100n, minimumWei: 20n };
  const planOf = (owed: readonly bigint[], plannedWei: bigint) => {
    const { lines, waiting, mayPass } = makePlan(input(owed, rules, { plannedWei }));
    const amounts = new Map(lines.map((line) => [line.worker, line.amountWei]));
    return { paid: owed.map((_one, i) => amounts.get(worker(i)) ?? 0n), waiting, mayPass };
  };
  expect(planOf([250n, 40n, 30n], 0n)).toMatchObject({
    paid: [30n, 40n, 30n],
    waiting: [{ worker: worker(0), owedWei: 220n, code: "daily-cap" }],
    mayPass: true,
  });
  expect(planOf([250n], 0n).paid).toEqual([100n]);
  expect(planOf([250n], 81n).paid).toEqual([0n]);
  expect(planOf([100n], 1n).paid, "all of it fits into another day").toEqual([0n]);
});
