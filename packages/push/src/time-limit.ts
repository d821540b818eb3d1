import type { Clock } from "@openpool/base";

/** A signal that fires when a time has passed by the clock that one was given; disposed of before that, it never does. */
export function timeLimit(clock: Clock, ms: number): Disposable & { readonly signal: AbortSignal } {
  const limit = new AbortController();
  const cancel = clock.after(ms, () => limit.abort());
  return { signal: limit.signal, [Symbol.dispose]: () => cancel() };
}
