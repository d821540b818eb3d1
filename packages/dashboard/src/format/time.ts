import { text } from "../text.tsx";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span in its two largest units: `2 d 6 h`, `3 h 40 min`, `12 s`. */
export function formatSpan(ms: number): string {
  const span = Math.max(0, ms);
  const { second, minute, hour, day } = text.units;
  if (span < MINUTE) return `${Math.floor(span / SECOND)} ${second}`;
  if (span < HOUR) return `${Math.floor(span / MINUTE)} ${minute}`;
  if (span < DAY) return two(Math.floor(span / HOUR), hour, Math.floor((span % HOUR) / MINUTE), minute);
  return two(Math.floor(span / DAY), day, Math.floor((span % DAY) / HOUR), hour);
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatter(kind: "day" | "date" | "time" | "clock", timeZone: string | undefined): Intl.DateTimeFormat {
  const key = `${kind}/${timeZone ?? ""}`;
  let format = formats.get(key);
  if (format === undefined) {
    const zone = timeZone === undefined ? {} : { timeZone };
    const options: Record<typeof kind, Intl.DateTimeFormatOptions> = {
      day: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
      date: { day: "numeric", month: "short", year: "numeric" },
      time: { hour: "2-digit", minute: "2-digit" },
      clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    };
    format = new Intl.DateTimeFormat(text.locale, { ...options[kind], hourCycle: "h23", ...zone });
    formats.set(key, format);
  }
  return format;
}

/** In the reader's own time unless a zone is named: `Mon, 17 Nov, 18:02` (`day`), `17 Nov 2025` (`date`), `18:02` (`time`), `18:02:11` (`clock`). */
export function formatLocal(at: number, kind: "day" | "date" | "time" | "clock" = "day", timeZone?: string): string {
  return formatter(kind, timeZone)
    .format(at)
    .replace(/^(\w{3}),? /, "$1 ");
}

/** For hovering over: `2026-11-21 18:02:11 UTC`. */
export function formatUtc(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Milliseconds since 1970 of an ISO time; undefined when it is none. */
export function parseTime(text: string | null | undefined): number | undefined {
  const at = text === null || text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}
