import type { Migration } from "./migration.ts";

/** Income, hooks, what pay schemes keep. */
export const schemes: Migration = {
  version: 6,
  name: "income, hooks, schemes",
  sql: `
-- Income and what the operator put into pots: each reference once. Its entry has the source income/<ref>.
create table openpool.income (
  ref text primary key,
  -- tickets, manual, withdrawn, unpaid, pot
  kind text not null,
  at timestamptz not null,
  -- What was paid; of an unpaid ticket nothing.
  gross_wei numeric(78, 0) not null,
  -- What of it is the operator's.
  kept_wei numeric(78, 0) not null,
  -- What tickets promised.
  face_wei numeric(78, 0),
  block bigint,
  data json not null,
  -- When its block was taken back.
  reverted_at timestamptz
);
create index income_at on openpool.income (at);
create index income_block on openpool.income (block) where block is not null;

-- How far the chain was read, by orchestrator; and which period was settled last, under the name period.
create table openpool.income_progress (
  name text primary key,
  progress json not null
);

-- The sums of the books once a day: what was earned of late is a difference of two rows.
create table openpool.daily_totals (
  day date primary key,
  at timestamptz not null,
  fees_wei numeric(78, 0) not null,
  credited_wei numeric(78, 0) not null,
  gas_wei numeric(78, 0) not null
);

-- Every module that ever ran, by the hash of its text: the books can be made anew with them.
create table openpool.hooks (
  hash text primary key,
  source text not null,
  exports text[] not null,
  added_at timestamptz not null
);

-- Jobs whose hook failed.
create index ledger_lines_hook_held on openpool.ledger_lines (at, id) where scheme = 'hook-held';
`,
};
