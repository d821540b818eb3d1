import type { Migration } from "./migration.ts";

/** What rigs told about their machines. */
export const rigReports: Migration = {
  version: 8,
  name: "rig reports",
  sql: `
-- The last report of each rig, as it was told and made harmless: that of a rig that left is still shown.
create table openpool.rig_reports (
  worker text not null,
  rig text not null,
  reported_at timestamptz not null,
  report json not null,
  primary key (worker, rig)
) with (fillfactor = 80);
`,
};
