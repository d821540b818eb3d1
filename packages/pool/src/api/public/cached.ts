/**
 * Remembers what `make` made. Within `freshMs` it is given out as it is; later too, while a new one is made, so that
 * nobody waits but the very first, up to `staleMs`. What could not be made is asked for again by the next one.
 */
export interface Cached<T> {
  get(): Promise<T>;
}

export function cached<T>(
  clock: { monotonicMs(): number },
  { freshMs, staleMs }: { readonly freshMs: number; readonly staleMs: number },
  make: () => Promise<T>,
): Cached<T> {
  let kept: { readonly value: T; readonly atMs: number } | undefined;
  let making: Promise<T> | undefined;
  const renew = (): Promise<T> =>
    (making ??= make().then(
      (value) => {
        kept = { value, atMs: clock.monotonicMs() };
        making = undefined;
        return value;
      },
      (error: unknown) => {
        making = undefined;
        throw error;
      },
    ));
  return {
    async get() {
      const ageMs = kept === undefined ? Infinity : clock.monotonicMs() - kept.atMs;
      if (kept !== undefined && ageMs < freshMs) return kept.value;
      if (kept !== undefined && ageMs < staleMs) {
        renew().catch(() => {});
        return kept.value;
      }
      return renew();
    },
  };
}
