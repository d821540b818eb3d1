import type { Migration } from "./migration.ts";

/** What is known of each account that pays; events in the transaction of what they tell; runs whose multisig is lost. */
export const payoutAccounts: Migration = {
  version: 14,
  name: "payout accounts and their events",
  sql: `
-- Nonces are an account's own: those of another one say nothing about it.
create table openpool.payout_accounts (
  chain_id bigint not null,
  payer text not null,
  -- Nonces below it were used by others, and the operator knows.
  nonce_floor bigint not null,
  -- Nonces below it are used up before anything is paid: books that were set back may have handed payments out with them.
  nonce_guard bigint,
  primary key (chain_id, payer)
);
-- There was one value, of the account that was in use when it was written: that which has paid last.
insert into openpool.payout_accounts (chain_id, payer, nonce_floor, nonce_guard)
  select r.chain_id, r.payer, coalesce(c.nonce_floor, 0), c.nonce_guard
  from openpool.payout_control c, openpool.payout_runs r
  where c.nonce_floor is not null or c.nonce_guard is not null
  order by
    exists (select from openpool.payout_lines l where l.run = r.id and l.tx_hash is not null) desc, r.created_at desc
  limit 1;
alter table openpool.payout_control drop column nonce_floor, drop column nonce_guard;

-- Nothing ever wrote it.
alter table openpool.payout_intents drop column foreign_acknowledged;

-- Runs that a multisig was handed, and that were taken back although nobody can make it impossible that it pays them: they
-- are looked at for ever, until it was seen that it did.
alter table openpool.payout_runs add column given_up_at timestamptz, add column paid_after_all_at timestamptz;

-- Appends events inside the caller's own transaction, as the last thing that it does: from here on to its commit nobody
-- else appends.
create function openpool.append_events(p_id uuid[], p_time bigint[], p_type text[], p_worker text[], p_data text[])
returns void language plpgsql as $$
declare
  base bigint;
  month date;
begin
  update openpool.log_head set position = position + cardinality(p_id) returning position - cardinality(p_id) into base;
  for month in
    select distinct date_trunc('month', (timestamptz 'epoch' + t * interval '1 millisecond') at time zone 'UTC')::date
    from unnest(p_time) t
  loop
    -- The clock may have jumped.
    if to_regclass('openpool.events_' || to_char(month, 'YYYY_MM')) is null then
      perform openpool.add_events_partition(month);
    end if;
  end loop;
  insert into openpool.events (position, id, time, type, worker, data)
    select base + e.i, e.id, timestamptz 'epoch' + e.time * interval '1 millisecond', e.type, e.worker, e.data::json
    from unnest(p_id, p_time, p_type, p_worker, p_data) with ordinality as e (id, time, type, worker, data, i);
end $$;
`,
};
