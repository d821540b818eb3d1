import type { WorkerAddress } from "@openpool/protocol";
import type { ConditionKey, ConditionState } from "./conditions.ts";
import type { AlertEvent, Concern, Measure } from "./rules.ts";
import type {
  Alert,
  AlertKind,
  Channel,
  ClaimedDelivery,
  Delivery,
  DeliveryState,
  Subscription,
  SubscriptionState,
} from "./types.ts";

export interface NewDelivery {
  readonly destination: string;
  readonly alert: Alert;
  /** Unix ms: not before. */
  readonly nextAtMs: number;
}

/**
 * One look at the event log, in one transaction that nobody else is in: what was read, what follows from it and how far
 * it was read become durable together or not at all.
 */
export interface AlertStep {
  /** How far the log is read, and how far it goes. */
  readonly position: bigint;
  readonly head: bigint;
  /** The next events of some types, oldest first. */
  events(types: readonly string[], limit: number): Promise<readonly AlertEvent[]>;
  conditions(keys: readonly ConditionKey[]): Promise<readonly ConditionState[]>;
  /** Those of some kinds that are good and have a connection open. */
  present(kinds: readonly AlertKind[]): Promise<readonly ConditionState[]>;
  /** Those of some kinds that are bad or were told. */
  standing(kinds: readonly AlertKind[]): Promise<readonly ConditionState[]>;
  due(nowMs: number): Promise<readonly ConditionState[]>;
  putConditions(states: readonly ConditionState[]): Promise<void>;
  /** The workers of a payout, each with what concerns it alone. */
  concerned(
    concern: Concern & { readonly of: "run" | "intent" },
  ): Promise<ReadonlyMap<WorkerAddress, Readonly<Record<string, unknown>>>>;
  /** Active subscriptions about these workers, or all. */
  subscriptions(workers: readonly WorkerAddress[] | "all"): Promise<readonly Subscription[]>;
  /** Puts deliveries into the outbox; what is there already for a destination is left out. */
  enqueue(deliveries: readonly NewDelivery[]): Promise<void>;
  moveTo(position: bigint): Promise<void>;
}

/** The memory of the alerts. */
export interface AlertStore {
  /** Undefined: another process looks at the moment. */
  step<T>(work: (step: AlertStep) => Promise<T>): Promise<T | undefined>;
  /**
   * What workers with a subscription to a measured alert, and their rigs, did since a time. Rig "" is the worker. What waits
   * for a hook is looked up for `forHooks` of them.
   */
  measures(
    workers: readonly WorkerAddress[],
    sinceMs: number,
    forHooks: readonly WorkerAddress[],
  ): Promise<readonly (Measure & { readonly worker: WorkerAddress; readonly rig: string })[]>;
  /** Active subscriptions to one of these kinds. */
  subscribed(kinds: readonly AlertKind[]): Promise<readonly Subscription[]>;
  /** Puts deliveries into the outbox that follow from no event. */
  enqueue(deliveries: readonly NewDelivery[]): Promise<void>;
  /** The key that links in messages are signed with. */
  linkKey(): Promise<string>;

  /** Takes due deliveries, up to some of each destination that is not busy; nobody else gets them until about `leaseUntilMs`. */
  claim(
    nowMs: number,
    leaseUntilMs: number,
    limit: number,
    busy: readonly string[],
  ): Promise<readonly ClaimedDelivery[]>;
  /** Gives back what was taken and not tried, for now or for a later time (unix ms). */
  putBack(deliveries: readonly ClaimedDelivery[], nextAtMs?: number): Promise<void>;
  sent(ids: readonly string[], atMs: number): Promise<void>;
  retry(ids: readonly string[], nextAtMs: number, error: string): Promise<void>;
  dead(ids: readonly string[], atMs: number, error: string): Promise<void>;
  /** Newest first. */
  deliveries(query: {
    readonly state?: DeliveryState | undefined;
    readonly limit: number;
  }): Promise<readonly Delivery[]>;
  /** Lets dead deliveries be tried again; all of them without ids. Answers how many. */
  replay(ids: readonly string[] | undefined, nowMs: number): Promise<number>;
  counts(): Promise<Readonly<Record<DeliveryState, number>>>;
  /** Forgets what was sent before a time, and subscriptions that nobody confirmed. */
  forget(sentBeforeMs: number, pendingBeforeMs: number): Promise<void>;

  /**
   * Adds one. Undefined: there is one for the same worker and target already. What a worker makes itself is apart from
   * what others made: of its own one that was not confirmed yet gives way, one that was hears from now on what the new
   * one would.
   */
  addSubscription(subscription: Subscription): Promise<Subscription | undefined>;
  subscription(id: string): Promise<Subscription | undefined>;
  /** Those that the worker made itself. */
  ownSubscriptions(worker: WorkerAddress): Promise<readonly Subscription[]>;
  /** Changes what is heard; undefined: there is none that is not over. */
  changeSubscription(
    id: string,
    change: Pick<Subscription, "kinds" | "thresholds" | "quiet">,
  ): Promise<Subscription | undefined>;
  /** One of the worker's own that is confirmed ends what others made for the same target: nothing is told twice. */
  setSubscriptionState(id: string, state: SubscriptionState, atMs: number, why: string | undefined): Promise<boolean>;
  load(channel: Channel, worker: WorkerAddress, sinceMs: number): Promise<SubscriptionLoad>;
}

/** How many subscriptions there are already. */
export interface SubscriptionLoad {
  /** That the target got since a time. */
  readonly target: number;
  /** To the worker, whoever made them. */
  readonly worker: number;
  /** That the worker made itself. */
  readonly owned: number;
  /** Of all workers, not confirmed. */
  readonly pending: number;
  readonly active: number;
}
