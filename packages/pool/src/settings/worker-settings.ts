import { type Clock, PoolError } from "@openpool/base";
import {
  addressProblemText,
  type AlertChannel,
  type Asset,
  isAddressProblem,
  parseAddress,
  type NewCredential,
  type PayoutWish as PayoutWishJson,
  type PayToDocument,
  reasonTexts,
  type Subscribed,
  type WorkerAddress,
  type WorkerAlert,
  type WorkerSettingsAnswer,
} from "@openpool/protocol";
import { AlertError, type Alerts } from "../alerts/alerts.ts";
import {
  type Channel,
  type GivenThresholds,
  type QuietHours,
  type Subscription,
  withThresholds,
} from "../alerts/types.ts";
import type { Asset as PayoutAsset, Hex, PayoutPort, PayoutWish, PayToRequest } from "../payouts/types.ts";
import type { NewEvent } from "../store/types.ts";
import type { WorkersRegister } from "../workers/register.ts";
import type { Refusal } from "./ports.ts";
import type { RigLabels } from "./rig-labels.ts";

/** Payouts, as far as a worker has a say in them. */
export interface PayoutSettingsPort {
  readonly port: Pick<PayoutPort, "status" | "payToChanges" | "requestPayTo" | "cancelPayTo">;
  /** For people. */
  assetOf(asset: PayoutAsset): Asset;
  /** What the terms say. */
  minimumWei(worker: WorkerAddress): bigint;
  gasBorneBy(): "pool" | "worker";
  /** What a wallet signs for a change, as JSON. */
  document(change: Omit<PayToRequest, "signature">): string;
}

export interface WorkerSettingsDeps {
  readonly clock: Clock;
  readonly labels: RigLabels;
  readonly register: Pick<WorkersRegister, "worker" | "credentials" | "credentialRoom" | "issue" | "revoke" | "change">;
  /** How rigs may join this pool. */
  readonly join: { readonly open: boolean; readonly registered: boolean; readonly passwordNeeded: boolean };
  /** The rigs of a worker that are connected or remembered, and when they were seen (unix ms). */
  readonly rigsOf: (worker: WorkerAddress) => Promise<ReadonlyMap<string, number | undefined>>;
  readonly sessionsOf: (worker: WorkerAddress) => Promise<number>;
  /** Undefined: this pool pays nobody by itself. */
  readonly payouts: PayoutSettingsPort | undefined;
  readonly alerts: Pick<Alerts, "channels" | "subscribe" | "subscriptions" | "change">;
  readonly append: (events: readonly NewEvent[]) => Promise<void>;
}

/** A wish as it came: {@link readWish} makes sure of it. */
type AskedWish = Readonly<PayoutWishJson>;

interface Heard {
  readonly kinds: readonly WorkerAlert[];
  readonly thresholds?: GivenThresholds | undefined;
  readonly quiet?: QuietHours | undefined;
}

const MOST_CREDENTIALS = 50;
/** Once there are so many of all workers together, only workers that were credited issue more. */
const MOST_BEFORE_WORK = 5_000;
/** Whoever asks for more than this has mistyped it, and would wait for ever. */
const MOST_MINIMUM_WEI = 1_000n * 10n ** 18n;

const refuse = (where: string, refused: string): Refusal => ({ where, refused });
const iso = (ms: number): string => new Date(ms).toISOString();

/**
 * What a worker may change about itself. Whoever calls has made sure that the worker itself asks. A change is recorded
 * once it is made; what cannot be done is answered with the reason.
 */
export class WorkerSettings {
  readonly #deps: WorkerSettingsDeps;

  constructor(deps: WorkerSettingsDeps) {
    this.#deps = deps;
  }

  async read(worker: WorkerAddress): Promise<WorkerSettingsAnswer> {
    const { register, rigsOf, labels, alerts, sessionsOf } = this.#deps;
    const [record, payout, rigs, credentials, subscriptions, sessions] = await Promise.all([
      register.worker(worker),
      this.#payout(worker),
      rigsOf(worker),
      this.#credentials(worker),
      alerts.subscriptions(worker),
      sessionsOf(worker),
    ]);
    const names = labels.current;
    return {
      worker,
      banned: record?.banned ?? null,
      payout,
      rigs: [...rigs]
        .toSorted(([a, seenA], [b, seenB]) => (seenB ?? 0) - (seenA ?? 0) || a.localeCompare(b))
        .map(([rig, seenMs]) => ({
          rig,
          label: names.get(`${worker}.${rig}`) ?? null,
          lastSeenAt: seenMs === undefined ? null : iso(seenMs),
        })),
      access: {
        locked: record?.locked ?? false,
        credentialsWork: this.#deps.join.registered,
        canIssue: this.#canIssue,
        credentials,
      },
      alerts: { channels: [...alerts.channels], subscriptions: subscriptions.map(subscriptionJson) },
      sessions,
    };
  }

  // ---- where the money goes

  async #payout(worker: WorkerAddress): Promise<WorkerSettingsAnswer["payout"]> {
    const { payouts } = this.#deps;
    if (!payouts) {
      const code = "no-payouts";
      return { configured: false, why: reasonTexts[code][0], whyCoded: { code, facts: {} } };
    }
    const [changes, status] = await Promise.all([payouts.port.payToChanges(worker), payouts.port.status()]);
    const inForce = changes.find((one) => one.state === "in-force");
    const waiting = changes.find((one) => one.state === "waiting");
    return {
      configured: true,
      ...wishJson(inForce ?? { ...NO_WISH, payTo: worker }),
      poolMinimumWei: String(payouts.minimumWei(worker)),
      pending: waiting
        ? {
            ...wishJson(waiting),
            requestedAt: iso(waiting.requestedAtMs),
            effectiveAt: iso(waiting.effectiveAtMs),
          }
        : null,
      delayMs: status.payToDelayMs,
      chainId: status.chainId,
      poolAsset: payouts.assetOf(status.asset),
      choices: status.choices.map((one) => payouts.assetOf(one)),
      gasBorneBy: payouts.gasBorneBy(),
    };
  }

  /** What the worker's wallet has to sign for a change (EIP-712). */
  async payToDocument(worker: WorkerAddress, asked: AskedWish): Promise<PayToDocument | Refusal> {
    const { payouts } = this.#deps;
    if (!payouts) return noPayouts;
    const wish = await readWish(asked, payouts);
    if ("refused" in wish) return wish;
    const nonce = await this.#nextNonce(worker, payouts);
    const document: unknown = JSON.parse(payouts.document({ worker, ...wish, nonce }));
    // It was written as an object.
    return { nonce: String(nonce), document: document as PayToDocument["document"] };
  }

  /** Takes a signed change in; answers from when on it counts. The signature is what makes it count. */
  async changePayTo(
    worker: WorkerAddress,
    asked: AskedWish & { readonly nonce: string; readonly signature: Hex },
  ): Promise<(PayoutWishJson & { readonly effectiveAt: string }) | Refusal> {
    const { payouts } = this.#deps;
    if (!payouts) return noPayouts;
    const wish = await readWish(asked, payouts);
    if ("refused" in wish) return wish;
    const nonce = BigInt(asked.nonce);
    // A number that skips ahead would leave less room for changes to come.
    if (nonce > (await this.#nextNonce(worker, payouts))) {
      return refuse("nonce", "This is not the number that was given out: ask for a new document.");
    }
    try {
      const taken = await payouts.port.requestPayTo({ worker, ...wish, nonce, signature: asked.signature });
      return { ...wishJson(taken), effectiveAt: iso(taken.effectiveAtMs) };
    } catch (error) {
      const code = error instanceof PoolError ? error.info.code : undefined;
      if (code === "payto/bad-signature") {
        return refuse("signature", `The signature is not one of ${worker} for this change.`);
      }
      if (code === "payto/old-nonce") {
        return refuse("nonce", "Another change was signed meanwhile: ask for a new document.");
      }
      throw error;
    }
  }

  async #nextNonce(worker: WorkerAddress, payouts: PayoutSettingsPort): Promise<bigint> {
    const changes = await payouts.port.payToChanges(worker);
    return changes.reduce((most, one) => (one.nonce >= most ? one.nonce + 1n : most), 1n);
  }

  async cancelPayTo(worker: WorkerAddress): Promise<Refusal | undefined> {
    const { payouts } = this.#deps;
    if (!payouts) return noPayouts;
    const waiting = (await payouts.port.payToChanges(worker)).some((one) => one.state === "waiting");
    if (!waiting) return refuse("pay-to", "No change is waiting: there is nothing to take back.");
    await payouts.port.cancelPayTo(worker);
    return undefined;
  }

  // ---- rigs, and who may use the address

  async setRigLabel(worker: WorkerAddress, rig: string, label: string | null): Promise<Refusal | undefined> {
    const { rigsOf, labels } = this.#deps;
    if (!(await rigsOf(worker)).has(rig)) {
      return refuse("rig", "This worker has no such rig: a rig can be named once it has been here.");
    }
    if (!(await labels.put({ worker, rig }, label ?? undefined))) {
      return refuse("label", "This worker has named as many rigs as it may.");
    }
    await this.#record(worker, { setting: "rig-label", label }, rig);
    return undefined;
  }

  /** Where joining needs a password or the operator's say, issuing a credential is the operator's. */
  get #canIssue(): boolean {
    const { open, registered, passwordNeeded } = this.#deps.join;
    return open && registered && !passwordNeeded;
  }

  async #credentials(worker: WorkerAddress): Promise<WorkerSettingsAnswer["access"]["credentials"]> {
    const all = await this.#deps.register.credentials(worker);
    return all
      .filter((one) => one.revokedAt === undefined)
      .map((one) => ({ id: one.id, rig: one.name.rig, createdAt: one.createdAt }));
  }

  async setLock(worker: WorkerAddress, locked: boolean): Promise<Refusal | undefined> {
    const { register, join } = this.#deps;
    if (locked && !join.registered) {
      return refuse("locked", "This pool takes no issued credentials: locked, none of your rigs could join.");
    }
    if (locked && (await this.#credentials(worker)).length === 0) {
      return refuse("locked", "There is no credential for this address: locked, none of your rigs could join.");
    }
    if (((await register.worker(worker))?.locked ?? false) !== locked)
      await register.change(worker, { locked }, "worker");
    return undefined;
  }

  async issueCredential(worker: WorkerAddress, rig: string): Promise<NewCredential | Refusal> {
    if (!this.#canIssue) return refuse("rig", "Credentials of this pool are issued by its operator.");
    const { register, rigsOf } = this.#deps;
    const { own, all, credited } = await register.credentialRoom(worker);
    if (own >= MOST_CREDENTIALS) {
      return refuse("rig", `A worker has at most ${MOST_CREDENTIALS} credentials: revoke one first.`);
    }
    // Addresses cost nothing: who never worked here cannot fill the table, nor take the place of somebody who did.
    if (!credited) {
      if ((await rigsOf(worker)).size === 0) {
        return refuse("rig", "No rig of this address has been here yet: connect one by the address itself first.");
      }
      if (all >= MOST_BEFORE_WORK) {
        return refuse(
          "rig",
          "This pool issues no more credentials to workers without a credit: have a segment done first.",
        );
      }
    }
    return register.issue({ worker, rig }, "worker");
  }

  async revokeCredential(worker: WorkerAddress, id: string): Promise<Refusal | undefined> {
    if (!(await this.#credentials(worker)).some((one) => one.id === id)) {
      return refuse("id", "This worker has no such credential.");
    }
    await this.#deps.register.revoke(id, "worker");
    return undefined;
  }

  // ---- alerts

  async subscribe(
    worker: WorkerAddress,
    { channel, target, ...heard }: Heard & { readonly channel: AlertChannel; readonly target: string },
  ): Promise<Subscribed | Refusal> {
    try {
      const { state, webhookSecret } = await this.#deps.alerts.subscribe({
        worker,
        channel,
        target,
        kinds: heard.kinds,
        thresholds: heard.thresholds,
        quiet: heard.quiet,
        owned: true,
      });
      await this.#record(worker, { setting: "alerts", done: "added", channel });
      return { state, webhookSecret: webhookSecret ?? null };
    } catch (error) {
      if (!(error instanceof AlertError)) throw error;
      return refuse("target", error.message.replace(/^\[[^\]]*\] /, ""));
    }
  }

  async changeSubscription(worker: WorkerAddress, id: string, heard: Heard): Promise<Refusal | undefined> {
    const { alerts } = this.#deps;
    const old = (await alerts.subscriptions(worker)).find((one) => one.id === id);
    if (!old) return noSubscription;
    const changed = await alerts.change(worker, id, {
      kinds: [...new Set(heard.kinds)],
      thresholds: withThresholds(old.thresholds, heard.thresholds),
      quiet: heard.quiet,
    });
    if (!changed) return noSubscription;
    await this.#record(worker, { setting: "alerts", done: "changed", channel: old.channel.kind });
    return undefined;
  }

  async endSubscription(worker: WorkerAddress, id: string): Promise<Refusal | undefined> {
    const { alerts } = this.#deps;
    const old = (await alerts.subscriptions(worker)).find((one) => one.id === id);
    if (!old) return noSubscription;
    if (!(await alerts.change(worker, id, "end"))) return noSubscription;
    await this.#record(worker, { setting: "alerts", done: "ended", channel: old.channel.kind });
    return undefined;
  }

  #record(worker: WorkerAddress, data: Readonly<Record<string, unknown>>, rig?: string): Promise<void> {
    return this.#deps.append([{ type: "settings.changed", worker, rig, data }]);
  }
}

const noPayouts = refuse("payout", "This pool does not pay out by itself.");
const noSubscription = refuse("id", "There is no such subscription of this worker.");

const NO_WISH = { thresholdWei: 0n, asset: "pool", maxGasPriceWei: 0n, maxGasSharePpm: 0n } as const;

function wishJson(wish: PayoutWish): PayoutWishJson {
  return {
    payTo: wish.payTo,
    minimumWei: String(wish.thresholdWei),
    asset: wish.asset,
    maxGasPriceWei: String(wish.maxGasPriceWei),
    maxGasSharePpm: Number(wish.maxGasSharePpm),
  };
}

async function readWish(asked: AskedWish, payouts: PayoutSettingsPort): Promise<PayoutWish | Refusal> {
  const payTo = parseAddress(asked.payTo.trim());
  if (isAddressProblem(payTo)) return refuse("payTo", `The address ${addressProblemText[payTo]}.`);
  const thresholdWei = BigInt(asked.minimumWei);
  if (thresholdWei > MOST_MINIMUM_WEI) return refuse("minimumWei", "The minimum is more than 1 000 ETH.");
  const { asset: common, choices } = await payouts.port.status();
  const asset = (["pool", common, ...choices] as const).find((one) => one.toLowerCase() === asked.asset.toLowerCase());
  if (asset === undefined) return refuse("asset", "This pool does not pay in that: choose something that it offers.");
  return {
    payTo,
    thresholdWei,
    asset,
    maxGasPriceWei: BigInt(asked.maxGasPriceWei),
    maxGasSharePpm: BigInt(asked.maxGasSharePpm),
  };
}

function targetOf(channel: Channel): string {
  if (channel.kind === "email") return channel.to;
  return channel.kind === "telegram" ? channel.chat : channel.url;
}

function subscriptionJson(one: Subscription): WorkerSettingsAnswer["alerts"]["subscriptions"][number] {
  return {
    id: one.id,
    channel: one.channel.kind,
    target: targetOf(one.channel),
    kinds: [...one.kinds],
    thresholds: { ...one.thresholds },
    quiet: one.quiet ?? null,
    // Those that are over are not listed.
    state: one.state === "active" ? "active" : "pending",
    createdAt: iso(one.createdAtMs),
  };
}
