export { FEE_WORK, heldBy, POOL_WORK, schemeAccounts, workOf } from "./accounts.ts";
export type { HookShare } from "../types.ts";
export { bookHeldByFee, bookHeldShare, bookJob, fixedAmountWei } from "./book-job.ts";
export { bookIncome, bookPotFilling, bookUptimeSlot, type Income, settlePeriod, slotBudgetWei } from "./book-period.ts";
export { createJobBooker, type JobHooks, sharesIncome } from "./booker.ts";
export { readScheme } from "./read-scheme.ts";
export { shareOut } from "./share-out.ts";
export type * from "./types.ts";
