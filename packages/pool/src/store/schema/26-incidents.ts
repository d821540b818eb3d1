import type { Migration } from "./migration.ts";

/** What the page of the pool's state is made of: starts, ends, stops of payouts. One in millions of all events. */
const INCIDENT_EVENTS = [
  "pool.started",
  "pool.stopped",
  "log.resumed",
  "payout.paused",
  "payout.halted",
  "payout.resumed",
  "ledger.violated",
  "ledger.clean",
] as const;

const types = INCIDENT_EVENTS.map((type) => `'${type}'`).join(", ");

/** Kept beside the sums as the log is counted, so that no page reads the log itself. */
export const incidents: Migration = {
  version: 26,
  name: "incidents",
  sql: `
create table openpool.incident_events (
  position bigint primary key,
  at timestamptz not null,
  type text not null,
  data json not null
);

insert into openpool.incident_events
  select position, time, type, data from openpool.events
  where type <> 'job.credited' and type in (${types})
    and position <= (select position from openpool.rollup_cursor);

alter function openpool.rollup_step(integer, timestamptz, timestamptz) rename to rollup_sums;

-- Counts the next events as rollup_sums does, and keeps those of them that tell of incidents.
create function openpool.rollup_step(p_limit integer, p_minutes_from timestamptz, p_hours_from timestamptz)
returns table (counted bigint, behind bigint) language plpgsql as $$
declare
  start bigint;
begin
  select position into start from openpool.rollup_cursor for update skip locked;
  if not found then
    return;
  end if;
  select r.counted, r.behind into counted, behind from openpool.rollup_sums(p_limit, p_minutes_from, p_hours_from) r;
  insert into openpool.incident_events
    select e.position, e.time, e.type, e.data from openpool.events e
    where e.position > start and e.position <= counted and e.type <> 'job.credited' and e.type in (${types})
    on conflict do nothing;
  return next;
end $$;
`,
};
