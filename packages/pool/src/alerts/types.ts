import type { WorkerAddress, WorkerAlert } from "@openpool/protocol";

export type { WorkerAlert };

/** What is told to the operator, over channels of the pool's own settings. */
export const OPERATOR_ALERTS = [
  "halt",
  "solvency",
  "low-float",
  "no-workers",
  "upstream-lost",
  "log-stuck",
  "payout-planned",
  "payout-failed",
  "terms-changed",
] as const;
export type OperatorAlert = (typeof OPERATOR_ALERTS)[number];
export type AlertKind = WorkerAlert | OperatorAlert | "test" | "confirm";

/** Something happened (`event`), or something is so from now on (`raised`) and later no more (`cleared`). */
export type AlertPhase = "event" | "raised" | "cleared";

/** One thing worth telling. Plain JSON: it waits in the outbox. */
export interface Alert {
  /** Unique for ever: what makes it impossible to tell it to one destination twice. */
  readonly key: string;
  readonly kind: AlertKind;
  readonly phase: AlertPhase;
  /** Whom it is about; null: the whole pool. */
  readonly worker: WorkerAddress | null;
  readonly rig: string | null;
  /** Of measured alerts: the threshold that was passed, as its subscriber gave it. */
  readonly threshold: string | null;
  /** Unix ms, when it happened or became so. */
  readonly atMs: number;
  /** The facts, public: amounts as decimal strings. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** From when to when nothing is to be heard, in wall time of a zone. Urgent alerts come anyway. */
export interface QuietHours {
  /** `HH:MM` */
  readonly from: string;
  readonly to: string;
  readonly timeZone: string;
}

/** Where messages go. */
export type Channel =
  | { readonly kind: "email"; readonly to: string }
  | { readonly kind: "discord"; readonly url: string }
  | { readonly kind: "telegram"; readonly chat: string }
  | { readonly kind: "ntfy"; readonly url: string; readonly token?: string | undefined }
  | {
      readonly kind: "webhook";
      readonly url: string;
      /** `whsec_` and base64, as the Standard Webhooks scheme has it. */
      readonly secret: string;
    };
export type ChannelKind = Channel["kind"];

/** When measured alerts are raised. */
export interface Thresholds {
  /** Hours without a credited segment. */
  readonly noWorkHours: number;
  /** Share of attempts of the last hour with a valid result, in percent. */
  readonly successPercent: number;
  /** Seconds of video per second of work in the last hour. */
  readonly realTimeRatio: number;
}
export const defaultThresholds: Thresholds = { noWorkHours: 6, successPercent: 90, realTimeRatio: 1 };

/** What a subscriber says of them: any may be left out. */
export type GivenThresholds = { readonly [Name in keyof Thresholds]?: Thresholds[Name] | undefined };

/** The thresholds of before, with those that were given. */
export function withThresholds(before: Thresholds, given: GivenThresholds | undefined): Thresholds {
  return {
    noWorkHours: given?.noWorkHours ?? before.noWorkHours,
    successPercent: given?.successPercent ?? before.successPercent,
    realTimeRatio: given?.realTimeRatio ?? before.realTimeRatio,
  };
}

/**
 * ```
 * pending ─confirmed→ active ─unsubscribed, or its address is gone→ ended
 *    └─never confirmed→ deleted
 * ```
 */
export type SubscriptionState = "pending" | "active" | "ended";

/** Who wants to hear what about a worker. */
export interface Subscription {
  readonly id: string;
  readonly worker: WorkerAddress;
  readonly channel: Channel;
  readonly kinds: readonly WorkerAlert[];
  readonly thresholds: Thresholds;
  readonly quiet: QuietHours | undefined;
  readonly state: SubscriptionState;
  /** The worker made it itself, signed in; only those are shown to it. */
  readonly owned: boolean;
  readonly createdAtMs: number;
}

/** A channel of the operator's own, from the settings. */
export interface OperatorChannel {
  /** Stays the same while its target does. */
  readonly name: string;
  readonly channel: Channel;
  readonly kinds: readonly OperatorAlert[];
  readonly quiet: QuietHours | undefined;
}

/** Whether a delivery waits, was taken by the other side, or was given up. */
export type DeliveryState = "waiting" | "sent" | "dead";

/** One alert on its way to one destination. */
export interface Delivery {
  /** UUIDv7: also the id that receivers know the message by. */
  readonly id: string;
  /** `subscription:<id>` or `operator:<name>`. */
  readonly destination: string;
  readonly alert: Alert;
  readonly state: DeliveryState;
  /** Tries so far. */
  readonly attempts: number;
  readonly nextAtMs: number;
  readonly createdAtMs: number;
  readonly sentAtMs: number | undefined;
  readonly error: string | undefined;
}

/** One that was taken from the outbox to be sent. */
export interface ClaimedDelivery extends Delivery {
  /** Whoever took it before was cut off, and nobody knows whether it arrived: until when it was theirs, unix ms. */
  readonly cutOffAtMs: number | undefined;
  /** Until when it is ours, unix ms; another one in each message to a destination. */
  readonly leaseUntilMs: number;
}
