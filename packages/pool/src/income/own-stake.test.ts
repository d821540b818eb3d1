import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ownStakeInRound } from "./own-stake.ts";
import { type FeeCut, keptWei } from "./types.ts";

interface Recorded {
  readonly what: string;
  readonly round: string;
  readonly feesWei: string;
  readonly transcoder: Readonly<
    Record<"lastRewardRound" | "feeShare" | "activeCumulativeRewards" | "cumulativeRewards", string>
  >;
  readonly lastClaimRound: string;
  readonly pendingStake: string;
  readonly pool: Readonly<Record<"totalStake" | "transcoderFeeShare" | "cumulativeRewardFactor", string>>;
  readonly poolBefore: Readonly<Record<"cumulativeRewardFactor", string>>;
}
const { steps, afterClaim } = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/chain/earnings.json", import.meta.url), "utf8"),
) as {
  readonly steps: readonly (Recorded & { readonly pendingFees: string; readonly othersPendingFees: string })[];
  readonly afterClaim: Recorded & { readonly pendingFeesNextRound: string };
};

function cutOf({ round, transcoder, lastClaimRound, pendingStake, pool, poolBefore }: Recorded): FeeCut {
  return {
    feeSharePpm: BigInt(pool.transcoderFeeShare),
    ownStake: ownStakeInRound({
      round: BigInt(round),
      lastRewardRound: BigInt(transcoder.lastRewardRound),
      lastClaimRound: BigInt(lastClaimRound),
      pendingStake: BigInt(pendingStake),
      cumulativeRewards: BigInt(transcoder.cumulativeRewards),
      activeCumulativeRewards: BigInt(transcoder.activeCumulativeRewards),
      rewardFactorBefore: BigInt(poolBefore.cumulativeRewardFactor),
      rewardFactor: BigInt(pool.cumulativeRewardFactor),
    }),
    totalStake: BigInt(pool.totalStake),
    from: "block",
  };
}

/** The contracts keep factors of 27 digits, and shares of stake rounded to them: a fee of an ETH is right to a millionth of a gwei. */
const ROUNDING_WEI = 10_000_000_000n;

for (const [i, step] of steps.entries()) {
  // Of the round before the first one the contracts keep nothing: its reward counts as stake, of which it was half a percent.
  const exact = i > 0;
  test(`what is kept is ${exact ? "" : "at most a thousandth above "}what the contracts owe the orchestrator: ${step.what}`, () => {
    const before = BigInt(steps[i - 1]?.pendingFees ?? 0);
    const owedWei = BigInt(step.pendingFees) - before;
    const wei = keptWei(BigInt(step.feesWei), cutOf(step));
    const difference = wei > owedWei ? wei - owedWei : owedWei - wei;
    expect(difference).toBeLessThan(exact ? ROUNDING_WEI : owedWei / 1_000n);
    // And nobody's share is missing from what was recorded.
    const othersBefore = BigInt(steps[i - 1]?.othersPendingFees ?? 0);
    const all = owedWei + BigInt(step.othersPendingFees) - othersBefore;
    expect(BigInt(step.feesWei) - all).toBeLessThan(ROUNDING_WEI);
  });
}

test("fees that come after a claim in the same round bring the orchestrator its cut, and next to nothing for its stake", () => {
  expect(keptWei(BigInt(afterClaim.feesWei), cutOf(afterClaim))).toBe(BigInt(afterClaim.pendingFeesNextRound));
});
