import type http2 from "node:http2";
import { type Clock, createBackoff, errorText, type HostPort, type Logger } from "@openpool/base";
import { type NotifySegment, type RegisterRequest, registerText } from "@openpool/protocol";
import {
  type Dialled,
  dialOrchestrator,
  type DialOptions,
  register,
  type Registration,
  type RegistrationEnd,
} from "@openpool/transcoder";

/**
 * connecting → registered → waiting → connecting …; stopped is final: we were told to, or the pool refused for good.
 */
export type LinkState =
  | { readonly state: "connecting" }
  | { readonly state: "registered"; readonly sinceMs: number }
  /** `failures` since the last good registration. */
  | { readonly state: "waiting"; readonly retryInMs: number; readonly why: string; readonly failures: number }
  | { readonly state: "stopped" };

/** Why the link is over. `refused`: the pool said a text after which no retry can help. */
export type LinkEnd =
  { readonly kind: "stopped" } | { readonly kind: "refused"; readonly text: string; readonly advice: string };

export interface PoolLink extends AsyncDisposable {
  readonly state: LinkState;
  readonly ended: Promise<LinkEnd>;
  /** Takes no more tasks, leaving the connection up; the link ends. */
  leave(): void;
}

export interface PoolLinkDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The pool has taken the registration, on this connection. */
  onRegistered?(session: http2.ClientHttp2Session): void;
  onNotify(notify: NotifySegment): void;
}

const advice: Readonly<Record<string, string>> = {
  [registerText.invalidSecret]:
    "The pool does not accept this secret. Check the payout address (checksum, not zero), the rig name and the pool's password; " +
    "an address may be locked to issued credentials, banned or revoked: the pool's page for it, or its operator, says which.",
  [registerText.zeroCapacity]: "The pool takes no worker with capacity 0: set the number of sessions to 1 or more.",
};

/** A registration that lasted this long was good: the next failure starts with a short delay again. */
const GOOD_AFTER_MS = 5_000;
const DIAL_TIMEOUT_MS = 10_000;

/** Stays registered with the pool: reconnects with jitter for as long as it is wanted. */
export function openPoolLink(
  options: { readonly pool: HostPort } & Pick<DialOptions, "certSha256">,
  request: RegisterRequest,
  deps: PoolLinkDeps,
): PoolLink {
  const { clock, logger } = deps;
  const controller = new AbortController();
  const { signal } = controller;
  const backoff = createBackoff({ initialMs: 300, factor: 1.7, maxMs: 30_000, jitter: 0.5 });
  let state: LinkState = { state: "connecting" };
  let dialled: Dialled | undefined;
  let registration: Registration | undefined;
  let leaving = false;
  let wake = (): void => {};

  const pause = (delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      const forget = clock.after(delayMs, resolve);
      wake = () => {
        forget();
        resolve();
      };
    });

  /** One connection's life; what to say about its end. */
  const once = async (): Promise<{ readonly text: string; readonly good: boolean; readonly final: boolean }> => {
    state = { state: "connecting" };
    try {
      dialled = await dialOrchestrator(
        options.pool,
        { timeoutMs: DIAL_TIMEOUT_MS, signal, certSha256: options.certSha256 },
        clock,
      );
    } catch (error) {
      return { text: errorText(error), good: false, final: false };
    }
    let sinceMs: number | undefined;
    let worked = false;
    const opened = dialled;
    const end = await new Promise<RegistrationEnd>((resolve) => {
      registration = register(
        opened,
        request,
        {
          onTaken() {
            sinceMs = clock.monotonicMs();
            state = { state: "registered", sinceMs: clock.now() };
            logger.info("registered with the pool", { pool: options.pool, capacity: Number(request.capacity) });
            deps.onRegistered?.(opened.session);
          },
          onNotify(notify) {
            worked = true;
            deps.onNotify(notify);
          },
          onEnd: resolve,
        },
        clock,
      );
      if (leaving) registration.drain();
    });
    registration = undefined;
    const good = worked || (sinceMs !== undefined && clock.monotonicMs() - sinceMs >= GOOD_AFTER_MS);
    return { text: end.text, good, final: end.text in advice };
  };

  const run = async (): Promise<LinkEnd> => {
    let failures = 0;
    for (;;) {
      if (signal.aborted || leaving) return { kind: "stopped" };
      const { text, good, final } = await once();
      if (signal.aborted || leaving) return { kind: "stopped" };
      if (final) {
        logger.error("the pool refuses this worker for good", { text });
        return { kind: "refused", text, advice: advice[text] ?? "" };
      }
      if (good) backoff.reset();
      failures = good ? 1 : failures + 1;
      const retryInMs = Math.round(backoff.next());
      state = { state: "waiting", retryInMs, why: text, failures };
      logger.warn("not connected to the pool, trying again", { why: text, retryInMs });
      await pause(retryInMs);
    }
  };
  const ended = run().finally(() => (state = { state: "stopped" }));

  const leave = (): void => {
    if (leaving) return;
    leaving = true;
    registration?.drain();
    wake();
  };
  return {
    get state() {
      return state;
    },
    ended,
    leave,
    async [Symbol.asyncDispose]() {
      leaving = true;
      controller.abort();
      wake();
      dialled?.session.destroy();
      await ended;
    },
  };
}
