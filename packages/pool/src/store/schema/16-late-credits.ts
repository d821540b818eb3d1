import type { Migration } from "./migration.ts";

/** A month may leave the log although some of its credits came late; and where money goes is the worker's own word alone. */
export const lateCredits: Migration = {
  version: 16,
  name: "late credits of exported months",
  sql: `
-- What a worker signed stands in payout_payees.
alter table openpool.workers drop column pay_to;

-- Takes a month out of the event log, once its books are closed, all of it was exported, and the later month is closed too
-- that its late credits were booked into.
create or replace function openpool.drop_events_month(p_month date) returns void language plpgsql as $$
declare
  month text := to_char(p_month, 'YYYY-MM');
  name text := 'events_' || to_char(p_month, 'YYYY_MM');
  closed_at bigint;
  late bigint;
  mixed boolean;
  newest bigint;
begin
  update openpool.ledger_periods set dropped_at = now() where period = month and dropped_at is null
    returning position into closed_at;
  if not found then
    raise exception 'the books of % are not closed, or its events are gone already', month using errcode = 'OP004';
  end if;
  if exists (select from openpool.ledger_periods where ends_at <= p_month and dropped_at is null) then
    raise exception 'an earlier month is still in the log' using errcode = 'OP004';
  end if;
  -- A month in which no pool ran has none.
  if to_regclass('openpool.' || name) is null then
    return;
  end if;
  execute format('select max(position) from openpool.%I where type = ''job.credited'' and position > $1', name)
    into late using closed_at;
  if late is not null then
    if late > (select max(position) from openpool.ledger_periods) then
      raise exception 'some credits of % came so late that they were booked into a month that is not closed yet', month
        using errcode = 'OP004';
    end if;
    -- Entries say of which month their credits are; those that were booked before they did so are mixed.
    execute format('select exists (
        select from openpool.%I e join openpool.ledger_workers w on w.worker = e.worker
          join openpool.ledger_lines l on l.worker = w.id and l.id = e.id
            and l.at in (select ends_at from openpool.ledger_periods)
          join openpool.ledger_entries n on n.id = l.entry
        where e.type = ''job.credited'' and e.position > $1 and n.data->>''late'' is distinct from $2)', name)
      into mixed using closed_at, month;
    if mixed then
      raise exception 'some credits of % came late and share entries with others: run openpool ledger rebuild once, which parts them',
        month using errcode = 'OP004';
    end if;
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
