import { randomUUID } from "node:crypto";
import { isIP } from "node:net";
import { type Clock, type Logger, openScope, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { isPrivateAddress } from "../outbound/private-address.ts";
import { parseDiscordUrl } from "./channels/discord.ts";
import { isMailAddress } from "./channels/mail.ts";
import { parseNtfyUrl } from "./channels/ntfy.ts";
import { newWebhookSecret } from "./channels/standard-webhook.ts";
import { isTelegramChat } from "./channels/telegram.ts";
import { type Deliver, type DeliverOptions, openDeliver } from "./deliver.ts";
import { readLinkToken } from "./links.ts";
import { composeMessage, type MessageContext } from "./message.ts";
import type { AlertStore } from "./ports.ts";
import { AlertReader, type AlertReaderDeps } from "./reader.ts";
import { AlertSender } from "./sender.ts";
import type { AlertSettings } from "./settings.ts";
import {
  type Alert,
  type Channel,
  type ChannelKind,
  defaultThresholds,
  type Delivery,
  type DeliveryState,
  type GivenThresholds,
  type QuietHours,
  type Subscription,
  type Thresholds,
  withThresholds,
  type WorkerAlert,
} from "./types.ts";

export interface AlertOptions {
  readonly settings: AlertSettings;
  /** Where the pool's pages are, without a slash at the end. Without it strangers cannot subscribe: links need it. */
  readonly publicUrl: string | undefined;
  readonly poolName: string;
  /** Addresses that strangers' URLs must not lead to; undefined: those of private networks. */
  readonly refuse?: ((address: string) => boolean) | undefined;
  /** For tests: on a slow machine the patience of a pool says nothing. */
  readonly mailLimits?: DeliverOptions["mailLimits"];
}

export interface AlertDeps extends Pick<AlertReaderDeps, "watch" | "isOnline"> {
  readonly store: AlertStore;
  readonly logger: Logger;
  readonly clock: Clock;
}

export class AlertError extends PoolError<{
  readonly code: "alerts/off" | "alerts/no-channel" | "alerts/bad-target" | "alerts/too-many" | "alerts/bad-link";
}> {}

/** What somebody asks for. `target` is an address, a URL, or the number of a chat, by `channel`. */
export interface SubscribeRequest {
  readonly worker: WorkerAddress;
  readonly channel: ChannelKind;
  readonly target: string;
  readonly kinds: readonly WorkerAlert[];
  readonly thresholds?: GivenThresholds | undefined;
  readonly quiet?: QuietHours | undefined;
  /** The worker itself asks, signed in. */
  readonly owned: boolean;
}

export interface Subscribed {
  /** `pending`: a message with a link was sent there, and nothing else comes before the link is followed. */
  readonly state: "pending" | "active";
  /** Of a new webhook: what its messages are signed with. It is told only now. */
  readonly webhookSecret: string | undefined;
}

const DAY_MS = 86_400_000;
/** Nobody's mailbox is filled with requests to confirm. */
const MOST_A_TARGET_AND_DAY = 5;
const MOST_A_WORKER = 50;
/** Of strangers together. What one of them may ask for is limited where they ask. */
const MOST_PENDING = 100_000;
const MOST_ACTIVE = 100_000;
const MAX_TARGET = 500;

/** Everything about alerts of a running pool. */
export class Alerts implements AsyncDisposable {
  readonly #options: AlertOptions;
  readonly #deps: AlertDeps;
  readonly #deliver: Deliver;
  readonly #linkKey: string;
  readonly #scope = openScope();
  /** For tests: looks and sends without waiting for the next turn. */
  readonly reader: AlertReader;
  readonly sender: AlertSender;

  static async open(options: AlertOptions, deps: AlertDeps): Promise<Alerts> {
    return new Alerts(options, deps, await deps.store.linkKey());
  }

  private constructor(options: AlertOptions, deps: AlertDeps, linkKey: string) {
    const { settings, publicUrl } = options;
    this.#options = options;
    this.#deps = deps;
    this.#linkKey = linkKey;
    this.#deliver = this.#scope.use(
      openDeliver({
        ...settings,
        publicHost: publicUrl === undefined ? undefined : new URL(publicUrl).hostname,
        refuse: options.refuse ?? isPrivateAddress,
        nowMs: () => deps.clock.now(),
        mailLimits: options.mailLimits,
      }),
    );
    const { operator: operatorChannels } = settings;
    this.sender = this.#scope.use(
      new AlertSender({ ...deps, deliver: this.#deliver, context: this.#context, operatorChannels, linkKey }),
    );
    this.reader = this.#scope.use(
      new AlertReader({ ...deps, operatorChannels, onNews: () => void this.sender.send() }),
    );
  }

  get #context(): MessageContext {
    return { poolName: this.#options.poolName, publicUrl: this.#options.publicUrl };
  }

  /** The kinds of channels that a subscription can name; empty: there is no page that links could lead to. */
  get channels(): readonly ChannelKind[] {
    return this.#options.publicUrl === undefined ? [] : this.#deliver.kinds;
  }

  /**
   * Takes a subscription in. Its channel gets a message with a link first, and nothing more before that is followed.
   *
   * @throws AlertError
   */
  async subscribe(request: SubscribeRequest): Promise<Subscribed> {
    const { store, clock } = this.#deps;
    if (this.#options.publicUrl === undefined) {
      throw new AlertError(
        { code: "alerts/off" },
        "This pool sends no alerts to subscribers: it has no public address.",
      );
    }
    if (!this.#deliver.kinds.includes(request.channel)) {
      throw new AlertError(
        { code: "alerts/no-channel" },
        `This pool has no ${request.channel}; choose another channel.`,
      );
    }
    const channel = this.#channelOf(request.channel, request.target);
    const nowMs = clock.now();
    const load = await store.load(channel, request.worker, nowMs - DAY_MS);
    // Strangers may subscribe to a worker too, but cannot use up what is its own.
    const ofWorker = request.owned ? load.owned : load.worker;
    if (
      load.target >= MOST_A_TARGET_AND_DAY ||
      ofWorker >= MOST_A_WORKER ||
      (!request.owned && load.pending >= MOST_PENDING) ||
      load.active >= MOST_ACTIVE
    ) {
      throw new AlertError(
        { code: "alerts/too-many" },
        "There are too many subscriptions of this kind; try again tomorrow.",
      );
    }
    const added = await store.addSubscription({
      id: randomUUID(),
      worker: request.worker,
      channel,
      kinds: [...new Set(request.kinds)],
      thresholds: withThresholds(defaultThresholds, request.thresholds),
      quiet: request.quiet,
      state: "pending",
      owned: request.owned,
      createdAtMs: nowMs,
    });
    if (added) {
      const alert = this.#alert("confirm", `confirm ${added.id}`, request.worker);
      await store.enqueue([{ destination: `subscription:${added.id}`, alert, nextAtMs: nowMs }]);
      void this.sender.send();
    }
    // Whether somebody else subscribed the same before is nobody's business; of its own a worker knows.
    const state = request.owned && !added ? "active" : "pending";
    return { state, webhookSecret: added && channel.kind === "webhook" ? channel.secret : undefined };
  }

  #channelOf(kind: ChannelKind, target: string): Channel {
    const bad = (message: string): never => {
      throw new AlertError({ code: "alerts/bad-target" }, message);
    };
    const safeUrl = (text: string): URL => {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      if (url?.protocol !== "https:" || url.username !== "" || url.password !== "") {
        return bad("Give an https: URL without a user name.");
      }
      const host = url.hostname.replace(/^\[|\]$/g, "");
      const refuse = this.#options.refuse ?? isPrivateAddress;
      if ((isIP(host) > 0 && refuse(host)) || /(^|\.)(localhost|local|internal)$/.test(host)) {
        return bad("Give a URL of the public internet.");
      }
      return url;
    };
    if (target.length > MAX_TARGET) return bad("That is too long.");
    switch (kind) {
      case "email":
        return isMailAddress(target) ? { kind, to: target } : bad("That is no e-mail address.");
      case "telegram":
        return isTelegramChat(target)
          ? { kind, chat: target }
          : bad("Give the number of a Telegram chat, or @channel.");
      case "discord":
        return { kind, url: (parseDiscordUrl(target) ?? bad("Give a webhook URL of Discord.")).href };
      case "ntfy": {
        const url = safeUrl(target);
        return parseNtfyUrl(url.href)
          ? { kind, url: url.href }
          : bad("Give a topic's URL, like https://ntfy.sh/TOPIC.");
      }
      case "webhook":
        return { kind, url: safeUrl(target).href, secret: newWebhookSecret() };
    }
  }

  /** The subscription that a link of a message is about. @throws AlertError `alerts/bad-link` */
  async linked(action: "confirm" | "unsubscribe", token: string): Promise<Subscription> {
    const id = readLinkToken(this.#linkKey, action, token);
    const found = id === undefined ? undefined : await this.#deps.store.subscription(id);
    if (found) return found;
    throw new AlertError(
      { code: "alerts/bad-link" },
      "This link is not complete, or too old: links to confirm work for two days.",
    );
  }

  /** Does what a link of a message says; twice is as good as once. @throws AlertError `alerts/bad-link` */
  async follow(action: "confirm" | "unsubscribe", token: string): Promise<void> {
    const { store, clock } = this.#deps;
    const { id, state } = await this.linked(action, token);
    if (action === "unsubscribe") await store.setSubscriptionState(id, "ended", clock.now(), "unsubscribed");
    else if (state === "pending") await store.setSubscriptionState(id, "active", clock.now(), undefined);
    else if (state === "ended") {
      throw new AlertError({ code: "alerts/bad-link" }, "This subscription is over; subscribe again.");
    }
  }

  /** What a worker subscribed to itself. */
  subscriptions(worker: WorkerAddress): Promise<readonly Subscription[]> {
    return this.#deps.store.ownSubscriptions(worker);
  }

  /** Changes or ends a subscription that the worker made itself; false: there is none such. */
  async change(
    worker: WorkerAddress,
    id: string,
    change:
      | {
          readonly kinds: readonly WorkerAlert[];
          readonly thresholds: Thresholds;
          readonly quiet: QuietHours | undefined;
        }
      | "end",
  ): Promise<boolean> {
    const { store, clock } = this.#deps;
    const own = (await store.ownSubscriptions(worker)).some((one) => one.id === id);
    if (!own) return false;
    if (change === "end") return store.setSubscriptionState(id, "ended", clock.now(), "ended by the worker");
    return (await store.changeSubscription(id, change)) !== undefined;
  }

  // ---- for the operator

  deliveries(query: {
    readonly state?: DeliveryState | undefined;
    readonly limit: number;
  }): Promise<readonly Delivery[]> {
    return this.#deps.store.deliveries(query);
  }

  counts(): Promise<Readonly<Record<DeliveryState, number>>> {
    return this.#deps.store.counts();
  }

  async replay(ids: readonly string[] | undefined): Promise<number> {
    const replayed = await this.#deps.store.replay(ids, this.#deps.clock.now());
    void this.sender.send();
    return replayed;
  }

  /** Sends a test over every channel of the operator's, now. */
  async test(): Promise<
    readonly { readonly channel: string; readonly kind: ChannelKind; readonly error: string | undefined }[]
  > {
    const alert = this.#alert("test", `test ${randomUUID()}`, null);
    return Promise.all(
      this.#options.settings.operator.map(async ({ name, channel }) => {
        const message = composeMessage(randomUUID(), [alert], {}, this.#context);
        const result = await this.#deliver.send(channel, message, { trusted: true, signal: this.#scope.signal });
        return { channel: name, kind: channel.kind, error: result.ok ? undefined : result.error };
      }),
    );
  }

  #alert(kind: "confirm" | "test", key: string, worker: WorkerAddress | null): Alert {
    return { key, kind, phase: "event", worker, rig: null, threshold: null, atMs: this.#deps.clock.now(), data: {} };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]();
  }
}
