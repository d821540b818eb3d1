/** How long a gateway waits; the pool's own deadlines are cut from these. */

/** A gateway gives up when the headers of the answer take longer: max(2 s, ½ × duration). */
export function headersTimeoutMs(durationMs: number): number {
  return Math.max(2_000, durationMs / 2);
}

/** A gateway, and an orchestrator waiting for its transcoder, gives up after max(8 s, 4 × duration). */
export function segmentTimeoutMs(durationMs: number): number {
  return Math.max(8_000, 4 * durationMs);
}

/** Total time of one download, body included: source by a transcoder, rendition by a gateway. */
export const DOWNLOAD_TIMEOUT_MS = 4_000;
/** A session without a segment for this long is over. */
export const SESSION_IDLE_MS = 70_000;
