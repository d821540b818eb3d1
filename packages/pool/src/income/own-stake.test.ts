import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ownStakeInRound } from "./own-stake.ts";
import { type FeeCut, keptWei } from "./types.ts";

interface Account {
  readonly delegator: { readonly lastClaimRound: string };
  readonly pendingStake: string;
  readonly pendingFees: string;
}
interface Snapshot {
  readonly label: string;
  readonly round: string;
  readonly transcoder: Readonly<Record<"lastRewardRound" | "activeCumulativeRewards" | "cumulativeRewards", string>>;
  readonly accounts: Readonly<Record<"orchestrator" | "delegatorA" | "delegatorB", Account>>;
  /** By round. */
  readonly earningsPools: Readonly<
    Record<string, Readonly<Record<"totalStake" | "transcoderFeeShare" | "cumulativeRewardFactor", string>>>
  >;
}
const { snapshots, claimTimingLoss } = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/chain/earnings.json", import.meta.url), "utf8"),
) as {
  readonly snapshots: readonly Snapshot[];
  readonly claimTimingLoss: Readonly<Record<"redeemedAfterClaim" | "pendingFeesNextRound", string>>;
};

const GWEI = 1_000_000_000n;
/** What was redeemed in the round of each snapshot; the labels say the last three. After the last one all was withdrawn. */
const REDEEMED_WEI = [3_100_000_000n * GWEI, 500_000_000n * GWEI, 400_000_000n * GWEI, 200_000_000n * GWEI];

function cutOf({ round, transcoder, accounts, earningsPools }: Snapshot): FeeCut {
  const pool = earningsPools[round]!;
  const { delegator, pendingStake } = accounts.orchestrator;
  return {
    feeSharePpm: BigInt(pool.transcoderFeeShare),
    ownStake: ownStakeInRound({
      round: BigInt(round),
      lastRewardRound: BigInt(transcoder.lastRewardRound),
      lastClaimRound: BigInt(delegator.lastClaimRound),
      pendingStake: BigInt(pendingStake),
      cumulativeRewards: BigInt(transcoder.cumulativeRewards),
      activeCumulativeRewards: BigInt(transcoder.activeCumulativeRewards),
      rewardFactorBefore: BigInt(earningsPools[String(BigInt(round) - 1n)]!.cumulativeRewardFactor),
      rewardFactor: BigInt(pool.cumulativeRewardFactor),
    }),
    totalStake: BigInt(pool.totalStake),
    from: "block",
  };
}

/** What the contracts owe for fees by then: to the orchestrator, and to its delegators. */
function owed(snapshot: Snapshot | undefined): { readonly own: bigint; readonly others: bigint } {
  const fees = (of: "orchestrator" | "delegatorA" | "delegatorB"): bigint =>
    BigInt(snapshot?.accounts[of].pendingFees ?? 0);
  return { own: fees("orchestrator"), others: fees("delegatorA") + fees("delegatorB") };
}

/** The contracts keep factors of 27 digits, and shares of stake rounded to them: a fee of an ETH is right to a millionth of a gwei. */
const ROUNDING_WEI = 10n * GWEI;

for (const [i, feesWei] of REDEEMED_WEI.entries()) {
  const snapshot = snapshots[i]!;
  // Of the round before the first one the contracts keep nothing: its reward counts as stake, of which it was half a percent.
  const exact = i > 0;
  test(`what is kept is ${exact ? "" : "at most a thousandth above "}what the contracts owe the orchestrator: ${snapshot.label}`, () => {
    const [before, now] = [owed(snapshots[i - 1]), owed(snapshot)];
    const owedWei = now.own - before.own;
    const wei = keptWei(feesWei, cutOf(snapshot));
    const difference = wei > owedWei ? wei - owedWei : owedWei - wei;
    expect(difference).toBeLessThan(exact ? ROUNDING_WEI : owedWei / 1_000n);
    // And nobody's share is missing from what was recorded.
    expect(feesWei - (owedWei + now.others - before.others)).toBeLessThan(ROUNDING_WEI);
  });
}

test("fees that come after a claim in the same round bring the orchestrator its cut, and next to nothing for its stake", () => {
  const { redeemedAfterClaim, pendingFeesNextRound } = claimTimingLoss;
  expect(keptWei(BigInt(redeemedAfterClaim), cutOf(snapshots.at(-1)!))).toBe(BigInt(pendingFeesNextRound));
});
