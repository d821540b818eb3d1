import type { QuietHours } from "./types.ts";

const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;

const minutesOf = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));

function wallMinutes(atMs: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat("en", { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return minutesOf(parts.format(atMs).replace(/[^\d:]/g, ""));
}

/** When something may be said that is ready at `atMs`: then, or at the end of the quiet hours it falls in. Unix ms. */
export function afterQuietHours(quiet: QuietHours | undefined, atMs: number): number {
  if (!quiet || quiet.from === quiet.to) return atMs;
  const from = minutesOf(quiet.from);
  const length = (minutesOf(quiet.to) - from + DAY_MINUTES) % DAY_MINUTES;
  const into = (wallMinutes(atMs, quiet.timeZone) - from + DAY_MINUTES) % DAY_MINUTES;
  if (into >= length) return atMs;
  const end = Math.floor(atMs / MINUTE_MS) * MINUTE_MS + (length - into) * MINUTE_MS;
  // Where clocks were put back or forward meanwhile the end is an hour off: look again from there.
  const still = (wallMinutes(end, quiet.timeZone) - from + DAY_MINUTES) % DAY_MINUTES;
  return still < length ? end + (length - still) * MINUTE_MS : end;
}
