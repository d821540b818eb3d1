import type { Migration } from "./migration.ts";

/** Upper bounds of the latency buckets, in milliseconds; one more bucket is of everything above. Part of the schema. */
export const LATENCY_BOUNDS_MS = [250, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000] as const;

const buckets = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, (_, i) => `l${i}`);

/** What is added up, and how wide it is. The commission is not kept: it is the fee less what was earned, always. */
const counts = ["jobs", "lost", "rescued", "failed"];
const amounts = ["pixels", "claimed", "fee", "earned"];
const times = ["source_ms", "work_ms"];
const sums = [...counts, ...amounts, ...times];

const table = (name: string, more: string): string => `
create table openpool.${name} (
  subject integer not null,
  at timestamptz not null,
  ${counts.map((c) => `${c} integer not null`).join(",\n  ")},
  ${amounts.map((c) => `${c} numeric(78, 0) not null`).join(",\n  ")},
  ${times.map((c) => `${c} bigint not null`).join(",\n  ")},
  ${more},
  primary key (subject, at)
) with (fillfactor = 80);`;

/** Null stands for 0, because a null costs no byte: most rows have two or three buckets. */
const histogram = buckets.map((l) => `${l} integer`).join(", ");

const grow = (name: string): string =>
  sums.map((c) => `${c} = ${name}.${c} + excluded.${c}`).join(", ") +
  (name === "m"
    ? ", positions = m.positions || excluded.positions"
    : `, ${buckets.map((l) => `${l} = nullif(coalesce(${name}.${l}, 0) + coalesce(excluded.${l}, 0), 0)`).join(", ")}`);

const coarser = (name: string, alias: string, unit: string, from: string): string => `
  insert into openpool.${name} as ${alias} (subject, at, ${sums.join(", ")}, ${buckets.join(", ")})
    select subject, date_trunc('${unit}', at, 'UTC'), ${sums.map((c) => `sum(${c})`).join(", ")},
      ${buckets.map((l) => `nullif(sum(${l}), 0)`).join(", ")}
    from d where at >= ${from} group by 1, 2
    on conflict (subject, at) do update set ${grow(alias)}`;

/** What the pages read: sums per minute, hour and day, of the pool, of every worker and of every rig. */
export const rollups: Migration = {
  version: 4,
  name: "roll-ups",
  sql: `
-- How far the event log is counted. Whoever counts on holds this row, so that each event is counted once.
create table openpool.rollup_cursor (
  one boolean primary key default true check (one),
  position bigint not null
);
insert into openpool.rollup_cursor (position) values (0);

-- Of whom the sums are: the pool (no worker, no rig), a worker (no rig), or a rig.
create table openpool.rollup_subjects (
  id integer primary key generated always as identity,
  worker text not null,
  rig text not null,
  first_at timestamptz not null,
  -- Registered or left; what is going on at this moment is not here.
  seen_at timestamptz,
  refused_at timestamptz,
  refused_reason text,
  unique (worker, rig)
) with (fillfactor = 70);
create index rollup_subjects_rigs on openpool.rollup_subjects (rig, worker);

-- positions: of a rig's segments, in the log.
${table("rollup_minutes", "positions bigint[]")}
${table("rollup_hours", histogram)}
${table("rollup_days", histogram)}

-- Counts the next events, at most p_limit of them; minutes and hours before the given times are left out, for they would
-- be dropped at once. Answers up to which position the log is counted and how many events are left; no row while another
-- node counts.
create function openpool.rollup_step(p_limit integer, p_minutes_from timestamptz, p_hours_from timestamptz)
returns table (counted bigint, behind bigint) language plpgsql as $$
declare
  start bigint;
  head bigint;
  stop bigint;
begin
  select position into start from openpool.rollup_cursor for update skip locked;
  if not found then
    return;
  end if;
  select position into head from openpool.log_head;
  stop := least(head, start + p_limit);
  if stop > start then
    insert into openpool.rollup_subjects as s (worker, rig, first_at, seen_at)
      select w.worker, w.rig, min(w.time), max(w.time) filter (where w.seen) from (
        select worker, rig, time, type in ('rig.joined', 'rig.left') as seen
          from openpool.events where position > start and position <= stop and rig is not null
            and type in ('job.credited', 'attempt.failed', 'rig.joined', 'rig.left')
        union all
        select worker, '', time, type in ('rig.joined', 'rig.left')
          from openpool.events where position > start and position <= stop and worker is not null
            and type in ('job.credited', 'attempt.failed', 'rig.joined', 'rig.left')
        union all
        select '', '', time, false
          from openpool.events where position > start and position <= stop
            and type in ('job.credited', 'attempt.failed', 'job.failed')
      ) w
      group by 1, 2
      on conflict (worker, rig) do update set seen_at = greatest(s.seen_at, excluded.seen_at)
        where excluded.seen_at is not null;
    insert into openpool.rollup_subjects as s (worker, rig, first_at, refused_at, refused_reason)
      select distinct on (data->>'worker') data->>'worker', '', time, time, data->>'reason'
        from openpool.events where position > start and position <= stop and type = 'rig.refused'
          and data->>'worker' ~ '^0x[0-9a-fA-F]{40}$'
        order by data->>'worker', position desc
      on conflict (worker, rig) do update set refused_at = excluded.refused_at, refused_reason = excluded.refused_reason;

    with x as (
      select e.position, e.worker, e.rig, date_trunc('minute', e.time) as minute,
        (e.type = 'job.credited')::int as jobs, (e.type = 'job.failed')::int as lost,
        (e.type = 'job.credited' and j.attempts > 1)::int as rescued, (e.type = 'attempt.failed')::int as failed,
        coalesce(j.pixels, 0) as pixels,
        coalesce((select sum(coalesce(nullif(r->>'claimedPixels', ''), r->>'pixels')::numeric)
          from json_array_elements(case when json_typeof(j.renditions) = 'array' then j.renditions end) r),
          j.pixels, 0) as claimed,
        coalesce(j."feeWei", 0) as fee, coalesce(j."earnedWei", 0) as earned,
        coalesce(j."durationMs", 0) as source_ms,
        case when e.type = 'job.credited' then coalesce(j."tookMs", 0) else 0 end as work_ms,
        case when e.type = 'job.credited' and j."tookMs" is not null
          then width_bucket(j."tookMs", array[${LATENCY_BOUNDS_MS.join(", ")}]::numeric[]) end as bucket
      from openpool.events e
        left join lateral json_to_record(case when e.type = 'job.credited' then e.data end) as j (
          pixels numeric, "feeWei" numeric, "earnedWei" numeric, "durationMs" numeric, "tookMs" numeric,
          attempts integer, renditions json) on true
      where e.position > start and e.position <= stop and e.type in ('job.credited', 'attempt.failed', 'job.failed')
    ), g as (
      select coalesce(worker, '') as worker, coalesce(rig, '') as rig, minute,
        sum(jobs) as jobs, sum(lost) as lost, sum(rescued) as rescued, sum(failed) as failed,
        sum(pixels) as pixels, sum(claimed) as claimed, sum(fee) as fee, sum(earned) as earned,
        sum(source_ms) as source_ms, sum(work_ms) as work_ms,
        ${buckets.map((l, i) => `count(*) filter (where bucket = ${i}) as ${l}`).join(", ")},
        case when grouping(rig) = 0 then array_agg(position order by position) filter (where jobs > 0) end as positions
      from x group by grouping sets ((worker, rig, minute), (worker, minute), (minute))
      -- What no rig did is the pool's alone, once.
      having (grouping(worker) = 1 or max(worker) is not null) and (grouping(rig) = 1 or max(rig) is not null)
    ), d as materialized (
      select s.id as subject, g.minute as at, g.positions, ${[...sums, ...buckets].map((c) => `g.${c}`).join(", ")}
      from g join openpool.rollup_subjects s on s.worker = g.worker and s.rig = g.rig
    ), minutes as (
      insert into openpool.rollup_minutes as m (subject, at, ${sums.join(", ")}, positions)
        select subject, at, ${sums.join(", ")}, positions from d where at >= p_minutes_from
        on conflict (subject, at) do update set ${grow("m")}
    ), hours as (${coarser("rollup_hours", "h", "hour", "date_trunc('hour', p_hours_from, 'UTC')")}
    )
    ${coarser("rollup_days", "t", "day", "'-infinity'")};
    update openpool.rollup_cursor set position = stop;
  end if;
  return query select stop, head - stop;
end $$;
`,
};
