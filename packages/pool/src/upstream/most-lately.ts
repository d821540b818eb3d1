import type { Clock } from "@openpool/base";

/** The most that something was in the last `windowMs`, or up to twice as long ago. */
export class MostLately {
  readonly #clock: Clock;
  readonly #windowMs: number;
  #current = 0;
  /** In the window that runs, and in the one before it. */
  #most = 0;
  #before = 0;
  #sinceMs: number;

  constructor(clock: Clock, windowMs: number) {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#sinceMs = clock.monotonicMs();
  }

  /** What it is from now on. */
  set current(current: number) {
    this.#turn();
    this.#current = current;
    this.#most = Math.max(this.#most, current);
  }

  get most(): number {
    this.#turn();
    return Math.max(this.#most, this.#before);
  }

  #turn(): void {
    const windows = Math.floor((this.#clock.monotonicMs() - this.#sinceMs) / this.#windowMs);
    if (windows < 1) return;
    this.#before = windows === 1 ? this.#most : this.#current;
    this.#most = this.#current;
    this.#sinceMs += windows * this.#windowMs;
  }
}
