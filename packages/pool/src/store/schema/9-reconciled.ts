import type { Migration } from "./migration.ts";

/** What payouts keep when books were set back. */
export const reconciled: Migration = {
  version: 9,
  name: "payouts after a restore",
  sql: `
-- Nonces below it are used up before anything is paid: books that were set back may have handed payments out with them.
alter table openpool.payout_control add column nonce_guard bigint;
`,
};
