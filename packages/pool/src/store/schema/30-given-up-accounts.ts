import type { Migration } from "./migration.ts";

/** What an account signed can be given up: a nonce that was lost to the books may be used once more. */
export const givenUpAccounts: Migration = {
  version: 30,
  name: "accounts that are given up",
  sql: `
alter table openpool.payout_intents drop constraint payout_intents_chain_id_payer_nonce_key;
create unique index payout_intents_nonce on openpool.payout_intents (chain_id, payer, nonce) where state <> 'lost';
`,
};
