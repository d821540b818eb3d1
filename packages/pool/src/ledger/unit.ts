import { type BookJob, poolAccounts, workerAccount } from "./types.ts";

/** The scheme `unit`: the fee of each job, split as it was when the job was credited. */
export const bookUnit: BookJob = ({ source, worker, feeWei, commissionWei, earnedWei }) => ({
  rule: "unit",
  postings: [
    { account: source, amountWei: -feeWei },
    { account: poolAccounts.commission, amountWei: commissionWei },
    { account: workerAccount(worker, "held"), amountWei: earnedWei },
  ],
  data: {},
});
