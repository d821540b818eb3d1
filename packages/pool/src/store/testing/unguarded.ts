/** A statement that changes what the database keeps append only, as somebody would who has taken its guard away. */
export function unguarded(sql: string): string {
  return `set session_replication_role = replica; ${sql}; set session_replication_role = origin`;
}
