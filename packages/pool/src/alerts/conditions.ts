import { isDeepStrictEqual } from "node:util";
import type { WorkerAddress } from "@openpool/protocol";
import type { Alert, AlertKind } from "./types.ts";

/**
 * A condition holds or it does not, and both only count after a while:
 *
 * ```
 *            bad for raiseAfterMs                 good for clearAfterMs (longer the more often it came back)
 * calm ────────────────────────────→ raised ────────────────────────────────────────────────────────────→ calm
 *  └ good again before: nothing is said   └ bad again before: nothing is said
 * ```
 */
export interface ConditionRule {
  readonly kind: AlertKind;
  readonly raiseAfterMs: number;
  readonly clearAfterMs: number;
}

export interface ConditionKey {
  readonly kind: AlertKind;
  /** What it is about, unique within the kind: `<address>.<rig>`, the name of an upstream, … */
  readonly subject: string;
  /** Of measured conditions: what was passed. */
  readonly threshold: string;
}

export interface ConditionState extends ConditionKey {
  readonly worker: WorkerAddress | null;
  readonly rig: string | null;
  /** As last seen. */
  readonly bad: boolean;
  /** Unix ms: since when it is as last seen. */
  readonly sinceMs: number;
  /** It was told. */
  readonly raised: boolean;
  /** Unix ms: when what was seen last counts, unless it changes back. */
  readonly dueMs: number | undefined;
  /** Unix ms of the last raising; with the key it names the episode. */
  readonly raisedAtMs: number | undefined;
  /** How often it was raised, each time within a day of the time before. */
  readonly episodes: number;
  /** Of presence: the connections that are open. */
  readonly connections: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;
}

const DAY_MS = 86_400_000;
const LONGEST_CALM_MS = 3_600_000;

export const keyText = ({ kind, subject, threshold }: ConditionKey): string => `${kind} ${subject} ${threshold}`;

/** A condition that nothing was heard of yet. */
export function newCondition(
  key: ConditionKey,
  about: { readonly worker?: WorkerAddress | null; readonly rig?: string | null },
  atMs: number,
): ConditionState {
  return {
    ...key,
    worker: about.worker ?? null,
    rig: about.rig ?? null,
    bad: false,
    sinceMs: atMs,
    raised: false,
    dueMs: undefined,
    raisedAtMs: undefined,
    episodes: 0,
    connections: [],
    data: {},
  };
}

/**
 * Takes in what was seen. `atMs` is when it was so, `nowMs` when it is read: delays count from reading, so that what
 * happened before a restart is not told before the pool could look again.
 */
export function observe(
  state: ConditionState,
  rule: ConditionRule,
  seen: { readonly bad: boolean; readonly atMs: number; readonly data?: Readonly<Record<string, unknown>> },
  nowMs: number,
): ConditionState {
  const data = seen.data ?? state.data;
  if (seen.bad === state.bad) {
    // Of what is well and was not told nobody asks how well; and what did not change is not written again.
    const same = (!state.bad && !state.raised) || isDeepStrictEqual(data, state.data);
    return same ? state : { ...state, data };
  }
  const changed = { ...state, bad: seen.bad, sinceMs: seen.atMs, data };
  if (seen.bad === state.raised) return { ...changed, dueMs: undefined };
  return { ...changed, dueMs: nowMs + (seen.bad ? rule.raiseAfterMs : calmMs(state, rule)) };
}

/** How long it must be good before that counts: doubled with each time that it came back. */
function calmMs(state: ConditionState, rule: ConditionRule): number {
  const longest = Math.max(rule.clearAfterMs, LONGEST_CALM_MS);
  return Math.min(rule.clearAfterMs * 2 ** Math.min(20, Math.max(0, state.episodes - 1)), longest);
}

/** What is due by now becomes so, and is told. Nothing is told twice: the alert's key is of the episode. */
export function ripen(
  state: ConditionState,
  nowMs: number,
): { readonly state: ConditionState; readonly alert: Alert | undefined } {
  if (state.dueMs === undefined || state.dueMs > nowMs) return { state, alert: undefined };
  const again = state.raisedAtMs !== undefined && nowMs - state.raisedAtMs < DAY_MS;
  const next: ConditionState = state.bad
    ? { ...state, raised: true, dueMs: undefined, raisedAtMs: nowMs, episodes: again ? state.episodes + 1 : 1 }
    : { ...state, raised: false, dueMs: undefined };
  const { kind, worker, rig, threshold, sinceMs, data } = next;
  const phase = next.raised ? "raised" : "cleared";
  return {
    state: next,
    alert: {
      key: `${keyText(next)} ${next.raisedAtMs ?? nowMs} ${phase}`,
      kind,
      phase,
      worker,
      rig,
      threshold: threshold === "" ? null : threshold,
      atMs: sinceMs,
      data: { ...data, ...(next.episodes > 1 ? { timesInADay: next.episodes } : {}) },
    },
  };
}
