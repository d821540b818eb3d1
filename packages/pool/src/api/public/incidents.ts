import type { Incident } from "@openpool/protocol";
import type { IncidentEvent } from "../../store/rollup-types.ts";
import { duration } from "./amounts.ts";
import { time } from "./sums.ts";

/** A process that is replaced ends within two minutes. */
const FINISHING_MS = 180_000;

/** What is said of payouts that are halted, for everybody: the reason is the operator's. */
export const HALTED = "Payouts are halted until the operator has looked; work goes on.";

/** What happened to the pool, newest first, from its own events, oldest first. What goes on still is not in it. */
export function incidentsOf(events: readonly IncidentEvent[], nowMs: number): Incident[] {
  return [...ofProcesses(events, nowMs), ...ofLog(events), ...ofPayouts(events)]
    .toSorted((a, b) => b.atMs - a.atMs)
    .map(({ incident }) => incident);
}

interface Told {
  /** When it was known, by which incidents are listed. */
  readonly atMs: number;
  readonly incident: Incident;
}

/**
 * Starts and stops: a process whose end nobody recorded was killed or crashed, unless its successor began so lately that it
 * may still be finishing its work; one that ended beside its successor was replaced; one that ended and was followed later
 * left a gap.
 */
function ofProcesses(events: readonly IncidentEvent[], nowMs: number): Told[] {
  const stoppedAt = new Map<number, number>();
  for (const { type, atMs, data } of events) {
    if (type === "pool.stopped") stoppedAt.set(Number(data["generation"]), atMs);
  }
  const told: Told[] = [];
  let before: { readonly generation: number } | undefined;
  for (const { type, atMs, data, position } of events) {
    if (type !== "pool.started") continue;
    const endMs = before && stoppedAt.get(before.generation);
    const mayBeFinishing = nowMs - atMs < FINISHING_MS;
    const id = `start-${position}`;
    const endedAt = time(atMs);
    if (before !== undefined && endMs !== undefined) {
      const gapMs = Math.max(0, atMs - endMs);
      const sentence =
        gapMs === 0
          ? "The pool was restarted without a gap."
          : `The pool was stopped and started again after ${duration(gapMs)}.`;
      told.push({
        atMs,
        incident: { id, kind: "restart", startedAt: time(Math.min(endMs, atMs)), endedAt, sentence },
      });
    } else if (before !== undefined && !mayBeFinishing) {
      const sentence = "The pool's process ended unexpectedly and was replaced.";
      told.push({ atMs, incident: { id, kind: "crash", startedAt: endedAt, endedAt, sentence } });
    }
    before = { generation: Number(data["generation"]) };
  }
  return told;
}

function ofLog(events: readonly IncidentEvent[]): Told[] {
  return events.flatMap(({ type, atMs, data, position }) => {
    if (type !== "log.resumed") return [];
    const sinceMs = Date.parse(String(data["since"]));
    const startMs = Number.isFinite(sinceMs) ? sinceMs : atMs;
    const incident: Incident = {
      id: `log-${position}`,
      kind: "log-unwritable",
      startedAt: time(startMs),
      endedAt: time(atMs),
      sentence: `Facts could not be written for ${duration(atMs - startMs)}, so no work was answered.`,
    };
    return [{ atMs, incident }];
  });
}

/** What begins a stop of payouts, and what ends it. */
const STOPS = [
  { kind: "payouts-paused", begins: "payout.paused", ends: "payout.resumed" },
  { kind: "payouts-halted", begins: "payout.halted", ends: "payout.resumed" },
  { kind: "payouts-halted", begins: "ledger.violated", ends: "ledger.clean" },
] as const;

function ofPayouts(events: readonly IncidentEvent[]): Told[] {
  return STOPS.flatMap(({ kind, begins, ends }) => {
    const told: Told[] = [];
    let began: IncidentEvent | undefined;
    for (const event of events) {
      if (event.type === begins) began ??= event;
      if (event.type !== ends || began === undefined) continue;
      const reason = began.data["reason"];
      const sentence =
        kind === "payouts-paused" && typeof reason === "string"
          ? `The operator had paused payouts: ${reason}`
          : HALTED_THEN;
      told.push({
        atMs: event.atMs,
        incident: {
          id: `payouts-${began.position}`,
          kind,
          startedAt: time(began.atMs),
          endedAt: time(event.atMs),
          sentence,
        },
      });
      began = undefined;
    }
    return told;
  });
}

const HALTED_THEN = "Payouts were halted until the operator had looked; work went on.";
