import type { Migration } from "./migration.ts";

/** The event log, who may work, what is credited. */
export const log: Migration = {
  version: 1,
  name: "event log, credits, workers",
  sql: `
-- The one row that gives out positions. Whoever appends holds its lock until the commit is done, so positions are
-- gapless and in commit order: who sees position p sees all before it.
create table openpool.log_head (
  one boolean primary key default true check (one),
  position bigint not null
);
insert into openpool.log_head (position) values (0);

-- The last batch of every writer; a batch that is sent again because its answer got lost is recognised by it.
create table openpool.log_writers (
  writer uuid primary key,
  batch bigint not null,
  seen_at timestamptz not null default now()
);

create table openpool.events (
  position bigint not null,
  id uuid not null,
  time timestamptz not null,
  type text not null,
  worker text,
  rig text,
  -- json, not jsonb: kept as it was said, and text that jsonb refuses (a NUL in what a worker said) stops no batch.
  data json not null,
  primary key (position, time)
) partition by range (time);
-- For "since": 24 kB a million rows.
create index events_time on openpool.events using brin (time) with (autosummarize = on);
-- For "type", without a cost for the one type that is nearly all of the log.
create index events_type on openpool.events (type, position) where type <> 'job.credited';

-- Partitions are made beside the table and then attached: that takes no lock that a reader or a writer would wait for.
create function openpool.add_events_partition(p_month date) returns void language plpgsql as $$
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
  execute format('alter table openpool.events attach partition openpool.%I for values from (%L) to (%L)',
    name, starts, ends);
end $$;

-- One row a job, for ever one: the database itself refuses a second credit.
create table openpool.credits (
  job uuid primary key,
  event uuid not null
);

-- Derived from the job.credited events, in the same transaction as they.
create table openpool.rig_totals (
  worker text not null,
  rig text not null,
  segments numeric(78, 0) not null,
  pixels numeric(78, 0) not null,
  fee_wei numeric(78, 0) not null,
  commission_wei numeric(78, 0) not null,
  credited_wei numeric(78, 0) not null,
  primary key (worker, rig),
  check (fee_wei = commission_wei + credited_wei)
) with (fillfactor = 50);

-- Appends one batch, exactly once. Null: this very batch was appended before. Else the events (1-based) that were left
-- out because their job had its credit already.
create function openpool.append_batch(
  p_writer uuid, p_batch bigint,
  p_id uuid[], p_time bigint[], p_type text[], p_worker text[], p_rig text[], p_data text[],
  p_at integer[], p_job uuid[], p_segments bigint[], p_pixels numeric[],
  p_fee numeric[], p_commission numeric[], p_earned numeric[]
) returns integer[] language plpgsql as $$
declare
  added integer := cardinality(p_id);
  base bigint;
  booked integer;
  refused integer[] := '{}';
  seen bigint;
begin
  update openpool.log_writers set batch = p_batch, seen_at = now() where writer = p_writer and batch = p_batch - 1;
  if not found then
    select batch into seen from openpool.log_writers where writer = p_writer;
    if seen is distinct from p_batch then
      raise exception 'batch % does not follow batch % of writer %', p_batch, seen, p_writer using errcode = 'OP001';
    end if;
    return null;
  end if;
  if added = 0 then
    return refused;
  end if;

  -- From here on we are the only one who appends, until the commit.
  update openpool.log_head set position = position + added returning position - added into base;

  if cardinality(p_job) > 0 then
    insert into openpool.credits (job, event)
      select c.job, p_id[c.at] from unnest(p_job, p_at) as c (job, at)
      on conflict (job) do nothing;
    get diagnostics booked = row_count;
    if booked < cardinality(p_job) then
      select array_agg(c.at) into refused
        from unnest(p_job, p_at) as c (job, at) join openpool.credits k on k.job = c.job
        where k.event <> p_id[c.at];
      update openpool.log_head set position = position - cardinality(refused);
    end if;
    if booked > 0 then
      insert into openpool.rig_totals as t (worker, rig, segments, pixels, fee_wei, commission_wei, credited_wei)
        select p_worker[c.at], p_rig[c.at], sum(c.segments), sum(c.pixels), sum(c.fee), sum(c.commission), sum(c.earned)
        from unnest(p_at, p_segments, p_pixels, p_fee, p_commission, p_earned)
          as c (at, segments, pixels, fee, commission, earned)
        where c.at <> all (refused)
        group by 1, 2
        on conflict (worker, rig) do update set
          segments = t.segments + excluded.segments,
          pixels = t.pixels + excluded.pixels,
          fee_wei = t.fee_wei + excluded.fee_wei,
          commission_wei = t.commission_wei + excluded.commission_wei,
          credited_wei = t.credited_wei + excluded.credited_wei;
    end if;
  end if;

  insert into openpool.events (position, id, time, type, worker, rig, data)
    select base + row_number() over (order by e.i), e.id,
      timestamptz 'epoch' + e.time * interval '1 millisecond', e.type, e.worker, e.rig, e.data::json
    from unnest(p_id, p_time, p_type, p_worker, p_rig, p_data)
      with ordinality as e (id, time, type, worker, rig, data, i)
    where e.i <> all (refused);
  return refused;
end $$;

create table openpool.workers (
  worker text primary key,
  locked boolean not null,
  banned text,
  pay_to text,
  note text
);

create table openpool.credentials (
  id text primary key,
  secret_hash text not null unique,
  worker text not null,
  rig text not null,
  created_at timestamptz not null,
  revoked_at timestamptz
);

-- Small things that are worth keeping but could be learnt again, as what is known of a rig's speed.
create table openpool.snapshots (
  name text primary key,
  value json not null,
  taken_at timestamptz not null
);
`,
};
