import type { Migration } from "./migration.ts";

/** What the operator released of a ban is over with that ban. */
export const releasedBans: Migration = {
  version: 21,
  name: "released bans",
  sql: `
-- Whoever changes a ban, and by whatever way: the next one holds payouts back again.
create function openpool.forget_released_ban() returns trigger language plpgsql as $$
begin
  update openpool.payout_payees set paid_though_banned = false where worker = new.worker and paid_though_banned;
  return null;
end $$;
create trigger forget_released_ban after update of banned on openpool.workers
  for each row when (old.banned is distinct from new.banned) execute function openpool.forget_released_ban();

-- Releases of workers that were not banned at the time: they were written down as if they had been.
update openpool.payout_payees p set paid_though_banned = false
where paid_though_banned and not exists (select from openpool.workers w where w.worker = p.worker and w.banned is not null);
`,
};
