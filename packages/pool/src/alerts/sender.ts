import { type Clock, errorText, type Logger } from "@openpool/base";
import type { Deliver } from "./deliver.ts";
import { linkToken } from "./links.ts";
import { composeMessage, type MessageContext } from "./message.ts";
import type { AlertStore } from "./ports.ts";
import { afterQuietHours } from "./quiet-hours.ts";
import { isUrgent } from "./rules.ts";
import { messagesOf } from "./together.ts";
import type { Alert, Channel, ClaimedDelivery, Delivery, OperatorChannel, QuietHours, Subscription } from "./types.ts";

export interface AlertSenderDeps {
  readonly store: AlertStore;
  readonly deliver: Deliver;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly context: MessageContext;
  readonly operatorChannels: readonly OperatorChannel[];
  readonly linkKey: string;
  readonly random?: () => number;
}

const LOOK_EVERY_MS = 5_000;
/** Longer than any try takes: after it another process may take over what a killed one held. */
const LEASE_MS = 120_000;
const MOST_AT_ONCE = 100;
/** For one destination at a time, well within the lease with the last try of it; the rest comes with a later round. */
const ROUND_MS = 45_000;
const PATIENCE_MS = 3_000;
/** How long tries under way are waited for at the end. */
const FINISH_MS = 5_000;
/** Where there is no page for the link that ends a subscription, it is looked again after this, and given up in the end. */
const NO_LINK_WAIT_MS = 600_000;
const NO_LINK_LIFE_MS = 2 * 86_400_000;
const MINUTE_MS = 60_000;
const KEPT_MS = 30 * 86_400_000;
const PENDING_KEPT_MS = 2 * 86_400_000;
const FORGET_EVERY_MS = 3_600_000;

/** Waits between tries, in seconds; after the last one a delivery is given up. Ten tries over two days. */
const WAITS_S = [10, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 86_400];

/** When the next try is due, in milliseconds from now; undefined: that was the last. */
export function retryDelayMs(attempts: number, retryAfterMs: number | undefined, random: number): number | undefined {
  const wait = WAITS_S[attempts];
  if (wait === undefined) return undefined;
  return Math.max(retryAfterMs ?? 0, wait * 1_000 * (0.9 + 0.2 * random));
}

interface Target {
  readonly channel: Channel;
  readonly quiet: QuietHours | undefined;
  /** Undefined: it is the operator's. */
  readonly subscription: Subscription | undefined;
}

/** Takes what is due from the outbox and sends it; what fails comes again later, or is put aside as dead. */
export class AlertSender implements AsyncDisposable {
  readonly #deps: AlertSenderDeps;
  readonly #closing = new AbortController();
  readonly #cut = new AbortController();
  #cancel = (): void => {};
  #sending: Promise<void> | undefined;
  #again = false;
  /** Destinations that something is being sent to. */
  readonly #busy = new Map<string, Promise<void>>();
  #forgotAtMs = -Infinity;
  #failing = false;
  #saidNoLinks = false;

  constructor(deps: AlertSenderDeps) {
    this.#deps = deps;
    this.#soon();
  }

  #soon(): void {
    if (this.#closing.signal.aborted) return;
    this.#cancel = this.#deps.clock.after(LOOK_EVERY_MS, () => void this.send().then(() => this.#soon()));
  }

  /** Sends what is due now. Never throws. */
  send(): Promise<void> {
    if (this.#sending) {
      this.#again = true;
      return this.#sending;
    }
    return (this.#sending = this.#send().finally(() => (this.#sending = undefined)));
  }

  async #send(): Promise<void> {
    const { store, clock, logger } = this.#deps;
    try {
      do {
        this.#again = false;
        const nowMs = clock.now();
        const busy = [...this.#busy.keys()];
        if (busy.length >= MOST_AT_ONCE) break;
        const due = await store.claim(nowMs, nowMs + LEASE_MS, MOST_AT_ONCE - busy.length, busy);
        const groups = new Map<string, ClaimedDelivery[]>();
        for (const one of due) groups.set(one.destination, [...(groups.get(one.destination) ?? []), one]);
        const tries = [...groups].map(([destination, deliveries]) => this.#start(destination, deliveries));
        await this.#soonOver(Promise.all(tries));
        // Whoever has more waiting gets the rest in the next round.
        if (due.length > 0) this.#again = true;
      } while (this.#again && !this.#closing.signal.aborted);
      if (clock.monotonicMs() - this.#forgotAtMs >= FORGET_EVERY_MS) {
        this.#forgotAtMs = clock.monotonicMs();
        await store.forget(clock.now() - KEPT_MS, clock.now() - PENDING_KEPT_MS);
      }
      this.#failing = false;
    } catch (error) {
      if (!this.#failing && !this.#closing.signal.aborted) {
        logger.warn("alerts cannot be sent now; trying again", { error: errorText(error) });
      }
      this.#failing = true;
    }
  }

  /** Begins with a destination. What fails is not of the destination but of the database, and comes again after the lease. */
  #start(destination: string, deliveries: readonly ClaimedDelivery[]): Promise<void> {
    const over = this.#toDestination(destination, deliveries)
      .catch((error: unknown) => this.#deps.logger.debug("deliveries were left", { error: errorText(error) }))
      .finally(() => this.#busy.delete(destination));
    this.#busy.set(destination, over);
    return over;
  }

  /** A destination that is slow keeps nobody else waiting: it goes on by itself. */
  async #soonOver(tries: Promise<unknown>): Promise<void> {
    let cancel = (): void => {};
    await Promise.race([
      tries,
      new Promise<void>((resolve) => (cancel = this.#deps.clock.after(PATIENCE_MS, resolve))),
    ]);
    cancel();
  }

  async #toDestination(destination: string, deliveries: readonly ClaimedDelivery[]): Promise<void> {
    const { store, clock } = this.#deps;
    const untilMs = clock.monotonicMs() + ROUND_MS;
    const ids = deliveries.map((one) => one.id);
    const target = await this.#target(destination, deliveries);
    if (target === undefined) return store.dead(ids, clock.now(), "nobody is there any more to tell");
    const messages = messagesOf(target.channel, deliveries);
    if (target.subscription && this.#deps.context.publicUrl === undefined) return this.#withoutLinks(messages);
    for (const [i, together] of messages.entries()) {
      if (this.#closing.signal.aborted || clock.monotonicMs() > untilMs) {
        return store.putBack(messages.slice(i).flat());
      }
      await this.#try(target, together);
    }
  }

  /** A message that nobody can end is not sent: it waits for the pool to have pages again. */
  async #withoutLinks(messages: readonly (readonly ClaimedDelivery[])[]): Promise<void> {
    const { store, clock, logger } = this.#deps;
    if (!this.#saidNoLinks) {
      this.#saidNoLinks = true;
      logger.warn(
        "subscribers are told nothing: without --public-url no message has a link that ends its subscription",
      );
    }
    const nowMs = clock.now();
    for (const [i, together] of messages.entries()) {
      const old = together.filter((one) => one.createdAtMs < nowMs - NO_LINK_LIFE_MS);
      const ids = old.map((one) => one.id);
      await store.dead(ids, nowMs, "the pool has no --public-url: nobody could end the subscription");
      const later = together.filter((one) => !old.includes(one));
      await store.putBack(later, nowMs + NO_LINK_WAIT_MS + i);
    }
  }

  async #target(destination: string, deliveries: readonly Delivery[]): Promise<Target | undefined> {
    const { store, operatorChannels } = this.#deps;
    const [, kind, name = ""] = /^(operator|subscription):(.*)$/.exec(destination) ?? [];
    if (kind === "operator") {
      const own = operatorChannels.find((one) => one.name === name);
      return own && { channel: own.channel, quiet: own.quiet, subscription: undefined };
    }
    const subscription = await store.subscription(name);
    if (!subscription || subscription.state === "ended") return undefined;
    const asks = deliveries.every((one) => one.alert.kind === "confirm");
    if (subscription.state === "pending" && !asks) return undefined;
    return { channel: subscription.channel, quiet: subscription.quiet, subscription };
  }

  /** When what is ready at a time may be heard. What was tried apart stays apart: each moves by its own part of a minute. */
  #heardAtMs(quiet: QuietHours | undefined, deliveries: readonly ClaimedDelivery[], atMs: number): number {
    if (deliveries.some((one) => isUrgent(one.alert))) return atMs;
    const heardAtMs = afterQuietHours(quiet, atMs);
    return heardAtMs > atMs ? heardAtMs + ((deliveries[0]?.nextAtMs ?? atMs) % MINUTE_MS) : atMs;
  }

  async #try({ channel, quiet, subscription }: Target, deliveries: readonly ClaimedDelivery[]): Promise<void> {
    const { store, deliver, clock, logger, context, linkKey } = this.#deps;
    const [first] = deliveries;
    if (!first) return;
    const dueMs = clock.now();
    const heardAtMs = this.#heardAtMs(quiet, deliveries, dueMs);
    if (heardAtMs > dueMs) return store.putBack(deliveries, heardAtMs);
    const link = (action: "confirm" | "unsubscribe"): string | undefined =>
      subscription && context.publicUrl !== undefined
        ? `${context.publicUrl}/v1/alerts/${action}?token=${linkToken(linkKey, action, subscription.id)}`
        : undefined;
    const message = composeMessage(
      first.id,
      // There is a first one.
      deliveries.map((one) => one.alert) as [Alert, ...Alert[]],
      {
        unsubscribeUrl: link("unsubscribe"),
        confirmUrl: first.alert.kind === "confirm" ? link("confirm") : undefined,
      },
      context,
      { maybeAgain: first.cutOffAtMs !== undefined },
    );
    const result = await deliver.send(channel, message, {
      trusted: subscription === undefined,
      signal: this.#cut.signal,
    });
    const ids = deliveries.map((one) => one.id);
    const nowMs = clock.now();
    if (result.ok) return store.sent(ids, nowMs);
    if (result.untried === true) return store.putBack(deliveries);
    // It may have arrived: left to whoever comes after its lease, and says so.
    if (this.#cut.signal.aborted) return;
    // All of a message were tried as often.
    const delayMs = retryDelayMs(first.attempts, result.retryAfterMs, (this.#deps.random ?? Math.random)());
    if (!result.permanent && delayMs !== undefined) {
      return store.retry(ids, this.#heardAtMs(quiet, deliveries, nowMs + delayMs), result.error);
    }
    await store.dead(ids, nowMs, result.error);
    if (subscription && result.gone) {
      await store.setSubscriptionState(subscription.id, "ended", nowMs, result.error);
    }
    if (!subscription) {
      logger.warn("an alert could not be delivered to the operator", {
        destination: first.destination,
        alerts: deliveries.map((one) => one.alert.kind),
        error: result.error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancel();
    this.#closing.abort();
    // A try that is cut off may have arrived: rather wait than say it twice.
    const cut = this.#deps.clock.after(FINISH_MS, () => this.#cut.abort());
    await this.#sending;
    await Promise.all(this.#busy.values());
    cut();
  }
}
