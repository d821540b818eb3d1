import type { Migration } from "./migration.ts";

/** Taking a month out of the log: asked first, without holding up who appends, and not while its money waits for a hook. */
export const pruning: Migration = {
  version: 24,
  name: "pruning without waiting",
  sql: `
-- An id (UUIDv7) begins with its moment. Ids only grow, so it may be later than its event's where the clock stepped back.
create function openpool.moment_of(p_id uuid) returns timestamptz language sql immutable parallel safe as $$
  select to_timestamp(('x' || translate(left(p_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
$$;

-- Says why a month may not leave the event log yet, whether it was exported or not.
create function openpool.check_events_month(p_month date) returns void language plpgsql as $$
declare
  month text := to_char(p_month, 'YYYY-MM');
  name text := 'events_' || to_char(p_month, 'YYYY_MM');
  closed_at bigint;
  found_one boolean;
  late bigint;
  newest bigint;
begin
  select position into closed_at from openpool.ledger_periods where period = month and dropped_at is null;
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
  execute format('select max(position) from openpool.%I', name) into newest;
  -- A pool that shows no pages counts nothing for them.
  if exists (select from openpool.rollup_cursor where position > 0 and position < newest) then
    raise exception 'the events of % are not all counted for the pages yet', month using errcode = 'OP004';
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
      into found_one using closed_at, month;
    if found_one then
      raise exception 'some credits of % came late and share entries with others: run openpool ledger rebuild once, which parts them',
        month using errcode = 'OP004';
    end if;
  end if;
  -- Shared once their hook is mended, by what the log says of them.
  execute format('select exists (
      select from openpool.ledger_lines l join openpool.%I e on e.id = l.id
        and e.time between openpool.moment_of(l.id) - interval ''1 day'' and openpool.moment_of(l.id) + interval ''1 minute''
      where l.scheme = ''hook-held'' and l.fee_wei > 0
        and not exists (select from openpool.ledger_entries k where k.source = ''hook-released/'' || l.job))', name)
    into found_one;
  if found_one then
    raise exception 'fees of % wait for a hook: run openpool hooks release first', month using errcode = 'OP004';
  end if;
end $$;

-- Takes a month out of the event log, once check_events_month has nothing against it and all of it was exported.
create or replace function openpool.drop_events_month(p_month date) returns void language plpgsql as $$
declare
  month text := to_char(p_month, 'YYYY-MM');
  name text := 'events_' || to_char(p_month, 'YYYY_MM');
  newest bigint;
begin
  perform openpool.check_events_month(p_month);
  update openpool.ledger_periods set dropped_at = now() where period = month and dropped_at is null;
  if to_regclass('openpool.' || name) is null then
    return;
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
  -- From here on nobody appends to the log, for a moment. Who reads it long is waited for in short pieces: while this waits
  -- for its turn, everybody else waits for it.
  perform set_config('lock_timeout', '200ms', true);
  for try in 1..10 loop
    begin
      lock table only openpool.events in access exclusive mode;
      execute format('lock table openpool.%I in access exclusive mode', name);
      exit;
    exception when lock_not_available then
      if try = 10 then
        raise exception 'the log is read without a break: try again later' using errcode = 'OP004';
      end if;
    end;
    perform pg_sleep(0.3);
  end loop;
  execute format('select max(position) from openpool.%I', name) into newest;
  if newest is not null and not exists (
    select from openpool.event_exports x where x.month = to_char(p_month, 'YYYY-MM') and x.last_position = newest
  ) then
    raise exception 'the events of % were not exported, or not all of them', month using errcode = 'OP004';
  end if;
  execute format('drop table openpool.%I', name);
end $$;
`,
};
