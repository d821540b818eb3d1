import { useSyncExternalStore } from "react";

/** One clock for the whole page: everything that says "3 s ago" moves on together, once a second. */
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const one of listeners) one();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The time, in milliseconds since 1970; the component is drawn again every second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}
