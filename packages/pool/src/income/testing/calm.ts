import type { SolvencyFacts } from "../solvency.ts";

export const ETH = 10n ** 18n;
/** A pool about which there is nothing to warn of. */
export const calm = {
  books: {
    feesWei: 100n * ETH,
    commissionWei: 25n * ETH,
    heldWei: ETH,
    owedWei: 2n * ETH,
    payingWei: 0n,
    paidWei: 72n * ETH,
    potsWei: 0n,
    unsharedWei: 0n,
  },
  days: 30,
  recent: { feesWei: 40n * ETH, earnedWei: 30n * ETH },
  income: {
    receivedWei: 100n * ETH,
    recentRedeemedWei: 38n * ETH,
    recentKeptWei: 38n * ETH,
    withdrawnWei: 90n * ETH,
    recentFaceWei: 38n * ETH,
    recentUnpaidWei: 0n,
    largestWei: ETH / 100n,
  },
  chain: { feeSharePpm: 0n, ownStake: 10n, totalStake: 100n, withdrawableWei: 5n * ETH, walletWei: 8n * ETH },
  payoutBalanceWei: undefined,
  recentGasWei: 0n,
  promisedPpm: 750_000n,
} satisfies SolvencyFacts;
