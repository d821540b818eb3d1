/** Time as the pool sees it; passed in, so that a test can stop it. */
export interface Clock {
  /** Wall clock, unix milliseconds. It may jump: only for what people and tokens read. */
  now(): number;
  /** Milliseconds that only grow: every deadline and latency is measured with these. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function forgets it. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    // setTimeout fires at once for delays beyond 2^31 - 1 ms.
    const timer: unknown = setTimeout(callback, Math.min(Math.max(0, delayMs), 2_147_483_647));
    // Node's timers have unref, a browser's are numbers.
    if (typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function") {
      timer.unref();
    }
    return () => clearTimeout(timer as Parameters<typeof clearTimeout>[0]);
  },
};

/** A clock that only moves when told to; for tests and simulations. */
export interface StoppedClock extends Clock {
  /** Moves time on, firing what falls due, in order. */
  advance(ms: number): void;
}

export function stoppedClock(start: number | string = 0): StoppedClock {
  const startMs = typeof start === "string" ? Date.parse(start) : start;
  let elapsedMs = 0;
  let nextId = 0;
  const timers = new Map<number, { readonly at: number; readonly callback: () => void }>();
  const nextDue = (until: number): number | undefined => {
    let due: number | undefined;
    for (const [id, timer] of timers) {
      if (timer.at <= until && (due === undefined || timer.at < timers.get(due)!.at)) due = id;
    }
    return due;
  };
  return {
    now: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    after(delayMs, callback) {
      const id = nextId++;
      timers.set(id, { at: elapsedMs + Math.max(0, delayMs), callback });
      return () => void timers.delete(id);
    },
    advance(ms) {
      const until = elapsedMs + ms;
      for (let id = nextDue(until); id !== undefined; id = nextDue(until)) {
        const timer = timers.get(id)!;
        timers.delete(id);
        elapsedMs = Math.max(elapsedMs, timer.at);
        timer.callback();
      }
      elapsedMs = until;
    },
  };
}
