const SLOT_MS = 5 * 60_000;
const SLOTS = 12;

/** How often something happened in the last hour, give or take five minutes, in a few bytes. */
export class HourCount {
  readonly #slots = new Uint32Array(SLOTS);
  #newest = 0;

  add(nowMs: number, times = 1): void {
    this.#advance(nowMs);
    this.#slots[this.#newest % SLOTS]! += times;
  }

  sum(nowMs: number): number {
    this.#advance(nowMs);
    return this.#slots.reduce((sum, slot) => sum + slot, 0);
  }

  #advance(nowMs: number): void {
    const now = Math.floor(nowMs / SLOT_MS);
    for (let slot = Math.max(this.#newest + 1, now - SLOTS + 1); slot <= now; slot++) this.#slots[slot % SLOTS] = 0;
    this.#newest = Math.max(this.#newest, now);
  }
}
