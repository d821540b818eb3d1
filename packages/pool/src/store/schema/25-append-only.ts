import type { Migration } from "./migration.ts";

/** What is written once stays: the database itself refuses to change it. Payments remember that they were compared with the chain. */
export const appendOnly: Migration = {
  version: 25,
  name: "append only",
  sql: `
-- When the chain was last seen to say the same as the books; null: not yet.
alter table openpool.payout_lines add column chain_checked_at timestamptz;
create index payout_lines_unchecked on openpool.payout_lines (finished_at)
  where state = 'final' and tx_hash is not null and chain_checked_at is null;

-- Until now nothing read where the terms say that prices come from: they came from the orchestrator whose job it was, where
-- it said one. So was it promised, in effect.
update openpool.terms set document = (document::jsonb || '{"priceSource": "upstream"}')::json;

-- A month leaves the log with its partition, and books that were made anew take the place of the old ones: neither is a
-- statement on a table that this guards. One look a statement, whatever its rows.
create function openpool.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'openpool.% is append only: % is refused; what is wrong is put right by another entry', tg_table_name, tg_op
    using errcode = 'OP005';
end $$;

create function openpool.guard(p_table regclass) returns void language plpgsql as $$
begin
  execute format('create or replace trigger append_only before update or delete or truncate on %s
    for each statement execute function openpool.refuse_change()', p_table);
end $$;

select openpool.guard('openpool.ledger_entries');
select openpool.guard('openpool.ledger_postings');
select openpool.guard('openpool.events');

-- Of a partitioned table a statement fires the triggers of the table that it names: a month by its own name has its own.
create function openpool.guard_months() returns void language sql as $$
  select openpool.guard(inhrelid::regclass) from pg_inherits where inhparent = 'openpool.events'::regclass
$$;
select openpool.guard_months();

create or replace function openpool.add_events_partition(p_month date) returns void language plpgsql as $$
declare
  name text := 'events_' || to_char(p_month, 'YYYY_MM');
  starts timestamptz := p_month::timestamp at time zone 'UTC';
  ends timestamptz := (p_month + interval '1 month') at time zone 'UTC';
begin
  if p_month <> date_trunc('month', p_month) then
    raise exception 'a partition begins with a month';
  end if;
  perform pg_advisory_xact_lock(7105234);
  if to_regclass('openpool.' || name) is not null then
    return;
  end if;
  execute format('create table openpool.%I (like openpool.events including defaults)', name);
  perform openpool.guard(format('openpool.%I', name)::regclass);
  execute format('alter table openpool.events attach partition openpool.%I for values from (%L) to (%L)',
    name, starts, ends);
end $$;
`,
};
