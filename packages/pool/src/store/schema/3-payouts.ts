import type { Migration } from "./migration.ts";

/** Payout runs, their lines, the signed transactions that pay them, and where workers want their money. */
export const payouts: Migration = {
  version: 3,
  name: "payouts",
  sql: `
create table openpool.payout_runs (
  id uuid primary key,
  state text not null check (state in ('planned', 'approved', 'sending', 'exported', 'done', 'cancelled')),
  created_at timestamptz not null,
  finished_at timestamptz,
  chain_id bigint not null,
  payer text not null,
  asset text not null,
  total_wei numeric(78, 0) not null check (total_wei > 0),
  approval_reason text,
  approved_by text,
  -- Price, fiat price, who waits and why, notes: as they were when it was planned.
  details json not null
);
create index payout_runs_created on openpool.payout_runs (created_at desc);
-- One at a time: what a plan sees owed is then not being paid by another.
create unique index payout_runs_open on openpool.payout_runs ((true)) where state not in ('done', 'cancelled');

-- One transaction to be, with its nonce pinned. The database refuses a second one for the same nonce.
create table openpool.payout_intents (
  id uuid primary key,
  run uuid not null references openpool.payout_runs,
  kind text not null check (kind in ('batch', 'transfer', 'approve')),
  chain_id bigint not null,
  payer text not null,
  nonce bigint not null check (nonce >= 0),
  to_address text not null,
  value_wei numeric(78, 0) not null,
  data text not null,
  gas_limit numeric(78, 0) not null,
  lines uuid[] not null,
  state text not null check (state in ('signed', 'sent', 'confirmed', 'final', 'reverted', 'lost')),
  mined_hash text,
  mined_block bigint,
  gas_wei numeric(78, 0),
  foreign_acknowledged boolean not null default false,
  unique (chain_id, payer, nonce)
);
create index payout_intents_run on openpool.payout_intents (run);

-- Every signed version of an intent, written before it is sent. All have the nonce of their intent.
create table openpool.payout_transactions (
  hash text primary key,
  intent uuid not null references openpool.payout_intents,
  version integer not null,
  raw text not null,
  max_fee_wei numeric(78, 0) not null,
  max_tip_wei numeric(78, 0) not null,
  signed_at timestamptz not null,
  unique (intent, version)
);

create table openpool.payout_lines (
  id uuid primary key,
  run uuid not null references openpool.payout_runs,
  place integer not null,
  worker text not null,
  pay_to text not null,
  amount_wei numeric(78, 0) not null check (amount_wei > 0),
  gas_share_wei numeric(78, 0) not null check (gas_share_wei >= 0 and gas_share_wei < amount_wei),
  send_amount numeric(78, 0) not null check (send_amount > 0),
  asset text not null,
  method text not null check (method in ('batch', 'transfer', 'safe')),
  method_reason text not null,
  state text not null
    check (state in ('planned', 'signed', 'sent', 'confirmed', 'final', 'failed', 'returned')),
  intent uuid references openpool.payout_intents,
  reason text,
  tx_hash text,
  block bigint,
  planned_at timestamptz not null,
  sent_at timestamptz,
  finished_at timestamptz,
  unique (run, worker),
  unique (run, place)
);
create index payout_lines_worker on openpool.payout_lines (worker, planned_at desc);

-- Where money goes, where not to the worker's own address, and whether it may.
create table openpool.payout_payees (
  worker text primary key,
  pay_to text,
  threshold_wei numeric(78, 0) not null default 0,
  held text,
  plain_only boolean not null default false
);

create table openpool.payto_changes (
  worker text not null,
  nonce numeric(78, 0) not null,
  pay_to text not null,
  threshold_wei numeric(78, 0) not null,
  signature text not null,
  requested_at timestamptz not null,
  effective_at timestamptz not null,
  state text not null check (state in ('waiting', 'in-force', 'cancelled', 'replaced')),
  primary key (worker, nonce)
);
create index payto_changes_waiting on openpool.payto_changes (effective_at) where state = 'waiting';

create table openpool.payout_control (
  one boolean primary key default true check (one),
  paused text,
  next_at timestamptz,
  schedule text,
  nonce_floor bigint
);
insert into openpool.payout_control default values;
`,
};
