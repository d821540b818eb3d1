import { create } from "@bufbuild/protobuf";
import {
  type Clock,
  createBackoff,
  errorText,
  formatHostPort,
  type HostPort,
  type Logger,
  plainText,
} from "@openpool/base";
import {
  type Ability,
  capabilitiesToWire,
  type NotifySegment,
  RegisterRequestSchema,
  registerText,
} from "@openpool/protocol";
import { dialOrchestrator, register, type Registration, type RegistrationEnd } from "@openpool/transcoder";

/** What the pool registers as: one transcoder with this many sessions. */
export interface Offer extends Ability {
  readonly capacity: number;
}

/**
 * idle → connecting → registered → waiting → connecting …; refused is waiting for the operator: it is tried again, slowly,
 * with the secret read anew.
 */
export type LinkState =
  /** Nothing is offered: no rig is connected, or the pool was taken out of this orchestrator. */
  | { readonly kind: "idle" }
  | { readonly kind: "connecting" }
  /** `sinceMs` is monotonic: since when without a break, whatever was offered anew meanwhile. */
  | { readonly kind: "registered"; readonly sinceMs: number; readonly offer: Offer }
  | { readonly kind: "waiting"; readonly why: string; readonly retryInMs: number; readonly failures: number }
  | { readonly kind: "refused"; readonly text: string; readonly retryInMs: number };

export interface LinkOptions {
  readonly name: string;
  readonly address: HostPort;
  /** Reads the secret, for each registration anew: it can be changed without a restart of the pool. */
  readonly secret: () => Promise<string>;
}

/** The registration that a message came on: what its answer needs to reach the same orchestrator. */
export interface NotifiedBy {
  /** Of the certificate: from which life of the orchestrator the message is. */
  readonly fingerprint: string;
  /** That it was registered with. */
  readonly secret: string;
}

export interface LinkDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  onNotify(notify: NotifySegment, from: NotifiedBy): void;
  onState(state: LinkState): void;
}

/** Stays registered with one orchestrator for as long as there is something to offer. */
export interface Link extends AsyncDisposable {
  readonly state: LinkState;
  /** Undefined: take no more tasks. Running ones are not touched, by this or by any other change of the offer. */
  offer(offer: Offer | undefined): void;
}

const DIAL_TIMEOUT_MS = 5_000;
/** A registration that lasted this long was good: the next failure starts with a short delay again. */
const GOOD_AFTER_MS = 5_000;
const REFUSED_RETRY_MS = 15_000;
/** How often a refused secret is compared with what stands in its place now. */
const SECRET_LOOK_MS = 1_000;

export function sameOffer(a: Offer | undefined, b: Offer | undefined): boolean {
  return a?.capacity === b?.capacity && a?.capabilities === b?.capabilities && a?.version === b?.version;
}

export function openLink(options: LinkOptions, deps: LinkDeps): Link {
  const { clock, logger } = deps;
  const closing = new AbortController();
  const backoff = createBackoff({ initialMs: 150, factor: 1.8, maxMs: 20_000, jitter: 0.5 });
  let state: LinkState = { kind: "idle" };
  let wanted: Offer | undefined;
  /** The registration that counts. Those before it have said goodbye and are only listened to. */
  let current: { readonly registration: Registration; readonly offer: Offer; readonly sinceMs: number } | undefined;
  let registeredSinceMs: number | undefined;
  /** All that are open, those that leave included. */
  const open = new Set<Registration>();
  let lost: { readonly text: string; readonly good: boolean } | undefined;
  let wake = (): void => {};
  let triedSecret = "";

  const become = (next: LinkState): void => {
    state = next;
    deps.onState(next);
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

  /** One try to register; what became of it. */
  const attempt = async (offer: Offer): Promise<RegistrationEnd | undefined> => {
    try {
      const secret = await options.secret();
      triedSecret = secret;
      const dialled = await dialOrchestrator(
        options.address,
        { timeoutMs: DIAL_TIMEOUT_MS, signal: closing.signal },
        clock,
      );
      return await new Promise((resolve) => {
        const request = create(RegisterRequestSchema, {
          secret,
          capacity: BigInt(offer.capacity),
          capabilities: capabilitiesToWire(offer.capabilities, offer.version),
        });
        const registration: Registration = register(
          dialled,
          request,
          {
            onTaken() {
              const before = current;
              const sinceMs = clock.monotonicMs();
              current = { registration, offer, sinceMs };
              registeredSinceMs ??= sinceMs;
              become({ kind: "registered", sinceMs: registeredSinceMs, offer });
              // The new one is up: sessions move over with their next segment.
              before?.registration.leave();
              resolve(undefined);
            },
            onNotify: (notify) => deps.onNotify(notify, { fingerprint: dialled.fingerprint, secret }),
            onEnd({ text: said, refused }) {
              open.delete(registration);
              const text = plainText(said);
              resolve({ text, refused });
              if (current?.registration !== registration) return;
              lost = { text, good: clock.monotonicMs() - current.sinceMs >= GOOD_AFTER_MS };
              current = undefined;
              registeredSinceMs = undefined;
              wake();
            },
          },
          clock,
        );
        open.add(registration);
        if (closing.signal.aborted) registration.cut();
      });
    } catch (error) {
      return { text: errorText(error), refused: false };
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!closing.signal.aborted) {
      const offer = wanted;
      if (!offer) {
        const leaving = current;
        current = undefined;
        registeredSinceMs = undefined;
        leaving?.registration.leave();
        if (state.kind !== "idle") become({ kind: "idle" });
        await rest(60_000);
        continue;
      }
      if (current && sameOffer(current.offer, offer)) {
        await rest(60_000);
        continue;
      }
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
        if (!current) become({ kind: "connecting" });
        failure = await attempt(offer);
      }
      if (!failure || closing.signal.aborted) {
        failures = 0;
        continue;
      }
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
          why: failure.text,
          retryInMs,
        });
      }
      if (!current) {
        become(
          invalid
            ? { kind: "refused", text: failure.text, retryInMs }
            : { kind: "waiting", why: failure.text, retryInMs, failures },
        );
      }
      if (invalid) await restUntilSecretChanges(retryInMs);
      else await restUntil(retryInMs, () => !wanted);
    }
  };
  /** Waits out a delay whatever else happens, unless `early`. */
  const restUntil = async (ms: number, early: () => boolean): Promise<void> => {
    const until = clock.monotonicMs() + ms;
    for (let left = ms; left > 0 && !early() && !closing.signal.aborted; left = until - clock.monotonicMs()) {
      await rest(left);
    }
  };
  /** The operator may correct the secret at any time, and should not have to wait for the next try. */
  const restUntilSecretChanges = async (ms: number): Promise<void> => {
    const until = clock.monotonicMs() + ms;
    while (wanted && !closing.signal.aborted && clock.monotonicMs() < until) {
      await restUntil(Math.min(SECRET_LOOK_MS, until - clock.monotonicMs()), () => !wanted);
      const now = await options.secret().catch(() => triedSecret);
      if (now !== triedSecret) return;
    }
  };
  const ended = run();

  return {
    get state() {
      return state;
    },
    offer(offer) {
      if (sameOffer(wanted, offer)) return;
      wanted = offer;
      wake();
    },
    async [Symbol.asyncDispose]() {
      wanted = undefined;
      closing.abort();
      wake();
      for (const registration of open) registration.cut();
      await ended;
    },
  };
}
