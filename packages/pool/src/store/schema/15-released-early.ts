import type { Migration } from "./migration.ts";

/** What was released by a clock that had run ahead. */
export const releasedEarly: Migration = {
  version: 15,
  name: "holds that a wrong clock released",
  sql: `
-- A row of a statement is released if its hold ended by ledger_cursor.released_through. When the clock was set back, that
-- goes back too, and what had been released by then, although its time is still to come, stands here until it has come.
create table openpool.ledger_released_early (
  id uuid not null,
  worker integer not null,
  release_at timestamptz not null,
  primary key (id, worker)
);
create index ledger_released_early_at on openpool.ledger_released_early (release_at);
`,
};
