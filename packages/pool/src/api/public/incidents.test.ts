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

test("what happens again within minutes is one incident that says how often; later it is another one", () => {
  const starts = (minutes: readonly number[]): IncidentEvent[] =>
    minutes.map((minute, i) => event(i + 1, "pool.started", minute, generation(i + 1)));
  expect(kinds(starts([0, 30, 33, 40, 80]), 100)).toEqual(["crash", "crash"]);
  const [, crashes] = incidents(starts([0, 30, 33, 40, 80]), 100);
  expect(crashes).toMatchObject({
    code: "crashed",
    facts: { times: 3 },
    sentence: "The pool's process ended unexpectedly and was replaced, 3 times shortly after one another.",
  });
  expect([crashes?.startedAt.slice(11, 16), crashes?.endedAt?.slice(11, 16)]).toEqual(["00:30", "00:40"]);
});

test("that no rig was there is told since when it was so, and while it goes on", () => {
  const since = (minute: number): Record<string, unknown> => ({
    since: new Date(START + minute * MINUTE).toISOString(),
  });
  const events = [
    event(1, "pool.has-rigs", 0),
    event(2, "pool.no-rigs", 12, since(10)),
    // Another process, which finds none either.
    event(3, "pool.no-rigs", 16, since(14)),
    event(4, "pool.has-rigs", 20),
  ];
  expect(incidents(events, 30)).toMatchObject([
    { kind: "no-rigs", code: "had-no-rigs", startedAt: new Date(START + 10 * MINUTE).toISOString() },
  ]);
  const [now] = incidents([...events, event(5, "pool.no-rigs", 62, since(60))], 70);
  expect(now).toMatchObject({ kind: "no-rigs", endedAt: null, sentence: "No rig is connected, so no work is done." });
});

test("a lost orchestrator is told without its name, unless it was back at once or the pool itself had stopped", () => {
  const of = (upstream: string): Record<string, unknown> => ({ upstream, why: "secret" });
  const short = [event(1, "upstream.left", 0, of("a")), event(2, "upstream.joined", 0.5, of("a"))];
  expect(kinds(short, 10)).toEqual([]);
  // Flapping is not short.
  const flapping = Array.from({ length: 6 }, (_, i) =>
    event(i, i % 2 ? "upstream.joined" : "upstream.left", i * 0.5, of("a")),
  );
  expect(incidents(flapping, 10)).toMatchObject([{ kind: "upstream-lost", facts: { times: 3 } }]);
  const restarted = [
    event(1, "upstream.left", 0, of("a")),
    event(2, "pool.stopped", 0.5, generation(1)),
    event(3, "pool.started", 5, generation(2)),
    event(4, "upstream.joined", 6, of("a")),
  ];
  expect(kinds([event(0, "pool.started", -9, generation(1)), ...restarted], 10)).toEqual(["restart"]);
  const process = (n: number) => ({ ...of("a"), generation: n });
  const handedOver = [
    event(1, "upstream.joined", 0, process(1)),
    event(2, "upstream.joined", 5, process(2)),
    event(3, "pool.started", 5, generation(2)),
    event(4, "upstream.left", 5, process(1)),
  ];
  expect(kinds(handedOver, 20)).toEqual([]);
  expect(kinds([...handedOver, event(5, "upstream.left", 9, process(2))], 20)).toEqual(["upstream-lost"]);
  const drained = event(6, "upstream.left", 12, { ...process(2), drained: true });
  expect(kinds([...handedOver, drained], 20)).toEqual([]);
  expect(incidents([...handedOver, event(5, "upstream.left", 9, process(2)), drained], 20)).toMatchObject([
    { code: "upstream-was-lost" },
  ]);
  const two = [event(1, "upstream.left", 0, of("a")), event(2, "upstream.left", 1, of("b"))];
  const told = incidents([...two, event(3, "upstream.joined", 9, of("b"))], 20);
  expect(told.map(({ code, endedAt }) => [code, endedAt === null])).toEqual([
    ["upstream-lost", true],
    ["upstream-was-lost", false],
  ]);
  expect(JSON.stringify(told)).not.toMatch(/secret|"a"|"b"/);
});
