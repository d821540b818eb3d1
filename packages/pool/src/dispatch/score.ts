import type { Standing } from "./types.ts";

/**
 * Reasons to prefer another connection, worst last. A connection's sum of them comes before its speed: one without any
 * is always preferred, and one with all of them still beats losing a segment.
 */
const PROBATION = 1;
export const SILENT = 2;
/** Takes the place of an idle session: worse than a free place on probation, better than a barred rig. */
export const STEAL = 3;
export const BARRED = 8;
export const DRAINING = 16;
export const FAILED_IT = 32;

/** What speaks against a rig by its standing. */
export function standingDemerit(standing: Standing): number {
  return standing === "probation" ? PROBATION : standing === "barred" ? BARRED : 0;
}

/**
 * A segment done within this share of its duration is done at once for whoever watches: among rigs that fast the work is
 * spread by load, or the one that is a millisecond ahead of its equals would get it all.
 */
const FAST_ENOUGH = 0.1;

/** What is known of a connection and a piece of work. */
export interface Weighed {
  readonly expectedMs: number;
  /** Of the source. */
  readonly durationMs: number;
  readonly sessions: number;
  readonly capacity: number;
  /** 0 to 1: how reliable the rig has been lately. */
  readonly health: number;
}

/** How connections with the same demerits compare: by expected time, load and reliability. Less is better. */
export function weigh({ expectedMs, durationMs, sessions, capacity, health }: Weighed): number {
  const load = 1 + (0.5 * sessions) / Math.max(1, capacity);
  return (Math.max(expectedMs, FAST_ENOUGH * durationMs) * load) / Math.max(0.1, health);
}
