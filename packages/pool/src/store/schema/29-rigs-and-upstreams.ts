import type { Migration } from "./migration.ts";

const NEW = "'pool.no-rigs', 'pool.has-rigs', 'upstream.joined', 'upstream.left'";

/** Whether there is anybody to do the work, and whether the orchestrators that it comes from reach the pool, are incidents too. */
export const rigsAndUpstreams: Migration = {
  version: 29,
  name: "incidents of rigs and upstreams",
  sql: `
-- One place for what the page of the pool's state is made of; a type that comes later replaces this alone.
create function openpool.tells_of_incident(p_type text) returns boolean language sql immutable as $$
  select p_type in ('pool.started', 'pool.stopped', 'log.resumed', 'payout.paused', 'payout.halted', 'payout.resumed',
    'ledger.violated', 'ledger.clean', ${NEW})
$$;

insert into openpool.incident_events
  select position, time, type, data from openpool.events
  where type <> 'job.credited' and type in (${NEW})
    and position <= (select position from openpool.rollup_cursor)
  on conflict do nothing;

create or replace function openpool.rollup_step(p_limit integer, p_minutes_from timestamptz, p_hours_from timestamptz)
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
    where e.position > start and e.position <= counted and e.type <> 'job.credited' and openpool.tells_of_incident(e.type)
    on conflict do nothing;
  return next;
end $$;
`,
};
