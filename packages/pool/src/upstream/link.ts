import { type Clock, createBackoff, errorText, formatHostPort, type HostPort, type Logger } from "@openpool/base";
import { type NotifySegment, registerText } from "@openpool/protocol";
import type { RegistrationEnd } from "@openpool/transcoder";
import type { Opening } from "./life.ts";
import { capacityOf, type Offer, sameAbility, sameOffers } from "./offers.ts";
import { type NotifiedBy, openPart, type Part } from "./part.ts";
import { planOffers } from "./parts.ts";

/**
 * idle → connecting → registered → waiting → connecting …; refused is waiting for the operator: it is tried again, slowly,
 * with the secret read anew. Registered is it once everything was tried, and as long as anything is.
 */
export type LinkState =
  /** Nothing is offered: no rig is connected, or the pool was taken out of this orchestrator. */
  | { readonly kind: "idle" }
  | { readonly kind: "connecting" }
  /** `offers`: of each registration. */
  | { readonly kind: "registered"; readonly offers: readonly Offer[] }
  | { readonly kind: "waiting"; readonly why: string; readonly retryInMs: number; readonly failures: number }
  | { readonly kind: "refused"; readonly text: string; readonly retryInMs: number };

export interface LinkOptions {
  readonly name: string;
  readonly address: HostPort;
  /** Reads the secret, for each registration anew: it can be changed without a restart of the pool. */
  readonly secret: () => Promise<string>;
}

export interface LinkDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Sessions whose last task came on that registration. */
  sessionsOn(registration: NotifiedBy): number;
  opening(fingerprint: string, answers: () => Promise<boolean>): Promise<Opening>;
  ended(opening: Opening): void;
  onNotify(notify: NotifySegment, from: NotifiedBy): void;
  onState(state: LinkState): void;
}

/** Stays registered with one orchestrator for as long as there is something to offer. */
export interface Link extends AsyncDisposable {
  readonly state: LinkState;
  /** Everything that is offered is registered, and something is. */
  readonly complete: boolean;
  /** Nothing: take no more tasks. Running ones are not touched, by this or by any other change of what is offered. */
  offer(offers: readonly Offer[]): void;
  /** No session runs any more: what grew in parts can become one registration again. */
  onEmpty(): void;
}

/** A registration that lasted this long was good, and so was a time when none was missing: the next failure starts with a short delay again. */
const GOOD_AFTER_MS = 5_000;
const REFUSED_RETRY_MS = 15_000;
/** How often a refused secret is compared with what stands in its place now. */
const SECRET_LOOK_MS = 1_000;

const IDLE: LinkState = { kind: "idle" };
const CONNECTING: LinkState = { kind: "connecting" };

export function openLink(options: LinkOptions, deps: LinkDeps): Link {
  const { clock, logger } = deps;
  const closing = new AbortController();
  const backoff = createBackoff({ initialMs: 150, factor: 1.8, maxMs: 20_000, jitter: 0.5 });
  let state = IDLE;
  let wanted: readonly Offer[] = [];
  /** The registrations that count. Those that have said goodbye are only listened to. */
  let parts: readonly Part[] = [];
  /** What became of one of them, and was not answered with a new one yet. */
  let lost: { readonly text: string; readonly good: boolean } | undefined;
  let wake = (): void => {};
  let triedSecret = "";

  /** What is shown while something is offered and nothing is registered. */
  let trouble: LinkState = CONNECTING;

  const plan = () =>
    planOffers(
      parts.map((part) => ({
        part,
        offer: part.offer,
        capacity: part.offer.capacity,
        sessions: deps.sessionsOn(part),
      })),
      wanted,
    );
  const show = (): void => {
    const next: LinkState =
      parts.length > 0
        ? { kind: "registered", offers: parts.map(({ offer }) => offer) }
        : wanted.length > 0
          ? trouble
          : IDLE;
    if (next === state) return;
    state = next;
    deps.onState(next);
  };
  const leave = (those: readonly { readonly part: Part }[]): void => {
    parts = parts.filter((part) => !those.some((one) => one.part === part));
    for (const { part } of those) part.leave();
  };
  /** Leaves what nothing has to come for. */
  const leaveSurplus = (): void => {
    const { abilities, over } = plan();
    leave([...abilities.flatMap((one) => (one.open ? [] : one.leave)), ...over]);
    show();
  };
  const onLost = (part: Part, text: string): void => {
    if (closing.signal.aborted) return;
    parts = parts.filter((one) => one !== part);
    lost = { text, good: clock.monotonicMs() - part.sinceMs >= GOOD_AFTER_MS };
    trouble = { kind: "waiting", why: text, retryInMs: 0, failures: 0 };
    show();
    wake();
  };
  const rest = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        cancel();
        wake = () => {};
        resolve();
      };
      const cancel = clock.after(ms, done);
      wake = done;
    });

  /** Registers once more; what came in the way. */
  const open = async (offer: Offer): Promise<RegistrationEnd | undefined> => {
    try {
      triedSecret = await options.secret();
    } catch (error) {
      return { text: errorText(error), refused: false };
    }
    const tried = await openPart(
      { address: options.address, secret: triedSecret, offer },
      { ...deps, signal: closing.signal, onLost },
    );
    if (tried.kind === "failed") return tried;
    // It may have ended since, in this very turn.
    if (!tried.part.gone) parts = [...parts, tried.part];
    return undefined;
  };

  /** Opens what is missing, all of it at once: one that cannot be opened keeps no other waiting. */
  const openMissing = async (): Promise<RegistrationEnd | undefined> => {
    const ends = await Promise.all(
      plan().abilities.map(async ({ open: offer, leave: those }) => {
        const end = offer && (await open(offer));
        // The new one is up: sessions of those that it stands for move over with their next segment.
        if (!end) leave(those);
        return end;
      }),
    );
    return ends.find((end) => end !== undefined);
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    /** Since when nothing is missing. */
    let fullSinceMs: number | undefined;
    while (!closing.signal.aborted) {
      if (!plan().abilities.some((one) => one.open)) {
        lost = undefined;
        failures = 0;
        fullSinceMs ??= clock.monotonicMs();
        leaveSurplus();
        await rest(60_000);
        continue;
      }
      if (fullSinceMs !== undefined && clock.monotonicMs() - fullSinceMs >= GOOD_AFTER_MS) backoff.reset();
      fullSinceMs = undefined;
      let failure: RegistrationEnd | undefined;
      if (lost) {
        failure = { text: lost.text, refused: false };
        // Gone after a good while: it may be back at once, but many may have lost it together.
        if (lost.good) {
          backoff.reset();
          failures = 0;
        }
        lost = undefined;
      } else {
        trouble = CONNECTING;
        if (parts.length === 0) show();
        failure = await openMissing();
      }
      if (!failure || closing.signal.aborted) continue;
      failures++;
      const invalid = failure.refused && failure.text === registerText.invalidSecret;
      const retryInMs = Math.round(invalid ? REFUSED_RETRY_MS * (0.75 + Math.random() / 2) : backoff.next());
      if (invalid) {
        logger.error("the orchestrator does not take our secret: compare --upstream-secret-file with its -orchSecret", {
          upstream: options.name,
          retryInMs,
        });
      } else {
        logger.warn("not registered with the orchestrator, trying again", {
          upstream: options.name,
          address: formatHostPort(options.address),
          missing: capacityOf(plan().abilities.flatMap((one) => one.open ?? [])),
          why: failure.text,
          retryInMs,
        });
      }
      trouble = invalid
        ? { kind: "refused", text: failure.text, retryInMs }
        : { kind: "waiting", why: failure.text, retryInMs, failures };
      if (invalid) await restUntilSecretChanges(retryInMs);
      else await restUntil(retryInMs, () => wanted.length === 0);
    }
  };
  /** Waits out a delay whatever else happens, unless `early`. What nothing has to come for does not wait for it. */
  const restUntil = async (ms: number, early: () => boolean): Promise<void> => {
    const until = clock.monotonicMs() + ms;
    for (let left = ms; left > 0 && !early() && !closing.signal.aborted; left = until - clock.monotonicMs()) {
      leaveSurplus();
      await rest(left);
    }
  };
  /** The operator may correct the secret at any time, and should not have to wait for the next try. */
  const restUntilSecretChanges = async (ms: number): Promise<void> => {
    const until = clock.monotonicMs() + ms;
    while (wanted.length > 0 && !closing.signal.aborted && clock.monotonicMs() < until) {
      await restUntil(Math.min(SECRET_LOOK_MS, until - clock.monotonicMs()), () => wanted.length === 0);
      const now = await options.secret().catch(() => triedSecret);
      if (now !== triedSecret) return;
    }
  };
  const ended = run();

  return {
    get state() {
      return state;
    },
    get complete() {
      const registered = (ability: Offer) => parts.flatMap(({ offer }) => (sameAbility(offer, ability) ? offer : []));
      return parts.length > 0 && wanted.every((offer) => capacityOf(registered(offer)) >= offer.capacity);
    },
    offer(offers) {
      if (sameOffers(wanted, offers)) return;
      wanted = offers;
      wake();
    },
    onEmpty() {
      if (parts.length > 1) wake();
    },
    async [Symbol.asyncDispose]() {
      wanted = [];
      closing.abort();
      wake();
      await ended;
    },
  };
}
