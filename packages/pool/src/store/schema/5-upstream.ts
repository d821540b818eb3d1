import type { Migration } from "./migration.ts";

/** Orchestrators that the pool works for: what the operator decided about each. */
export const upstream: Migration = {
  version: 5,
  name: "upstream",
  sql: `
create table openpool.upstreams (
  name text primary key,
  -- Since when the pool is taken out of it.
  drained_at timestamptz
);
`,
};
