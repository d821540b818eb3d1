import { PTS_PER_SECOND, PTS_WRAP } from "./types.ts";

/** The smallest picture distance that is believed: 300 pictures a second. */
const SMALLEST_GAP = PTS_PER_SECOND / 300;
const JUMP = 10 * PTS_PER_SECOND;

/** Timestamps of one stream on one line, wraps taken out. */
export class Timeline {
  #last: number | undefined;

  /** Places a 33-bit timestamp next to the one before it. */
  unwrap(raw: number): number {
    if (this.#last === undefined) return (this.#last = raw);
    const ahead = (((raw - this.#last) % PTS_WRAP) + PTS_WRAP) % PTS_WRAP;
    this.#last += ahead >= PTS_WRAP / 2 ? ahead - PTS_WRAP : ahead;
    return this.#last;
  }
}

/** First, last, length and rate of a set of pictures. */
export interface Span {
  readonly firstPts: number | undefined;
  readonly lastPts: number | undefined;
  readonly durationMs: number;
  readonly fps: number | undefined;
}

/** `first` and `last` are the lowest and highest presentation time of `frames` pictures, in 90 kHz ticks. */
export function spanOf(
  first: number | undefined,
  last: number | undefined,
  frames: number,
  lengthTicks?: number,
): Span {
  if (first === undefined || last === undefined) {
    return { firstPts: undefined, lastPts: undefined, durationMs: 0, fps: undefined };
  }
  const ticks = Math.max(0, last - first);
  const step = frames > 1 ? ticks / (frames - 1) : 0;
  const base = ((first % PTS_WRAP) + PTS_WRAP) % PTS_WRAP;
  return {
    firstPts: base,
    lastPts: base + ticks,
    durationMs: (lengthTicks ?? ticks + step) / (PTS_PER_SECOND / 1000),
    fps: step > 0 ? PTS_PER_SECOND / step : undefined,
  };
}

export function isJump(from: number, to: number): boolean {
  return Math.abs(to - from) > JUMP;
}

/** Marks the units that are followed by a longer gap than the shortest one: they may hold more than one picture. */
export function unusualGaps(times: readonly (number | undefined)[]): Uint8Array {
  let shortest = Infinity;
  for (let i = 1; i < times.length; i++) {
    const gap = (times[i] ?? Infinity) - (times[i - 1] ?? 0);
    if (gap >= SMALLEST_GAP && gap < shortest) shortest = gap;
  }
  const marked = new Uint8Array(times.length);
  for (let i = 0; i < times.length; i++) {
    const here = times[i];
    const next = times[i + 1];
    if (here === undefined || next === undefined || next - here > 1.7 * shortest) marked[i] = 1;
  }
  return marked;
}
