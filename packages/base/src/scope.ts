/** Owns what was started. Disposing aborts `signal`, then closes newest first, once, and goes on if a close fails. */
export interface Scope extends AsyncDisposable {
  readonly signal: AbortSignal;
  /** Takes ownership of a resource and gives it back. */
  use<T extends AsyncDisposable>(resource: T): T;
  /** Registers a step of closing. */
  defer(close: () => void | Promise<void>): void;
}

export function openScope(): Scope {
  const controller = new AbortController();
  const closers: (() => void | Promise<void>)[] = [];
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    controller.abort();
    const errors: unknown[] = [];
    for (let step = closers.pop(); step; step = closers.pop()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, "several things failed to close");
  };
  return {
    signal: controller.signal,
    use(resource) {
      closers.push(async () => {
        await resource[Symbol.asyncDispose]();
      });
      return resource;
    },
    defer(step) {
      closers.push(step);
    },
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}
