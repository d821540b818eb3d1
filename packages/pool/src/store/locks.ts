/**
 * The advisory locks of the database, in one place: two that shared a number would keep each other waiting for ever. Steps of
 * the schema name theirs by number, for what has run somewhere is never edited.
 */
export const locks = {
  /** Two nodes that start together migrate one after the other. */
  migration: 7_105_232,
  /** Who runs the managed database. */
  owner: 7_105_233,
  /** Taken in the schema by who makes a partition of the event log. */
  partitions: 7_105_234,
  /** Shared by all who post entries, exclusive for who closes periods or puts rebuilt books in place. */
  periods: 7_105_236,
  /** One process pays. */
  payer: 7_105_237,
  /** One rebuild at a time; shared by backups, during which tables must stay what they are. */
  rebuild: 7_105_238,
} as const;
