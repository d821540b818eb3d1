import type { Migration } from "./migration.ts";

/** Months of the event log that were exported, and what they added to the totals once they are gone. */
export const retention: Migration = {
  version: 11,
  name: "exported months of the event log",
  sql: `
create table openpool.event_exports (
  month text primary key references openpool.ledger_periods,
  file text not null,
  rows bigint not null,
  first_position bigint not null,
  last_position bigint not null,
  -- Of all that is in the file before its last line.
  sha256 text not null,
  exported_at timestamptz not null
);

-- The part of rig_totals whose events are no longer in the log.
create table openpool.pruned_totals (
  worker text not null,
  rig text not null,
  segments numeric(78, 0) not null,
  pixels numeric(78, 0) not null,
  fee_wei numeric(78, 0) not null,
  commission_wei numeric(78, 0) not null,
  credited_wei numeric(78, 0) not null,
  primary key (worker, rig)
);

-- Takes a month out of the event log, once its books are closed and all of it was exported.
create or replace function openpool.drop_events_month(p_month date) returns void language plpgsql as $$
declare
  month text := to_char(p_month, 'YYYY-MM');
  name text := 'events_' || to_char(p_month, 'YYYY_MM');
  late boolean;
  newest bigint;
begin
  update openpool.ledger_periods set dropped_at = now() where period = month and dropped_at is null;
  if not found then
    raise exception 'the books of % are not closed, or its events are gone already', month using errcode = 'OP004';
  end if;
  if exists (select from openpool.ledger_periods where ends_at <= p_month and dropped_at is null) then
    raise exception 'an earlier month is still in the log' using errcode = 'OP004';
  end if;
  execute format('select exists (select from openpool.%I e join openpool.ledger_periods p on p.period = %L
    where e.position > p.position and e.type = ''job.credited'')', name, month) into late;
  if late then
    raise exception 'some credits of % came so late that they were booked into a later month', month
      using errcode = 'OP004';
  end if;
  execute format('insert into openpool.pruned_totals as t
    (worker, rig, segments, pixels, fee_wei, commission_wei, credited_wei)
    select worker, rig, sum(d.segments), sum(d.pixels), sum(d."feeWei"), sum(d."commissionWei"), sum(d."earnedWei")
    from openpool.%I, json_to_record(data)
      as d (segments numeric, pixels numeric, "feeWei" numeric, "commissionWei" numeric, "earnedWei" numeric)
    where type = ''job.credited'' group by 1, 2
    on conflict (worker, rig) do update set segments = t.segments + excluded.segments, pixels = t.pixels + excluded.pixels,
      fee_wei = t.fee_wei + excluded.fee_wei, commission_wei = t.commission_wei + excluded.commission_wei,
      credited_wei = t.credited_wei + excluded.credited_wei', name);
  -- Nobody appends to the log from here on, for a moment.
  perform from openpool.log_head for update;
  execute format('select max(position) from openpool.%I', name) into newest;
  if newest is not null and not exists (
    select from openpool.event_exports x where x.month = to_char(p_month, 'YYYY-MM') and x.last_position = newest
  ) then
    raise exception 'the events of % were not exported, or not all of them', month using errcode = 'OP004';
  end if;
  -- A pool that shows no pages counts nothing for them.
  if exists (select from openpool.rollup_cursor where position > 0 and position < newest) then
    raise exception 'the events of % are not all counted for the pages yet', month using errcode = 'OP004';
  end if;
  execute format('drop table openpool.%I', name);
end $$;
`,
};
