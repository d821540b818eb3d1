import { payoutLineSchema, payoutRunSchema, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import type { PayoutLine, PayoutRun } from "../../payouts/types.ts";
import { ada, bob } from "../../store/testing/sample-credit.ts";
import { createPayoutsView, fiatOf, type PayoutReads } from "./payout-view.ts";

const [cy, dee] = ["0xc1", "0xde"].map((text) => text.padEnd(42, "0") as WorkerAddress) as [
  WorkerAddress,
  WorkerAddress,
];
const hash = `0x${"ab".repeat(32)}` as const;
const fiat = { currency: "USD", perEth: "3318.4217", source: "feed", atMs: 0 };
const line = (n: number, state: PayoutLine["state"], worker = ada): PayoutLine => ({
  id: `line-${n}`,
  run: `run-${n}`,
  worker,
  payTo: worker,
  amountWei: 16_204_000_000_000_000n,
  gasShareWei: 0n,
  sendAmount: 16_204_000_000_000_000n,
  asset: "eth",
  method: "batch",
  methodReason: "cheaper",
  state,
  intent: "i",
  reason: state === "returned" ? "execution reverted: secret words" : undefined,
  txHash: hash,
  block: 7,
  plannedAtMs: 1_000 * n,
  sentAtMs: 2_000 * n,
  finishedAtMs: 3_000 * n,
  fiat,
});
const run = (n: number, state: PayoutRun["state"]): PayoutRun => ({
  id: `run-${n}`,
  state,
  createdAtMs: 1_000 * n,
  finishedAtMs: undefined,
  chainId: 42_161,
  payer: bob,
  asset: "eth",
  totalWei: 16_204_000_000_000_000n,
  lines: 1,
  approvalReason: state === "planned" ? "it is more than the limit" : undefined,
  approvedBy: undefined,
  prices: [],
  fiat,
  gasWei: 31n,
  waiting: [
    { worker: bob, owedWei: 5n, code: "failed-before", reason: "its last payment failed (secret words)" },
    { worker: ada, owedWei: 5n, code: "below-minimum", reason: "0.005 ETH are less than 0.01" },
  ],
  notes: [],
});

function page<T extends { readonly id: string }>(all: readonly T[], limit = 100, before?: string): readonly T[] {
  const start = before === undefined ? 0 : all.findIndex((one) => one.id === before) + 1;
  return before !== undefined && start === 0 ? [] : all.slice(start, start + limit);
}

function view(lines: readonly PayoutLine[], runs: readonly PayoutRun[], paused?: string, summed: string[] = []) {
  const port = {
    status: async () => ({ paused, halted: undefined }),
    next: async () => ({ atMs: 99 }),
    runs: async (limit: number, before?: string) => page(runs, limit, before),
    runHead: async (id: string) => runs.find((one) => one.id === id),
    async runSums(ids: readonly string[]) {
      summed.push(...ids);
      const paidWei = (id: string): bigint =>
        lines.filter((one) => one.run === id && one.state === "final").reduce((sum, one) => sum + one.amountWei, 0n);
      return new Map(ids.map((id) => [id, { paidWei: paidWei(id), sendAmount: 12n, transactions: [hash] }]));
    },
    linesOfRun: async (id: string, limit: number, after?: string) =>
      page(
        lines.filter((one) => one.run === id),
        limit,
        after,
      ),
    linesOf: async (_: string, limit: number, before?: string) => page(lines, limit, before),
    finalLines: async () => lines.filter((one) => one.state === "final").length,
    payees: async () => [
      { worker: cy, thresholdWei: 13n, stopped: false },
      { worker: dee, thresholdWei: 0n, stopped: true },
    ],
    payToChanges: async () => [{ state: "in-force", payTo: bob, thresholdWei: 50n }],
  } as unknown as PayoutReads;
  return createPayoutsView({
    port,
    clock: { monotonicMs: () => 0 },
    minimumOf: () => 10n,
    payable: async () => [
      { worker: ada, owedWei: 12n, oldestOwedAtMs: 0 },
      { worker: bob, owedWei: 9n, oldestOwedAtMs: 0 },
      // Wants more at once; is held back.
      { worker: cy, owedWei: 12n, oldestOwedAtMs: 0 },
      { worker: dee, owedWei: 12n, oldestOwedAtMs: 0 },
    ],
    halts: async () => [],
    paidWei: async () => 77n,
    asset: "eth",
    payer: bob,
    chainId: 42_161,
  });
}

test("runs and lines are what the schemas promise, page by page, and hold no word of a node", async () => {
  const lines = [line(3, "sent"), line(2, "returned"), line(1, "final")];
  const shown = view(lines, [run(3, "planned"), run(2, "done"), run(1, "done")]);
  const runs = await shown.runs(2, undefined);
  for (const one of runs) payoutRunSchema.parse(one);
  expect(runs.map((one) => [one.id, one.state, one.paidWei, one.waitsFor])).toEqual([
    ["run-3", "planned", "0", "An approval by the operator: it is more than the limit"],
    ["run-2", "final", "0", null],
  ]);
  const inTokens = { ...run(4, "done"), asset: cy };
  const several = { ...run(5, "done"), asset: "mixed" as const };
  expect((await view([], [inTokens, several]).runs(2, undefined)).map((one) => one.assetAmount)).toEqual(["12", null]);
  const over = {
    ...run(6, "planned"),
    approvalReason: "0.0162 ETH are more than 0.01 ETH, which a person has to approve",
  };
  const [told] = await view([], [over]).runs(1, undefined);
  expect(told?.waitsFor).toBe(
    "An approval by the operator: 0.016204 ETH are more than 0.01 ETH, which a person has to approve",
  );
  expect(told?.waitsForCoded?.facts).toMatchObject({ whyCode: "run-over-limit", limitWei: "10000000000000000" });
  expect((await shown.runs(2, "run-2")).map((one) => [one.id, one.paidWei])).toEqual([["run-1", "16204000000000000"]]);
  expect(await shown.runs(2, "nothing")).toEqual([]);
  const own = await shown.linesOf(ada, 10, undefined);
  for (const one of own) payoutLineSchema.parse(one);
  expect(own.map((one) => [one.state, one.fiat?.amount])).toEqual([
    ["sent", "53.77"],
    ["returned", "53.77"],
    ["final", "53.77"],
  ]);
  expect(JSON.stringify([runs, own])).not.toContain("secret words");
  expect(await shown.paid(ada)).toEqual({ count: 1, paidWei: 77n });
});

test("a run that is over is added up once, one that goes on once for all who look within a moment", async () => {
  const summed: string[] = [];
  const shown = view([line(3, "sent")], [run(3, "sending"), run(2, "done")], undefined, summed);
  await Promise.all([shown.runs(5, undefined), shown.runs(5, undefined)]);
  await shown.runs(5, undefined);
  expect(summed).toEqual(["run-3", "run-2"]);
  expect((await shown.run("run-2"))?.transactions).toEqual([hash]);
  expect((await shown.run("run-3"))?.state).toBe("sending");
  expect(summed).toEqual(["run-3", "run-2", "run-3"]);
  expect((await shown.linesOfRun("run-3", 5, undefined)).map((one) => one.state)).toEqual(["sent"]);
});

test("what is due, from how much on, where to, and why not", async () => {
  const shown = view([], [run(1, "done")], "moving house");
  expect(await shown.due()).toEqual({ workers: 1, totalWei: 12n });
  expect([await shown.minimumWei(ada), await shown.payTo(ada)]).toEqual([50n, bob]);
  expect((await shown.waits(bob))?.sentence).toMatch(
    /^The payout of 1970-\S+ left it out: a payment to it had failed, and the op/,
  );
  // It was owed too little then, and is owed enough now.
  expect(await shown.waits(ada)).toBeUndefined();
  expect(await shown.stopped()).toMatchObject({
    kind: "paused",
    why: { code: "operator-paused", sentence: "The operator has paused payouts: moving house" },
  });
});

test("fiat is counted in integers and never rounded up", () => {
  expect(fiatOf(10n ** 18n, fiat)?.amount).toBe("3318.42");
  expect(fiatOf(1n, fiat)?.amount).toBe("0.00");
  expect(fiatOf(10n ** 18n, { ...fiat, perEth: "3000" })?.amount).toBe("3000.00");
  expect(fiatOf(1n, { ...fiat, perEth: "much" })).toBeNull();
});
