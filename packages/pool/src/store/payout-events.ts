import type { WorkerAddress } from "@openpool/protocol";
import type { Client } from "pg";

/** A fact about payouts, as docs/events.md describes it; amounts in wei may be bigints. */
export interface PayoutEvent {
  readonly type: string;
  readonly worker?: WorkerAddress;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A transaction of the payouts. What it tells is in the event log if, and only if, what it changes is in the tables. */
export interface PayoutTransaction {
  readonly client: Client;
  tell(event: PayoutEvent): void;
}

/** Appends events; from here on nobody else appends until the transaction ends, so this comes last. */
export async function appendEvents(
  client: Client,
  events: readonly PayoutEvent[],
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
