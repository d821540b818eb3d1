export interface LatencySummary {
  /** In whole milliseconds; 0 when nothing was measured. */
  readonly p50: number;
  readonly p99: number;
}

/** The median and the slowest one in a hundred, by nearest rank. */
export function latencySummary(latenciesMs: readonly number[]): LatencySummary {
  const sorted = [...latenciesMs].sort((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0);
  return { p50: at(0.5), p99: at(0.99) };
}
