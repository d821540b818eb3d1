import type { Migration } from "./migration.ts";

/** What a worker wants to be paid in and at what gas; what ETH was worth on each day. */
export const waysToPay: Migration = {
  version: 10,
  name: "ways to pay",
  sql: `
-- As signed by the worker: 'pool' and 0 leave it to the pool.
alter table openpool.payout_payees
  add column asset text not null default 'pool',
  add column max_gas_price_wei numeric(78, 0) not null default 0,
  add column max_gas_share_ppm numeric(78, 0) not null default 0;
alter table openpool.payto_changes
  add column asset text not null default 'pool',
  add column max_gas_price_wei numeric(78, 0) not null default 0,
  add column max_gas_share_ppm numeric(78, 0) not null default 0;

-- What one ETH cost in money, by day (UTC): the first price that was read on it. For statements; nothing is computed from it.
create table openpool.fiat_prices (
  day date primary key,
  currency text not null,
  per_eth text not null,
  source text not null,
  read_at timestamptz not null
);
`,
};
