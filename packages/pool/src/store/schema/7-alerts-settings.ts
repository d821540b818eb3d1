import type { Migration } from "./migration.ts";

/** Alerts: how far the log is read for them, what holds at the moment, who wants to hear, what is on its way. Settings by signature. */
export const alertsAndSettings: Migration = {
  version: 7,
  name: "alerts, settings by signature",
  sql: `
-- How far the event log is read for alerts; whoever reads on holds this row. Begins with what comes: nobody is told of
-- last year. link_key signs the links in messages.
create table openpool.alert_cursor (
  one boolean primary key default true check (one),
  position bigint not null,
  link_key text not null
);
insert into openpool.alert_cursor (position, link_key)
  select position, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') from openpool.log_head;

-- What is so, and since when; told or about to be.
create table openpool.alert_conditions (
  kind text not null,
  subject text not null,
  threshold text not null,
  worker text,
  rig text,
  bad boolean not null,
  since timestamptz not null,
  raised boolean not null,
  due_at timestamptz,
  raised_at timestamptz,
  episodes integer not null,
  connections text[] not null,
  data json not null,
  primary key (kind, subject, threshold)
) with (fillfactor = 70);
create index alert_conditions_due on openpool.alert_conditions (due_at) where due_at is not null;

create table openpool.alert_subscriptions (
  id uuid primary key,
  worker text not null,
  channel json not null,
  -- The channel's kind and target without secrets: one subscription each.
  target text not null,
  kinds text[] not null,
  thresholds json not null,
  quiet json,
  state text not null check (state in ('pending', 'active', 'ended')),
  owned boolean not null,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  ended_why text
);
create unique index alert_subscriptions_one on openpool.alert_subscriptions (worker, target) where state <> 'ended';
create index alert_subscriptions_target on openpool.alert_subscriptions (target, created_at);

-- One row an alert and destination, for ever one: nothing is told twice.
create table openpool.alert_outbox (
  id uuid primary key,
  alert_key text not null,
  destination text not null,
  kind text not null,
  alert json not null,
  state text not null check (state in ('waiting', 'sent', 'dead')),
  attempts integer not null default 0,
  next_at timestamptz not null,
  leased_until timestamptz,
  error text,
  created_at timestamptz not null,
  done_at timestamptz,
  unique (alert_key, destination)
) with (fillfactor = 80);
create index alert_outbox_waiting on openpool.alert_outbox (next_at) where state = 'waiting';
create index alert_outbox_state on openpool.alert_outbox (state, created_at);

-- Sign-ins that happened, until they could not happen again anyway: each nonce counts once.
create table openpool.signin_nonces (
  nonce text primary key,
  expires_at timestamptz not null
);

-- Who may change the settings of which worker, and until when. Only hashes of the tokens are kept.
create table openpool.signin_sessions (
  token_hash text primary key,
  worker text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index signin_sessions_worker on openpool.signin_sessions (worker);

-- What a worker calls its rigs.
create table openpool.rig_labels (
  worker text not null,
  rig text not null,
  label text not null,
  primary key (worker, rig)
);
`,
};
