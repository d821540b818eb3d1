const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * When a credit is released: after the hold time, up to the next whole second; of holds of an hour and more up to the
 * next minute, of a day and more to the next ten. So what a worker earned in that while is released at once, as one amount.
 * Without a hold time at once.
 */
export function releaseAtMs(atMs: number, holdMs: number): number {
  if (holdMs === 0) return atMs;
  const step = holdMs < HOUR_MS ? SECOND_MS : holdMs < 24 * HOUR_MS ? MINUTE_MS : 10 * MINUTE_MS;
  return Math.ceil((atMs + holdMs) / step) * step;
}
