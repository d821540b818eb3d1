import type { StoredEvent, WorkerBalance } from "../store/types.ts";

/** One line of `/events`; `docs/events.md` describes it. */
export function eventLine(event: StoredEvent): string {
  const { v, id, position, time, type, worker, rig, data } = event;
  return `${JSON.stringify({ v, id, position, time, type, worker, rig, data }, bigintsAsText)}\n`;
}

/** An element of `/balances`: wei and pixels as decimal strings, segments as a number. */
export function balanceJson(balance: WorkerBalance): object {
  const sums = (one: { segments: bigint; pixels: bigint; creditedWei: bigint }): object => ({
    segments: Number(one.segments),
    pixels: one.pixels.toString(),
    creditedWei: one.creditedWei.toString(),
  });
  return {
    worker: balance.worker,
    ...sums(balance),
    rigs: balance.rigs.map((rig) => ({ name: rig.name, ...sums(rig) })),
  };
}

/** For `JSON.stringify`: a bigint is a decimal string, since JavaScript readers round large numbers. */
export function bigintsAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
