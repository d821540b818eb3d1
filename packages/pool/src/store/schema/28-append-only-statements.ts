import type { Migration } from "./migration.ts";

/** The rows of statements, and which job has its credit, are kept append only like the log and the entries that they come from. */
export const appendOnlyStatements: Migration = {
  version: 28,
  name: "append only statements",
  sql: `
select openpool.guard('openpool.ledger_lines');
select openpool.guard('openpool.credits');
`,
};
