import type { Migration } from "./migration.ts";

/** What of a worker waits for a hook is counted every minute while that worker wants to be told. */
export const hookWaits: Migration = {
  version: 27,
  name: "what of a worker waits for a hook",
  sql: `
create index ledger_lines_hook_held_of_worker on openpool.ledger_lines (worker) include (job, fee_wei)
  where scheme = 'hook-held' and fee_wei > 0;
`,
};
