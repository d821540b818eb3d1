import type { Migration } from "./migration.ts";

/** Whose payouts the operator holds back. */
export const payoutHolds: Migration = {
  version: 12,
  name: "holds of payouts",
  sql: `
alter table openpool.payout_payees
  -- The operator's own hold: why.
  add column stopped text,
  -- A ban holds payouts back, too, until the operator releases them.
  add column paid_though_banned boolean not null default false;
`,
};
