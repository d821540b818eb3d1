import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type SolvencyFacts, solvencyOf } from "./solvency.ts";
import { calm, ETH } from "./testing/calm.ts";

const codes = (facts: SolvencyFacts): string[] => solvencyOf(facts).warnings.map((one) => one.code);

describe("whether a pool can pay what it promised", () => {
  test("is told in credited, owed, received, luck, reserve and days", () => {
    expect(solvencyOf(calm)).toMatchObject({
      creditedWei: 75n * ETH,
      debtWei: 3n * ETH,
      luckPpm: 950_000n,
      reserveWei: 10n * ETH,
      reserveDays: 10,
      keptPpm: 1_000_000n,
      maxSharePpm: 1_000_000n,
      warnings: [],
    });
  });

  test("a pool that promises 95 % while half of its fees go to delegators is warned before anything is missing", () => {
    const generous = { ...calm, promisedPpm: 950_000n, chain: { ...calm.chain, feeSharePpm: 500_000n } };
    // 50 % of its own, and a tenth of the other half by its stake.
    expect(solvencyOf(generous)).toMatchObject({
      keptPpm: 550_000n,
      maxSharePpm: 550_000n,
      wantedReserveWei: undefined,
    });
    expect(codes(generous)).toEqual(["promise-over-share"]);
  });

  test("gas and tickets that were not paid make the share smaller", () => {
    const facts: SolvencyFacts = {
      ...calm,
      recentGasWei: ETH,
      income: { ...calm.income, recentFaceWei: 40n * ETH, recentUnpaidWei: 2n * ETH },
    };
    // (1 − 2/40) − 1/40
    expect(solvencyOf(facts).maxSharePpm).toBe(925_000n);
    expect(codes(facts)).toEqual(["tickets-unpaid"]);
  });

  test("too little on chain, an empty pot and held jobs are told", () => {
    expect(codes({ ...calm, chain: { ...calm.chain, withdrawableWei: 0n, walletWei: ETH } })).toEqual([
      "reserve-negative",
    ]);
    expect(codes({ ...calm, chain: { ...calm.chain, withdrawableWei: 0n, walletWei: 4n * ETH } })).toEqual([
      "reserve-thin",
    ]);
    expect(codes({ ...calm, books: { ...calm.books, potsWei: -1n, unsharedWei: 1n } })).toEqual([
      "pot-empty",
      "hook-holds",
    ]);
  });

  test("bad luck is told only when there were enough tickets for it to mean something", () => {
    const unlucky = { ...calm.income, recentRedeemedWei: 10n * ETH };
    expect(codes({ ...calm, income: unlucky })).toEqual(["bad-luck"]);
    expect(codes({ ...calm, income: { ...unlucky, largestWei: 2n * ETH }, promisedPpm: undefined })).toEqual([]);
  });

  test("the wanted reserve is ticket size × ln 100 / (2 × margin): 23 tickets at a margin of a tenth", () => {
    const tight = { ...calm, promisedPpm: 900_000n };
    expect(solvencyOf(tight).wantedReserveWei).toBe(((ETH / 100n) * 2_302_585n) / 100_000n);
  });

  test("amounts in warnings are exact and in ETH, as pages draw them", () => {
    const { books } = calm;
    const { warnings } = solvencyOf({
      ...calm,
      books: { ...books, heldWei: books.heldWei + 10n ** 24n + 1n, potsWei: -5n * 10n ** 17n, unsharedWei: 7n },
    });
    expect(warnings.map(({ text }) => text).join("\n")).toMatch(
      /^What is there is \d+\.\d{17}1 ETH less than[^]* have cost 0\.5 ETH more than[^]*Fees of 0\.000000000000000007 ETH wait/m,
    );
  });

  test("what nobody can know is not made up", () => {
    const blind = { ...calm, income: undefined, chain: undefined };
    expect(solvencyOf(blind)).toMatchObject({
      luckPpm: undefined,
      reserveWei: undefined,
      reserveDays: undefined,
      maxSharePpm: undefined,
      warnings: [],
    });
  });

  test("what nobody could look at yet passes for nothing neither way: no reserve is told, and no debt as uncovered", () => {
    // Whoever adds up only what is known would tell the operator at night that 2 ETH are missing.
    const rest = { ...calm.chain, withdrawableWei: 0n, walletWei: ETH };
    expect(codes({ ...calm, chain: rest, payoutBalanceWei: undefined })).toEqual(["reserve-negative"]);
    for (const facts of [
      { ...calm, chain: rest, payoutBalanceWei: "unknown" },
      { ...calm, chain: "unknown", payoutBalanceWei: ETH },
      { ...calm, chain: undefined, payoutBalanceWei: "unknown" },
    ] satisfies SolvencyFacts[]) {
      const { reserveWei, reserveDays, warnings } = solvencyOf(facts);
      expect([reserveWei, reserveDays, warnings]).toEqual([undefined, undefined, []]);
    }
    expect(solvencyOf({ ...calm, chain: rest, payoutBalanceWei: 4n * ETH }).reserveWei).toBe(2n * ETH);
    // Of a pool that is not told where tickets are redeemed the account that pays is all there is.
    expect(solvencyOf({ ...calm, chain: undefined, payoutBalanceWei: 4n * ETH }).reserveWei).toBe(ETH);
  });

  test("no numbers make it fail or promise more than everything", () => {
    const wei = fc.bigInt(0n, 10n ** 40n);
    const ppm = fc.bigInt(0n, 1_000_000n);
    fc.assert(
      fc.property(
        fc.record({ heldWei: wei, owedWei: wei, payingWei: wei, paidWei: wei }),
        fc.record({ feesWei: wei, earnedWei: wei }),
        fc.record({ feeSharePpm: ppm, ownStake: wei, totalStake: wei, withdrawableWei: wei, walletWei: wei }),
        fc.tuple(wei, wei, wei, ppm),
        (books, recent, chain, [face, unpaid, gas, promisedPpm]) => {
          const income = { ...calm.income, recentFaceWei: face + unpaid, recentUnpaidWei: unpaid, largestWei: face };
          const result = solvencyOf({
            ...calm,
            books: { ...calm.books, ...books },
            recent,
            chain,
            income,
            recentGasWei: gas,
            promisedPpm,
          });
          expect(result.maxSharePpm! >= 0n && result.maxSharePpm! <= 1_000_000n).toBe(true);
          expect(result.reserveDays === undefined || Number.isFinite(result.reserveDays)).toBe(true);
        },
      ),
    );
  });
});
