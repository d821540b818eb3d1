/** What the contracts say about an orchestrator's own stake in a round; stakes in the token's smallest unit. */
export interface RoundStanding {
  readonly round: bigint;
  readonly lastRewardRound: bigint;
  readonly lastClaimRound: bigint;
  /** Its stake by now, rewards of this round included. */
  readonly pendingStake: bigint;
  /** Rewards that it keeps beside its bond: by now, and when the last reward was called. */
  readonly cumulativeRewards: bigint;
  readonly activeCumulativeRewards: bigint;
  /** How much a bond had grown by rewards at the end of the round before, and in this round; zero where that is not kept. */
  readonly rewardFactorBefore: bigint;
  readonly rewardFactor: bigint;
}

/**
 * The orchestrator's own part of the stake that the fees of a round are shared by: what it had when the round began. Rewards
 * that came in the round count from the next one on. Who claimed in the round gets nothing more for its bond in it, only for
 * the rewards beside the bond.
 */
export function ownStakeInRound({
  round,
  lastRewardRound,
  lastClaimRound,
  pendingStake,
  cumulativeRewards,
  activeCumulativeRewards,
  rewardFactorBefore,
  rewardFactor,
}: RoundStanding): bigint {
  const rewarded = lastRewardRound >= round;
  const beside = rewarded ? activeCumulativeRewards : cumulativeRewards;
  if (lastClaimRound >= round) return beside;
  const bond = pendingStake - cumulativeRewards;
  // Without a factor of the round before, as after one without rewards and fees, today's bond stands in: larger by one reward.
  const canLookBack = rewarded && rewardFactorBefore > 0n && rewardFactor > 0n;
  return (canLookBack ? (bond * rewardFactorBefore) / rewardFactor : bond) + beside;
}
