import type { FactsOf, Incident, ReasonCode } from "@openpool/protocol";
import type { IncidentEvent } from "../../store/rollup-types.ts";
import { reasonOf } from "./amounts.ts";
import { time } from "./sums.ts";

/** A process that is replaced ends within two minutes. */
const FINISHING_MS = 180_000;
/** What happens again so soon after it was over is the same incident, still. */
const SAME_MS = 600_000;
/** A connection that is back so soon has been lost by nobody's standards. */
const SHORT_MS = 60_000;

/** What happened to the pool, newest first, from its own events, oldest first; of payouts only what is over. */
export function incidentsOf(events: readonly IncidentEvent[], nowMs: number): Incident[] {
  return [
    ...ofProcesses(events, nowMs),
    ...ofLog(events),
    ...ofPayouts(events),
    ...ofRigs(events, nowMs),
    ...ofUpstreams(events, nowMs),
  ]
    .toSorted((a, b) => b.atMs - a.atMs)
    .map(({ incident }) => incident);
}

/** An incident with its words. */
export function incident<Code extends ReasonCode>(
  of: Pick<Incident, "id" | "kind"> & { readonly startMs: number; readonly endMs: number | undefined },
  code: Code,
  facts: FactsOf<Code>,
): Incident {
  const { id, kind, startMs, endMs } = of;
  const said = reasonOf(code, facts);
  const endedAt = endMs === undefined ? null : time(endMs);
  return { id, kind, startedAt: time(startMs), endedAt, sentence: said.sentence, code, facts: said.facts };
}

interface Told {
  /** When it was known, by which incidents are listed. */
  readonly atMs: number;
  readonly incident: Incident;
}

/** Some time that something lasted. */
interface Spell {
  readonly position: bigint;
  readonly startMs: number;
  /** Undefined: it goes on. */
  readonly endMs: number | undefined;
  readonly atMs: number;
}

interface Spells extends Spell {
  /** How often, when more than once; sentences then say so. */
  readonly times: number | undefined;
  /** How long in all, without the times between. */
  readonly gapMs: number;
}

/** Those that follow each other closely are one. They are of one kind, and come in the order of their ends. */
function merged(spells: readonly Spell[]): Spells[] {
  const out: Spells[] = [];
  for (const spell of spells) {
    const lastedMs = Math.max(0, (spell.endMs ?? spell.startMs) - spell.startMs);
    const before = out.at(-1);
    if (before?.endMs === undefined || spell.startMs - before.endMs > SAME_MS) {
      out.push({ ...spell, times: undefined, gapMs: lastedMs });
      continue;
    }
    const startMs = Math.min(before.startMs, spell.startMs);
    const { endMs, atMs } = spell;
    const times = (before.times ?? 1) + 1;
    out[out.length - 1] = { position: before.position, startMs, endMs, atMs, times, gapMs: before.gapMs + lastedMs };
  }
  return out;
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
  const replaced: Spell[] = [];
  const gaps: Spell[] = [];
  const crashes: Spell[] = [];
  let before: { readonly generation: number } | undefined;
  for (const { type, atMs, data, position } of events) {
    if (type !== "pool.started") continue;
    const endMs = before && stoppedAt.get(before.generation);
    const mayBeFinishing = nowMs - atMs < FINISHING_MS;
    if (before !== undefined && endMs !== undefined) {
      const spell = { position, startMs: Math.min(endMs, atMs), endMs: atMs, atMs };
      (atMs > endMs ? gaps : replaced).push(spell);
    } else if (before !== undefined && !mayBeFinishing) {
      crashes.push({ position, startMs: atMs, endMs: atMs, atMs });
    }
    before = { generation: Number(data["generation"]) };
  }
  const of = (spell: Spell, kind: "restart" | "crash") => ({ ...spell, id: `start-${spell.position}`, kind });
  return [
    ...merged(replaced).map((one) => told(one, incident(of(one, "restart"), "restarted", timesOf(one)))),
    ...merged(gaps).map((one) =>
      told(one, incident(of(one, "restart"), "stopped", { gapMs: one.gapMs, ...timesOf(one) })),
    ),
    ...merged(crashes).map((one) => told(one, incident(of(one, "crash"), "crashed", timesOf(one)))),
  ];
}

const told = ({ atMs }: Spell, one: Incident): Told => ({ atMs, incident: one });
const timesOf = ({ times }: Spells): { readonly times?: number } => (times === undefined ? {} : { times });

function ofLog(events: readonly IncidentEvent[]): Told[] {
  const spells = events.flatMap(({ type, atMs, data, position }): Spell[] => {
    if (type !== "log.resumed") return [];
    const sinceMs = Date.parse(String(data["since"]));
    return [{ position, startMs: Number.isFinite(sinceMs) ? sinceMs : atMs, endMs: atMs, atMs }];
  });
  return merged(spells).map((one) => {
    const of = { ...one, id: `log-${one.position}`, kind: "log-unwritable" as const };
    return told(one, incident(of, "log-unwritable", { gapMs: one.gapMs, ...timesOf(one) }));
  });
}

/** What begins a stop of payouts, and what ends it. */
const STOPS = [
  { kind: "payouts-paused", begins: "payout.paused", ends: "payout.resumed" },
  { kind: "payouts-halted", begins: "payout.halted", ends: "payout.resumed" },
  { kind: "payouts-halted", begins: "ledger.violated", ends: "ledger.clean" },
] as const;

/** Each has its own reason, so none is told together with another. */
function ofPayouts(events: readonly IncidentEvent[]): Told[] {
  return STOPS.flatMap(({ kind, begins, ends }) => {
    const out: Told[] = [];
    let began: IncidentEvent | undefined;
    for (const event of events) {
      if (event.type === begins) began ??= event;
      if (event.type !== ends || began === undefined) continue;
      const of = { id: `payouts-${began.position}`, kind, startMs: began.atMs, endMs: event.atMs };
      const why = began.data["reason"];
      out.push({
        atMs: event.atMs,
        incident:
          kind === "payouts-paused"
            ? incident(of, "payouts-were-paused", typeof why === "string" ? { why } : {})
            : incident(of, "payouts-were-halted", {}),
      });
      began = undefined;
    }
    return out;
  });
}

/** Since when there was no rig is in the event, which is written when that has lasted. */
function ofRigs(events: readonly IncidentEvent[], nowMs: number): Told[] {
  const spells: Spell[] = [];
  let began: Omit<Spell, "endMs"> | undefined;
  for (const { type, atMs, data, position } of events) {
    if (type === "pool.no-rigs") {
      const sinceMs = Date.parse(String(data["since"]));
      began ??= { position, startMs: Number.isFinite(sinceMs) ? sinceMs : atMs, atMs };
    }
    if (type !== "pool.has-rigs" || began === undefined) continue;
    spells.push({ ...began, endMs: atMs, atMs });
    began = undefined;
  }
  if (began) spells.push({ ...began, atMs: nowMs, endMs: undefined });
  return merged(spells).map((one) => {
    const of = { ...one, id: `rigs-${one.position}`, kind: "no-rigs" as const };
    const said = one.endMs === undefined ? incident(of, "no-rigs", {}) : incident(of, "had-no-rigs", timesOf(one));
    return told(one, said);
  });
}

/** One orchestrator after the other; which one it is is the operator's business. A stop of the pool is told as that. */
function ofUpstreams(events: readonly IncidentEvent[], nowMs: number): Told[] {
  const lost = new Map<unknown, Spell>();
  const spells = new Map<unknown, Spell[]>();
  /** The process that registered last: one that it replaces leaves after that. */
  const joined = new Map<unknown, unknown>();
  let stoppedMs = -Infinity;
  for (const { type, atMs, data, position } of events) {
    const { upstream: name, generation, drained } = data;
    if (type === "upstream.joined" || (type === "upstream.left" && drained === true)) {
      joined.set(name, generation);
      const began = lost.get(name);
      lost.delete(name);
      if (began) spells.set(name, [...(spells.get(name) ?? []), { ...began, endMs: atMs, atMs }]);
    } else if (type === "upstream.left") {
      const replaced = joined.has(name) && joined.get(name) !== generation;
      if (!replaced && !lost.has(name)) lost.set(name, { position, startMs: atMs, endMs: undefined, atMs });
    } else if (type === "pool.stopped" || type === "pool.started") {
      // Whoever was there shortly before has gone with the process.
      stoppedMs = atMs;
      for (const [one, { startMs }] of lost) if (stoppedMs - startMs < FINISHING_MS) lost.delete(one);
    }
  }
  for (const [name, began] of lost) spells.set(name, [...(spells.get(name) ?? []), { ...began, atMs: nowMs }]);
  return [...spells.values()].flatMap((own) =>
    merged(own).flatMap((one) => {
      if ((one.endMs ?? nowMs) - one.startMs < SHORT_MS) return [];
      const of = { ...one, id: `upstream-${one.position}`, kind: "upstream-lost" as const };
      return [
        told(
          one,
          one.endMs === undefined ? incident(of, "upstream-lost", {}) : incident(of, "upstream-was-lost", timesOf(one)),
        ),
      ];
    }),
  );
}
