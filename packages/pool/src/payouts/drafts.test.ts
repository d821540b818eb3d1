import { PoolError } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { type DraftDeps, draftTransactions } from "./drafts.ts";
import type { Payment } from "./ports.ts";
import type { Hex, PayoutLine, RunDetail } from "./types.ts";

const address = (n: number): WorkerAddress => parseAddress(`0x${n.toString(16).padStart(40, "4")}`) as WorkerAddress;

type Estimate = DraftDeps["chain"]["estimateGas"];

/** What is drafted for a batch of 300 that get a wei each, whose estimates come from `estimateGas` with the payees in `data`. */
async function draft300(estimateGas: Estimate, heldWei = 300n) {
  const lines = Array.from({ length: 300 }, (_, i) => ({
    id: `line ${i}`,
    asset: "eth",
    method: "batch",
    payTo: address(i + 1),
    sendAmount: 1n,
  })) as unknown as PayoutLine[];
  const detail = { run: { payer: address(9_999) }, intents: [] } as unknown as RunDetail;
  let [ids, asked] = [0, 0];
  const deps = {
    chain: {
      hasBatchContract: async () => true,
      balance: async () => heldWei,
      estimateGas: async (call: Parameters<Estimate>[0]) => {
        asked++;
        return call.data === "0x" ? { gas: 21_000n } : estimateGas(call);
      },
    },
    calls: { payEth: (_batch: Hex, payments: readonly Payment[]) => payments.map(({ to }) => to).join() },
    newId: () => `00000000-0000-0000-0000-${String(++ids).padStart(12, "0")}`,
  } as unknown as DraftDeps;
  const rules = { batchSize: 300, batchContract: address(9_998), maxFeeWei: 1n, tooDear: () => undefined };
  const drafted = await draftTransactions(detail, lines, rules, deps);
  return { ...drafted, lines, asked };
}

test("a batch of more gas than a transaction may use is halved until each part may be made", async () => {
  // Payments to accounts that are not there yet.
  const { drafts, lines } = await draft300(async ({ valueWei }) => ({ gas: 21_000n + valueWei * 35_000n }));
  expect(drafts.map((draft) => draft.lines.length)).toEqual([150, 150]);
  expect(drafts.flatMap((draft) => draft.lines)).toEqual(lines.map(({ id }) => id));
  for (const { gasLimit, valueWei } of drafts) {
    expect(gasLimit).toBeLessThan(16_777_216n);
    expect(valueWei).toBe(150n);
  }
});

test("a batch that nodes refuse to estimate for its size is halved, too", async () => {
  const { drafts, waits, lines } = await draft300(async ({ valueWei }) =>
    valueWei > 100n
      ? { refused: "gas required exceeds allowance", agreed: true }
      : { gas: 21_000n + valueWei * 35_000n },
  );
  expect(drafts.map((draft) => draft.lines.length)).toEqual([75, 75, 75, 75]);
  expect(drafts.flatMap((draft) => draft.lines)).toEqual(lines.map(({ id }) => id));
  expect(waits).toEqual([]);
});

test("a payee about whose gas the nodes contradict each other waits alone, and is held back should that last", async () => {
  const { drafts, waits, lines } = await draft300(async ({ data }) => {
    if (data.includes(address(299))) throw new PoolError({ code: "payout/no-quorum" }, "They contradict each other.");
    return { gas: 100_000n };
  });
  expect(waits).toEqual([{ line: "line 298", reason: expect.stringContaining("contradict"), hold: true }]);
  expect(drafts.flatMap((draft) => draft.lines)).toEqual(lines.map(({ id }) => id).filter((id) => id !== "line 298"));
});

test("a batch that there is too little for waits as a whole, and one that nobody can pay is not asked about payee by payee", async () => {
  const refuse: Estimate = async () => ({ refused: "execution reverted", agreed: true });
  const poor = await draft300(refuse, 299n);
  expect([poor.drafts, poor.waits.length, poor.asked]).toEqual([[], 300, 2]);
  const rich = await draft300(refuse);
  expect([rich.drafts, rich.waits.length]).toEqual([[], 300]);
  expect(rich.asked).toBeLessThan(150);
});
