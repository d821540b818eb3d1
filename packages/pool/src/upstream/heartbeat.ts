import type { Clock } from "@openpool/base";

const BEAT_MS = 100;
/**
 * Whoever stood still for longer cannot know whether what it finds came at the beginning of that time, when it is too late for
 * it anyway, or at the end: then there is time left for it, if it is not taken away.
 */
const MOST_MS = 3_000;

/**
 * Says when what is read now came at the earliest. Who waits for an answer counts from when it asked, and a process that
 * stood still finds in its sockets what came long ago.
 */
export interface Heartbeat extends AsyncDisposable {
  /**
   * Monotonic ms: when this process last went to look for what had come and found none of what it reads now. Not later than
   * that came, and about a tenth of a second too early.
   */
  arrivedMs(): number;
}

export function startHeartbeat(clock: Clock): Heartbeat {
  let lastMs = clock.monotonicMs();
  let forget = (): void => {};
  let pending: NodeJS.Immediate | undefined;
  const beat = (): void => {
    const nowMs = clock.monotonicMs();
    // A timer runs before sockets are read, an immediate after it: only what is read from then on came after this beat.
    pending = setImmediate(() => {
      lastMs = nowMs;
      forget = clock.after(BEAT_MS, beat);
    });
    pending.unref();
  };
  forget = clock.after(BEAT_MS, beat);
  return {
    arrivedMs: () => Math.max(lastMs, clock.monotonicMs() - MOST_MS),
    [Symbol.asyncDispose]() {
      forget();
      clearImmediate(pending);
      return Promise.resolve();
    },
  };
}
