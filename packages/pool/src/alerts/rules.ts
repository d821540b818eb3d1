import type { WorkerAddress } from "@openpool/protocol";
import type { ConditionRule } from "./conditions.ts";
import type { Alert, AlertKind, AlertPhase, OperatorAlert } from "./types.ts";

/** What of an event the rules read. */
export interface AlertEvent {
  readonly position: bigint;
  readonly type: string;
  readonly atMs: number;
  readonly worker: WorkerAddress | undefined;
  readonly rig: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Whom an event concerns: its worker, every worker, the workers of a payout run or of a signed transaction. */
export type Concern =
  | { readonly of: "worker" }
  | { readonly of: "everybody" }
  | { readonly of: "run"; readonly run: string }
  | { readonly of: "intent"; readonly intent: string };

/** An event that is an alert by itself. New types of events are attached here and nowhere else. */
export interface EventRule {
  readonly type: string;
  readonly kind: AlertKind;
  readonly when?: (event: AlertEvent) => boolean;
  /** The workers that it is told to; undefined: none. */
  readonly workers?: (event: AlertEvent) => Concern;
  readonly operator: boolean;
  /** The facts to tell, all of them public. */
  readonly data: readonly string[];
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const ofWorker = (): Concern => ({ of: "worker" });

export const EVENT_RULES: readonly EventRule[] = [
  {
    type: "payout.planned",
    kind: "payout-planned",
    workers: (event) => ({ of: "run", run: textOf(event.data["run"]) }),
    operator: true,
    data: ["run", "totalWei", "lines", "waiting", "approvalReason"],
  },
  {
    type: "payout.signed",
    kind: "payout-sent",
    workers: (event) => ({ of: "intent", intent: textOf(event.data["intent"]) }),
    operator: false,
    data: ["run", "hash"],
  },
  {
    type: "payout.paid",
    kind: "payout-paid",
    workers: ofWorker,
    operator: false,
    data: ["run", "amountWei", "sendAmount", "asset", "payTo", "hash"],
  },
  {
    type: "payout.found",
    kind: "payout-paid",
    workers: ofWorker,
    operator: false,
    data: ["amountWei", "sendAmount", "asset", "payTo", "hash"],
  },
  {
    type: "payout.returned",
    kind: "payout-failed",
    workers: ofWorker,
    operator: true,
    data: ["run", "amountWei", "payTo"],
  },
  {
    type: "terms.announced",
    kind: "terms-changed",
    workers: () => ({ of: "everybody" }),
    operator: true,
    data: ["version", "effectiveAt"],
  },
  {
    type: "payto.requested",
    kind: "address-change",
    workers: ofWorker,
    operator: false,
    data: ["payTo", "paidTo", "thresholdWei", "effectiveAtMs"],
  },
  {
    type: "payto.changed",
    kind: "address-change",
    workers: ofWorker,
    operator: false,
    data: ["payTo", "thresholdWei"],
  },
  { type: "payto.cancelled", kind: "address-change", workers: ofWorker, operator: false, data: [] },
  {
    type: "rig.standing",
    kind: "standing",
    when: (event) => ["probation", "barred", "trusted"].includes(textOf(event.data["standing"])),
    workers: ofWorker,
    operator: false,
    data: ["standing"],
  },
  // What the operator said of it is not told.
  { type: "payout.held", kind: "credit-held", workers: ofWorker, operator: false, data: [] },
  { type: "payout.released", kind: "credit-held", workers: ofWorker, operator: false, data: [] },
  {
    type: "worker.changed",
    kind: "credit-held",
    when: (event) => textOf(event.data["banned"]) !== "",
    workers: ofWorker,
    operator: false,
    // Why it is banned stands on its page.
    data: ["banned"],
  },
  { type: "log.resumed", kind: "log-stuck", operator: true, data: ["reason", "since"] },
];

/** Something that comes and goes by events, as a rig's connections do. */
export interface PresenceRule extends ConditionRule {
  readonly up: string;
  readonly down: string;
  readonly subject: (event: AlertEvent) => string;
  /** Of several ways to be there, which one; the condition is bad when none is left. */
  readonly connection: (event: AlertEvent) => string;
  /** A way that began before its process said that it had started; undefined: there is none. */
  readonly survives?: (connection: string, restart: AlertEvent) => boolean;
  /** It is away because the operator wants it to be: nobody misses it. */
  readonly dismissed?: (event: AlertEvent) => boolean;
}

const generationOf = (event: AlertEvent): string => String(event.data["generation"] ?? "");

const MINUTE_MS = 60_000;

export const PRESENCE_RULES: readonly PresenceRule[] = [
  {
    kind: "rig-offline",
    up: "rig.joined",
    down: "rig.left",
    subject: (event) => (event.worker === undefined || event.rig === undefined ? "" : `${event.worker}.${event.rig}`),
    connection: (event) => String(event.data["connection"] ?? ""),
    raiseAfterMs: 5 * MINUTE_MS,
    clearAfterMs: 2 * MINUTE_MS,
  },
  {
    kind: "upstream-lost",
    up: "upstream.joined",
    down: "upstream.left",
    subject: (event) => textOf(event.data["upstream"]),
    // In a restart the new process registers before the old one leaves.
    connection: generationOf,
    survives: (connection, restart) => connection === generationOf(restart),
    dismissed: (event) => event.data["drained"] === true,
    raiseAfterMs: 2 * MINUTE_MS,
    clearAfterMs: 2 * MINUTE_MS,
  },
];

/** After this event everything that was there is gone or on its way back: its process died or hands over. */
export const RESTART_EVENT = "pool.started";

export type MeasuredKind = "no-work" | "success-low" | "speed-low" | "credit-held";

/** Something that is looked at from time to time, for those who want to know: a worker's matter, or each rig's. */
export interface MeasuredRule extends ConditionRule {
  readonly kind: MeasuredKind;
  readonly of: "worker" | "rig";
}

export const MEASURED_RULES: readonly MeasuredRule[] = [
  { kind: "no-work", of: "worker", raiseAfterMs: 0, clearAfterMs: 0 },
  { kind: "success-low", of: "rig", raiseAfterMs: 5 * MINUTE_MS, clearAfterMs: 10 * MINUTE_MS },
  { kind: "speed-low", of: "rig", raiseAfterMs: 5 * MINUTE_MS, clearAfterMs: 10 * MINUTE_MS },
  // By the pool's hook; what the operator holds back is told by its events.
  { kind: "credit-held", of: "worker", raiseAfterMs: 0, clearAfterMs: MINUTE_MS },
];

export interface WatchedRule extends ConditionRule {
  readonly kind: OperatorAlert;
  /** Of some subjects, instead of `raiseAfterMs`. */
  readonly raiseAfterMsOf?: Readonly<Record<string, number>>;
}

/** What the running pool says of itself when asked. */
export const WATCHED_RULES: readonly WatchedRule[] = [
  { kind: "halt", raiseAfterMs: 0, clearAfterMs: MINUTE_MS },
  {
    kind: "solvency",
    raiseAfterMs: 0,
    // Its parts are looked at every five minutes: what moves from one to another is missing in both meanwhile.
    raiseAfterMsOf: { "reserve-negative": 6 * MINUTE_MS },
    clearAfterMs: 10 * MINUTE_MS,
  },
  { kind: "low-float", raiseAfterMs: 10 * MINUTE_MS, clearAfterMs: 10 * MINUTE_MS },
  { kind: "no-workers", raiseAfterMs: 5 * MINUTE_MS, clearAfterMs: 2 * MINUTE_MS },
];

/** Every type of event that any rule reads. */
export const ALERT_EVENT_TYPES: readonly string[] = [
  ...new Set([
    RESTART_EVENT,
    ...EVENT_RULES.map((rule) => rule.type),
    ...PRESENCE_RULES.flatMap((rule) => [rule.up, rule.down]),
  ]),
];

/** Fewer attempts than these in an hour say nothing about success or speed. */
export const MIN_ATTEMPTS = 20;
/** Good again needs a little more than not bad: percent points of success, a tenth of the speed. */
const SUCCESS_MARGIN = 2;
const SPEED_MARGIN = 1.1;

/** What a rig or a worker did in the last hour. */
export interface Measure {
  readonly jobs: number;
  readonly failedAttempts: number;
  readonly sourceMs: number;
  readonly workMs: number;
  /** Unix ms of the last credited segment, as far as it is known. */
  readonly lastJobAtMs: number | undefined;
  /** Segments whose fee waits because the pool's hook failed, and what they come to; undefined: not known now. */
  readonly waiting: { readonly jobs: number; readonly feeWei: bigint } | undefined;
}

/**
 * Whether a measured condition is bad; undefined: there is too little to tell, so it stays as it was. `raised`: it was
 * bad until now. `sinceMs`: since when somebody wants to know; nobody is told of an idleness from before.
 */
export function judge(
  kind: MeasuredKind,
  threshold: number,
  measure: Measure,
  raised: boolean,
  nowMs: number,
  sinceMs: number,
): { readonly bad: boolean; readonly data: Readonly<Record<string, unknown>> } | undefined {
  const { jobs, failedAttempts, sourceMs, workMs, lastJobAtMs, waiting } = measure;
  switch (kind) {
    case "no-work": {
      const idleMs = nowMs - Math.max(lastJobAtMs ?? 0, sinceMs);
      const data = { lastJobAt: lastJobAtMs === undefined ? null : new Date(lastJobAtMs).toISOString() };
      return { bad: idleMs >= threshold * 3_600_000, data };
    }
    case "success-low": {
      if (jobs + failedAttempts < MIN_ATTEMPTS) return undefined;
      const percent = (100 * jobs) / (jobs + failedAttempts);
      const bad = percent < threshold + (raised ? Math.min(SUCCESS_MARGIN, (100 - threshold) / 2) : 0);
      return { bad, data: { successPercent: Math.floor(percent * 10) / 10, jobs, failedAttempts } };
    }
    case "speed-low": {
      if (jobs < MIN_ATTEMPTS || workMs <= 0) return undefined;
      const ratio = sourceMs / workMs;
      return {
        bad: ratio < threshold * (raised ? SPEED_MARGIN : 1),
        data: { realTimeRatio: Math.floor(ratio * 100) / 100, jobs },
      };
    }
    case "credit-held":
      return waiting && { bad: waiting.jobs > 0, data: { segments: waiting.jobs, feeWei: waiting.feeWei.toString() } };
  }
}

/** The alert that an event is, without whom it concerns. */
export function alertOf(rule: EventRule, event: AlertEvent): Omit<Alert, "worker"> {
  const data = Object.fromEntries(rule.data.flatMap((name) => (name in event.data ? [[name, event.data[name]]] : [])));
  return {
    key: `${rule.kind} ${event.position}`,
    kind: rule.kind,
    phase: "event",
    rig: event.rig ?? null,
    threshold: null,
    atMs: event.atMs,
    data: { event: event.type, ...data },
  };
}

/** Alerts that come in quiet hours too. */
export function isUrgent({ kind, phase }: { readonly kind: AlertKind; readonly phase: AlertPhase }): boolean {
  if (phase === "cleared") return false;
  return ["address-change", "halt", "solvency", "log-stuck", "confirm", "test"].includes(kind);
}
