import type { ClientBase } from "pg";
import type { NewEvent } from "./types.ts";

/** A fact of a transaction: it is in the event log if, and only if, what it tells of is in the tables. */
export type TransactionEvent = Pick<NewEvent, "type" | "worker" | "data">;

/**
 * Appends events in the caller's transaction; amounts in them may be bigints. From here on nobody else appends until the
 * transaction ends, so this comes last.
 */
export async function appendEvents(
  client: ClientBase,
  events: readonly TransactionEvent[],
  nowMs: number,
  newId: () => string,
): Promise<void> {
  if (events.length === 0) return;
  await client.query("select openpool.append_events($1, $2, $3, $4, $5)", [
    events.map(newId),
    events.map(() => nowMs),
    events.map((event) => event.type),
    events.map((event) => event.worker ?? null),
    events.map((event) =>
      JSON.stringify(event.data, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
    ),
  ]);
}
