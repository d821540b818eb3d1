/** A bound on bytes held at once. Whoever wants more than is free waits, first come first served. */
export interface ByteBudget {
  /**
   * Waits until `bytes` are free, then takes them; undefined when `signal` ended the wait. More than the whole budget is
   * granted when nothing else is taken, so that nothing waits for ever.
   */
  take(bytes: number, signal: AbortSignal): Promise<(() => void) | undefined>;
  readonly takenBytes: number;
}

export function createByteBudget(maxBytes: number): ByteBudget {
  let takenBytes = 0;
  const waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  const fits = (bytes: number): boolean => takenBytes === 0 || takenBytes + bytes <= maxBytes;
  const wakeNext = (): void => {
    for (let next = waiting[0]; next && fits(next.bytes); next = waiting[0]) {
      waiting.shift();
      next.start();
    }
  };
  const grant = (bytes: number): (() => void) => {
    takenBytes += bytes;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      takenBytes -= bytes;
      wakeNext();
    };
  };
  return {
    take(bytes, signal) {
      if (signal.aborted) return Promise.resolve(undefined);
      if (waiting.length === 0 && fits(bytes)) return Promise.resolve(grant(bytes));
      return new Promise((resolve) => {
        const entry = {
          bytes,
          start() {
            signal.removeEventListener("abort", onAbort);
            resolve(grant(bytes));
          },
        };
        const onAbort = (): void => {
          waiting.splice(waiting.indexOf(entry), 1);
          resolve(undefined);
          wakeNext();
        };
        signal.addEventListener("abort", onAbort, { once: true });
        waiting.push(entry);
      });
    },
    get takenBytes() {
      return takenBytes;
    },
  };
}
