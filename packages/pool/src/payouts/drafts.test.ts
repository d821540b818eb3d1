import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { type DraftDeps, draftTransactions } from "./drafts.ts";
import type { PayoutLine, RunDetail } from "./types.ts";

const address = (n: number): WorkerAddress => parseAddress(`0x${n.toString(16).padStart(40, "4")}`) as WorkerAddress;

test("a batch of more gas than a transaction may use is halved until each part may be made", async () => {
  const lines = Array.from({ length: 300 }, (_, i) => ({
    id: `line ${i}`,
    asset: "eth",
    method: "batch",
    payTo: address(i + 1),
    sendAmount: 1n,
  })) as unknown as PayoutLine[];
  const detail = { run: { payer: address(9_999) }, intents: [] } as unknown as RunDetail;
  let ids = 0;
  const deps = {
    chain: {
      hasBatchContract: async () => true,
      // Payments to accounts that are not there yet; a plain transfer carries no wei.
      estimateGas: async ({ valueWei }: { valueWei: bigint }) => ({ gas: 21_000n + valueWei * 35_000n }),
    },
    calls: { payEth: () => "0x" },
    newId: () => `00000000-0000-0000-0000-${String(++ids).padStart(12, "0")}`,
  } as unknown as DraftDeps;
  const rules = { batchSize: 300, batchContract: address(9_998), maxFeeWei: 1n, tooDear: () => undefined };
  const { drafts } = await draftTransactions(detail, lines, rules, deps);
  expect(drafts.map((draft) => draft.lines.length)).toEqual([150, 150]);
  expect(drafts.flatMap((draft) => draft.lines)).toEqual(lines.map(({ id }) => id));
  for (const { gasLimit, valueWei } of drafts) {
    expect(gasLimit).toBeLessThan(16_777_216n);
    expect(valueWei).toBe(150n);
  }
});
