import { type Clock, systemClock } from "@openpool/base";

/**
 * That of a gateway which waits twenty times as long as one does: on a machine that is busy, and on one event loop with all
 * others, what it would give up for is no fault of theirs. `atOnceMs`: what it waits for so long it gives up at once.
 */
export function patientClock(atOnceMs?: number): Clock {
  return {
    ...systemClock,
    after: (delayMs, callback) => systemClock.after(delayMs === atOnceMs ? 50 : 20 * delayMs, callback),
  };
}
