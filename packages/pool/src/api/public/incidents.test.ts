import { expect, test } from "vitest";
import type { StoredEvent } from "../../store/types.ts";
import { incidentsOf } from "./answer-pool.ts";

const START = Date.UTC(2026, 10, 21);
const MINUTE = 60_000;

function event(position: number, type: string, minute: number, generation: number): StoredEvent {
  return {
    v: 1,
    id: `event-${position}`,
    position: BigInt(position),
    type,
    time: new Date(START + minute * MINUTE).toISOString(),
    worker: undefined,
    rig: undefined,
    data: { generation },
  };
}
const kinds = (events: readonly StoredEvent[], minute: number): string[] =>
  incidentsOf(events, START + minute * MINUTE).map((one) => one.kind);

test("a process that is still finishing beside its successor is no crash; one that never ended is", () => {
  const replaced = [event(1, "pool.started", 0, 1), event(2, "pool.started", 10, 2)];
  expect(kinds(replaced, 11)).toEqual([]);
  expect(kinds([...replaced, event(3, "pool.stopped", 11, 1)], 12)).toEqual(["restart"]);
  expect(kinds(replaced, 20)).toEqual(["crash"]);
});
