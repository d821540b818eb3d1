import { expect, test } from "vitest";
import type { IncidentEvent } from "../../store/rollup-types.ts";
import { incidentsOf } from "./incidents.ts";

const START = Date.UTC(2026, 10, 21);
const MINUTE = 60_000;

function event(position: number, type: string, minute: number, data: Record<string, unknown> = {}): IncidentEvent {
  return { position: BigInt(position), type, atMs: START + minute * MINUTE, data };
}
const generation = (n: number): Record<string, unknown> => ({ generation: n });
const incidents = (events: readonly IncidentEvent[], minute: number): ReturnType<typeof incidentsOf> =>
  incidentsOf(events, START + minute * MINUTE);
const kinds = (events: readonly IncidentEvent[], minute: number): string[] =>
  incidents(events, minute).map((one) => one.kind);

test("a process that is still finishing beside its successor is no crash; one that never ended is", () => {
  const replaced = [event(1, "pool.started", 0, generation(1)), event(2, "pool.started", 10, generation(2))];
  expect(kinds(replaced, 11)).toEqual([]);
  expect(kinds([...replaced, event(3, "pool.stopped", 11, generation(1))], 12)).toEqual(["restart"]);
  expect(kinds(replaced, 20)).toEqual(["crash"]);
});

test("a stop of payouts that is over is told with its reason where that is for everybody", () => {
  const events = [
    event(1, "payout.paused", 0, { reason: "moving house" }),
    event(2, "ledger.violated", 5, { violations: [{ check: "x", message: "secret" }] }),
    event(3, "payout.resumed", 10),
    event(4, "ledger.clean", 20),
    event(5, "payout.halted", 30, { code: "x", message: "secret" }),
  ];
  const told = incidents(events, 40);
  expect(told.map(({ kind, startedAt, endedAt }) => [kind, startedAt.slice(11, 16), endedAt?.slice(11, 16)])).toEqual([
    ["payouts-halted", "00:05", "00:20"],
    ["payouts-paused", "00:00", "00:10"],
  ]);
  expect(told[1]?.sentence).toBe("The operator had paused payouts: moving house");
  expect(JSON.stringify(told)).not.toContain("secret");
});
