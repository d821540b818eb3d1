import type { Migration } from "./migration.ts";

/** What hooks said of each job, as a fact: asked again, a slow one could say something else. */
export const hookVerdicts: Migration = {
  version: 13,
  name: "what hooks said",
  sql: `
create table openpool.hook_verdicts (
  -- Of the credit.
  event uuid primary key,
  -- { share?, note? }: amounts as decimal strings.
  verdict json not null
);

-- Of what was booked before, the rows of statements tell it.
insert into openpool.hook_verdicts (event, verdict)
select l.id, json_strip_nulls(json_build_object(
  'share', case min(l.scheme)
    when 'hook-held' then
      json_build_object('kind', 'failed', 'hash', min(l.data->>'hook'), 'why', coalesce(min(l.data->>'why'), ''))
    when 'hook' then json_build_object('kind', 'shared', 'hash', min(l.data->>'hook'), 'lines',
      coalesce(jsonb_agg(jsonb_build_object('to', w.worker, 'wei', l.amount_wei::text)) filter (where l.amount_wei > 0), '[]')
        || jsonb_build_array(jsonb_build_object('to', 'pool', 'wei', (max(l.fee_wei) - sum(l.amount_wei))::text)),
      'note', min(l.data->>'note'))
  end,
  'note', min(l.data->>'note')))
from openpool.ledger_lines l join openpool.ledger_workers w on w.id = l.worker
where exists (select from openpool.hooks) and l.kind = 'credit'
  and (l.scheme in ('hook', 'hook-held') or l.data->>'note' is not null)
group by l.id;
`,
};
