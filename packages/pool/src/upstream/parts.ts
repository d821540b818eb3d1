/**
 * Which registrations together make up what an orchestrator is offered. It binds each of its sessions to one of them; when that
 * one leaves, its sessions move with their next segment, and while the orchestrator is full, new ones can take their places.
 */

/** One of the registrations that are there. */
export interface PartLoad {
  readonly capacity: number;
  /** That it carries now. */
  readonly sessions: number;
  /** It was made with the capabilities and the version that are wanted now. */
  readonly fits: boolean;
}

/** What leads to the wanted capacity. */
export interface PartsPlan<Part> {
  /** Of one more registration, which comes before those leave; 0: none. */
  readonly openCapacity: number;
  readonly leave: readonly Part[];
}

/** At most so many at once: each is a connection, and a line in the orchestrator's log and pages. */
export const MAX_PARTS = 8;

/**
 * Of all ways to offer that capacity with one more registration at most, the one that moves the fewest sessions, and then the
 * one that leaves the fewest registrations. So growth adds one for the difference, and a loss of places costs those first that
 * nobody uses. While nothing runs one is enough.
 */
export function planParts<Part extends PartLoad>(parts: readonly Part[], capacity: number): PartsPlan<Part> {
  const running = parts.some(({ sessions }) => sessions > 0);
  const isSettled = parts.every(({ fits }) => fits) && sum(parts, "capacity") === capacity;
  if (isSettled && (running || parts.length <= 1)) return { openCapacity: 0, leave: [] };
  let kept: readonly Part[] = [];
  if (running) {
    for (const some of subsets(parts.filter(({ fits }) => fits))) {
      const missing = capacity - sum(some, "capacity");
      if (missing < 0 || some.length + (missing > 0 ? 1 : 0) > MAX_PARTS) continue;
      const more = sum(some, "sessions") - sum(kept, "sessions");
      if (more > 0 || (more === 0 && some.length > kept.length)) kept = some;
    }
  }
  return {
    openCapacity: capacity - sum(kept, "capacity"),
    leave: parts.filter((part) => !kept.includes(part)),
  };
}

function sum(parts: readonly PartLoad[], what: "capacity" | "sessions"): number {
  return parts.reduce((total, part) => total + part[what], 0);
}

function subsets<T>(all: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: 2 ** all.length }, (_, chosen) => all.filter((_one, i) => (chosen >> i) % 2 === 1));
}
