import { type Clock, errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import {
  type ConditionKey,
  type ConditionRule,
  type ConditionState,
  keyText,
  newCondition,
  observe,
  ripen,
} from "./conditions.ts";
import type { AlertStep, AlertStore, NewDelivery } from "./ports.ts";
import { afterQuietHours } from "./quiet-hours.ts";
import {
  ALERT_EVENT_TYPES,
  type AlertEvent,
  alertOf,
  EVENT_RULES,
  isUrgent,
  judge,
  MEASURED_RULES,
  type MeasuredKind,
  type MeasuredRule,
  PRESENCE_RULES,
  type PresenceRule,
  RESTART_EVENT,
  WATCHED_RULES,
} from "./rules.ts";
import type { Alert, AlertKind, OperatorAlert, OperatorChannel, Subscription } from "./types.ts";

/** What the running pool finds wrong with itself at this moment. */
export interface WatchedProblem {
  readonly kind: OperatorAlert;
  /** Several of a kind at once have different subjects. */
  readonly subject?: string;
  /** `message`, and what else there is; for the operator's eyes only. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** What was found, and of what nothing can be said now: that stays as it was. */
export interface Watched {
  readonly problems: readonly WatchedProblem[];
  readonly unknown: readonly Required<Pick<WatchedProblem, "kind" | "subject">>[];
}

export interface AlertReaderDeps {
  readonly store: AlertStore;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly operatorChannels: readonly OperatorChannel[];
  /** Undefined: it could not be found out now, so nothing changes. */
  readonly watch?: (() => Promise<Watched | undefined>) | undefined;
  /** A last look before somebody is told that a rig is offline. */
  readonly isOnline?: ((worker: WorkerAddress, rig: string) => boolean) | undefined;
  /** Something is to be sent. */
  readonly onNews: () => void;
}

const LOOK_EVERY_MS = 2_000;
const MEASURE_EVERY_MS = 60_000;
const MEASURED_HOUR_MS = 3_600_000;
const EVENTS_A_STEP = 500;

/**
 * Reads the event log from where it was read last, and puts what follows from it into the outbox. Cursor, conditions and
 * outbox change in one transaction: a process that dies loses nothing and tells nothing twice.
 */
export class AlertReader implements AsyncDisposable {
  readonly #deps: AlertReaderDeps;
  #cancel = (): void => {};
  #closed = false;
  #looking: Promise<void> | undefined;
  #measuredAtMs: number | undefined;
  #failing = false;

  constructor(deps: AlertReaderDeps) {
    this.#deps = deps;
    this.#soon();
  }

  #soon(): void {
    if (this.#closed) return;
    this.#cancel = this.#deps.clock.after(LOOK_EVERY_MS, () => void this.look().then(() => this.#soon()));
  }

  /** Looks now, to the end of the log. Never throws: what failed is tried again with the next look. */
  look(): Promise<void> {
    return (this.#looking ??= this.#look().finally(() => (this.#looking = undefined)));
  }

  async #look(): Promise<void> {
    const { clock, logger } = this.#deps;
    try {
      const nowMs = clock.monotonicMs();
      const measure = this.#measuredAtMs === undefined || nowMs - this.#measuredAtMs >= MEASURE_EVERY_MS;
      const observed = measure ? await this.#observations() : NOTHING;
      let more = true;
      for (let first = true; more && !this.#closed; first = false) {
        const done = await this.#deps.store.step((step) => this.#step(step, first ? observed : NOTHING));
        more = done?.more ?? false;
        if (done?.news) this.#deps.onNews();
      }
      if (measure) this.#measuredAtMs = nowMs;
      if (this.#failing) logger.info("alerts are read from the log again");
      this.#failing = false;
    } catch (error) {
      if (this.#closed) return;
      if (!this.#failing) {
        logger.warn("the log cannot be read for alerts now; trying again", { error: errorText(error) });
      }
      this.#failing = true;
    }
  }

  /** Whether there is more to read, and something to send. */
  async #step(
    step: AlertStep,
    { found, watched, measured }: Observations,
  ): Promise<{ readonly more: boolean; readonly news: boolean }> {
    const { clock } = this.#deps;
    const nowMs = clock.now();
    const events = await step.events(ALERT_EVENT_TYPES, EVENTS_A_STEP);
    const states = new Map<string, ConditionState>();
    const changed = new Set<string>();
    const take = (some: readonly ConditionState[]): void => {
      for (const state of some) if (!states.has(keyText(state))) states.set(keyText(state), state);
    };
    const put = (state: ConditionState): void => {
      const key = keyText(state);
      if (states.get(key) === state) return;
      states.set(key, state);
      changed.add(key);
    };

    const keys = [...events.flatMap(presenceKeys), ...found.map((one) => one.key)];
    if (keys.length > 0) take(await step.conditions(keys));
    const kinds = PRESENCE_RULES.map((rule) => rule.kind);
    if (events.some((event) => event.type === RESTART_EVENT)) take(await step.present(kinds));
    take(await step.due(nowMs));
    if (measured) {
      // Nobody listens to these any more: whoever does again is told anew, and not that something old is over.
      for (const state of await step.standing(MEASURED_RULES.map((rule) => rule.kind))) {
        take([state]);
        if (!measured.has(keyText(state))) put(newCondition(state, state, nowMs));
      }
    }
    if (watched) take(await step.standing(WATCHED_RULES.map((rule) => rule.kind)));

    const alerts: { readonly alert: Alert; readonly operator: boolean }[] = [];
    for (const event of events) {
      for (const rule of PRESENCE_RULES) {
        for (const state of presence(rule, event, states, nowMs)) put(state);
      }
      alerts.push(...(await alertsOf(event, step)));
    }
    for (const { key, rule, bad, data, worker, rig } of found) {
      const before = states.get(keyText(key)) ?? newCondition(key, { worker, rig }, nowMs);
      put(observe(before, rule, { bad, atMs: nowMs, data }, nowMs));
    }
    if (watched) {
      const still = new Set([...found.map((one) => keyText(one.key)), ...watched.unknown.map(watchedKeyText)]);
      for (const rule of WATCHED_RULES) {
        for (const state of states.values()) {
          if (state.kind === rule.kind && !still.has(keyText(state))) {
            put(observe(state, rule, { bad: false, atMs: nowMs }, nowMs));
          }
        }
      }
    }
    const operatorKinds: readonly AlertKind[] = [...WATCHED_RULES.map((rule) => rule.kind), "upstream-lost"];
    for (const state of states.values()) {
      const { state: next, alert } = ripen(this.#doubleChecked(state, nowMs), nowMs);
      put(next);
      if (alert) alerts.push({ alert, operator: operatorKinds.includes(alert.kind) });
    }
    await step.putConditions([...changed].flatMap((key) => states.get(key) ?? []));
    const deliveries = await this.#address(alerts, step, nowMs);
    await step.enqueue(deliveries);
    const full = events.length === EVENTS_A_STEP;
    await step.moveTo(full ? (events.at(-1)?.position ?? step.head) : step.head);
    return { more: full, news: deliveries.length > 0 };
  }

  /** Events may be missing where one address opens connections by the hundred: the pool itself knows who is there. */
  #doubleChecked(state: ConditionState, nowMs: number): ConditionState {
    const { isOnline } = this.#deps;
    if (state.kind !== "rig-offline" || !state.bad || state.dueMs === undefined || state.dueMs > nowMs) return state;
    if (state.worker === null || state.rig === null || !isOnline?.(state.worker, state.rig)) return state;
    return { ...state, bad: false, sinceMs: nowMs, dueMs: undefined };
  }

  async #address(
    alerts: readonly { readonly alert: Alert; readonly operator: boolean }[],
    step: AlertStep,
    nowMs: number,
  ): Promise<readonly NewDelivery[]> {
    if (alerts.length === 0) return [];
    const workers = new Set(alerts.flatMap(({ alert }) => alert.worker ?? []));
    const everybody = alerts.some(({ alert }) => alert.worker === null && alert.kind === "terms-changed");
    const subscriptions = await step.subscriptions(everybody ? "all" : [...workers]);
    return alerts.flatMap(({ alert, operator }) => [
      ...subscriptions
        .filter((one) => wants(one, alert))
        .map((one) => ({
          destination: `subscription:${one.id}`,
          // Of the whole pool, told to this one.
          alert: alert.worker === null ? { ...alert, worker: one.worker } : alert,
          nextAtMs: isUrgent(alert) ? nowMs : afterQuietHours(one.quiet, nowMs),
        })),
      ...(operator ? this.#deps.operatorChannels : [])
        .filter((one) => (one.kinds as readonly AlertKind[]).includes(alert.kind))
        .map((one) => ({
          destination: `operator:${one.name}`,
          alert,
          nextAtMs: isUrgent(alert) ? nowMs : afterQuietHours(one.quiet, nowMs),
        })),
    ]);
  }

  /** What is measured and what is watched, now. */
  async #observations(): Promise<Observations> {
    const { store, clock, watch } = this.#deps;
    const nowMs = clock.now();
    const found: Observation[] = [];
    const subscriptions = await store.subscribed(MEASURED_RULES.map((rule) => rule.kind));
    const measured = new Set<string>();
    if (subscriptions.length > 0) found.push(...(await this.#measure(subscriptions, measured, nowMs)));
    const watched = await watch?.();
    for (const { kind, subject = "", data } of watched?.problems ?? []) {
      const rule = WATCHED_RULES.find((one) => one.kind === kind);
      if (!rule) continue;
      const raiseAfterMs = rule.raiseAfterMsOf?.[subject] ?? rule.raiseAfterMs;
      const key = { kind, subject, threshold: "" };
      found.push({ key, rule: { ...rule, raiseAfterMs }, bad: true, data, worker: null, rig: null });
    }
    return { found, watched, measured };
  }

  /** Adds the keys of what somebody listens to to `measured`. */
  async #measure(
    subscriptions: readonly Subscription[],
    measured: Set<string>,
    nowMs: number,
  ): Promise<readonly Observation[]> {
    const { store } = this.#deps;
    const workersOf = (some: readonly Subscription[]) => [...new Set(some.map((one) => one.worker))];
    const forHooks = subscriptions.filter(({ kinds }) => kinds.includes("credit-held"));
    const measures = await store.measures(workersOf(subscriptions), nowMs - MEASURED_HOUR_MS, workersOf(forHooks));
    const wanted = new Map<
      string,
      { key: ConditionKey; rule: MeasuredRule; measure: (typeof measures)[number]; sinceMs: number }
    >();
    for (const subscription of subscriptions) {
      for (const rule of MEASURED_RULES) {
        if (!subscription.kinds.includes(rule.kind)) continue;
        const threshold = thresholdOf(subscription, rule.kind);
        for (const measure of measures) {
          if (measure.worker !== subscription.worker) continue;
          if ((rule.of === "worker") !== (measure.rig === "")) continue;
          const subject = measure.rig === "" ? measure.worker : `${measure.worker}.${measure.rig}`;
          const key = { kind: rule.kind, subject, threshold };
          const before = wanted.get(keyText(key));
          const sinceMs = Math.min(before?.sinceMs ?? Infinity, subscription.createdAtMs);
          wanted.set(keyText(key), { key, rule, measure, sinceMs });
        }
      }
    }
    for (const key of wanted.keys()) measured.add(key);
    const states = new Map<string, ConditionState>();
    await store.step(async (step) => {
      for (const state of await step.conditions([...wanted.values()].map((one) => one.key)))
        states.set(keyText(state), state);
    });
    const found: Observation[] = [];
    for (const { key, rule, measure, sinceMs } of wanted.values()) {
      const raised = states.get(keyText(key))?.raised ?? false;
      const verdict = judge(rule.kind, Number(key.threshold), measure, raised, nowMs, sinceMs);
      if (!verdict) continue;
      const rig = measure.rig === "" ? null : measure.rig;
      found.push({ key, rule, ...verdict, worker: measure.worker, rig });
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#looking;
  }
}

interface Observations {
  readonly found: readonly Observation[];
  /** What the pool says is wrong with it: what is not named any more is well. Undefined: it was not asked, or cannot say. */
  readonly watched: Watched | undefined;
  /** Keys of the measured conditions that somebody listens to; undefined: nothing was measured. */
  readonly measured: ReadonlySet<string> | undefined;
}
const NOTHING: Observations = { found: [], watched: undefined, measured: undefined };

const watchedKeyText = ({ kind, subject }: Watched["unknown"][number]): string =>
  keyText({ kind, subject, threshold: "" });

interface Observation {
  readonly key: ConditionKey;
  readonly rule: ConditionRule;
  readonly bad: boolean;
  readonly data: Readonly<Record<string, unknown>>;
  readonly worker: WorkerAddress | null;
  readonly rig: string | null;
}

/** The threshold of a subscription as text: part of what the condition is about. */
function thresholdOf({ thresholds }: Subscription, kind: MeasuredKind): string {
  switch (kind) {
    case "no-work":
      return String(thresholds.noWorkHours);
    case "success-low":
      return String(thresholds.successPercent);
    case "speed-low":
      return String(thresholds.realTimeRatio);
    case "credit-held":
      return "";
  }
}

function wants(subscription: Subscription, alert: Alert): boolean {
  if (alert.worker !== null && alert.worker !== subscription.worker) return false;
  if (alert.worker === null && alert.kind !== "terms-changed") return false;
  if (!(subscription.kinds as readonly AlertKind[]).includes(alert.kind)) return false;
  const measured = MEASURED_RULES.find((rule) => rule.kind === alert.kind);
  return !measured || thresholdOf(subscription, measured.kind) === (alert.threshold ?? "");
}

function presenceKeys(event: AlertEvent): ConditionKey[] {
  return PRESENCE_RULES.flatMap((rule) => {
    const subject = event.type === rule.up || event.type === rule.down ? rule.subject(event) : "";
    return subject === "" ? [] : [{ kind: rule.kind, subject, threshold: "" }];
  });
}

/** What a presence becomes by an event. */
function presence(
  rule: PresenceRule,
  event: AlertEvent,
  states: ReadonlyMap<string, ConditionState>,
  nowMs: number,
): readonly ConditionState[] {
  const { atMs } = event;
  if (event.type === RESTART_EVENT) {
    return [...states.values()]
      .filter((state) => state.kind === rule.kind)
      .map((state) => {
        // What was lost while no process could look has its time to come back.
        if (state.bad) return state.dueMs === undefined ? state : { ...state, dueMs: nowMs + rule.raiseAfterMs };
        const connections = state.connections.filter((one) => rule.survives?.(one, event));
        return observe({ ...state, connections }, rule, { bad: connections.length === 0, atMs }, nowMs);
      });
  }
  if (event.type !== rule.up && event.type !== rule.down) return [];
  const subject = rule.subject(event);
  if (subject === "") return [];
  const key = { kind: rule.kind, subject, threshold: "" };
  const before =
    states.get(keyText(key)) ?? newCondition(key, { worker: event.worker ?? null, rig: event.rig ?? null }, atMs);
  if (rule.dismissed?.(event)) return [newCondition(key, before, atMs)];
  const connection = rule.connection(event);
  const others = before.connections.filter((one) => one !== connection);
  const connections = event.type === rule.up ? [...others, connection].slice(-MOST_CONNECTIONS) : others;
  const upstream = event.data["upstream"];
  const data = upstream === undefined ? {} : { upstream };
  return [observe({ ...before, connections }, rule, { bad: connections.length === 0, atMs, data }, nowMs)];
}
const MOST_CONNECTIONS = 100;

/** The alerts that an event is by itself, one for each whom it concerns. */
async function alertsOf(
  event: AlertEvent,
  step: AlertStep,
): Promise<readonly { readonly alert: Alert; readonly operator: boolean }[]> {
  const found: { alert: Alert; operator: boolean }[] = [];
  for (const rule of EVENT_RULES) {
    if (rule.type !== event.type || rule.when?.(event) === false) continue;
    const base = alertOf(rule, event);
    const concern = rule.workers?.(event);
    if (concern?.of === "run" || concern?.of === "intent") {
      for (const [worker, data] of await step.concerned(concern)) {
        found.push({ alert: { ...base, worker, data: { ...base.data, ...data } }, operator: false });
      }
      if (rule.operator) found.push({ alert: { ...base, worker: null }, operator: true });
    } else {
      const worker = concern?.of === "worker" ? (event.worker ?? null) : null;
      found.push({ alert: { ...base, worker }, operator: rule.operator });
    }
  }
  return found;
}
