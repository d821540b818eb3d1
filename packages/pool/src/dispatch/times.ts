const KEPT = 32;
/** Weight of the newest sample in the mean once there are enough of them. */
const WEIGHT = 0.15;

/**
 * How long one kind of work takes, as time per time of source (0.5: twice real time). The mean follows the newest
 * samples; quantiles are exact over the last 32.
 */
export class Times {
  #mean = 0;
  #count = 0;
  readonly #ring: number[] = [];
  readonly #sorted: number[] = [];

  /** Samples seen in all. */
  get count(): number {
    return this.#count;
  }

  get mean(): number {
    return this.#mean;
  }

  add(cost: number): void {
    const slot = this.#count % KEPT;
    const old = this.#ring[slot];
    if (old !== undefined) this.#sorted.splice(this.#position(old), 1);
    this.#ring[slot] = cost;
    this.#sorted.splice(this.#position(cost), 0, cost);
    this.#count++;
    this.#mean += (cost - this.#mean) * Math.max(WEIGHT, 1 / this.#count);
  }

  /** The cost that this share of the kept samples does not exceed; 0 without samples. */
  quantile(share: number): number {
    const { length } = this.#sorted;
    if (length === 0) return 0;
    return this.#sorted[Math.min(length - 1, Math.ceil(share * length) - 1)] ?? this.#sorted[0]!;
  }

  /** The kept samples, oldest first. */
  samples(): number[] {
    const start = this.#count % KEPT;
    return this.#count <= KEPT ? [...this.#ring] : [...this.#ring.slice(start), ...this.#ring.slice(0, start)];
  }

  /** The first index whose sample is not smaller. */
  #position(cost: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! < cost) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Times by kind of work. Gateways choose the kinds, so only the most recently used ones are kept. */
export class TimesByKind {
  readonly #limit: number;
  readonly #kinds = new Map<string, Times>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(kind: string): Times | undefined {
    return this.#kinds.get(kind);
  }

  add(kind: string, cost: number): void {
    let times = this.#kinds.get(kind);
    if (times === undefined) {
      times = new Times();
      const [oldest] = this.#kinds.keys();
      if (oldest !== undefined && this.#kinds.size >= this.#limit) this.#kinds.delete(oldest);
    } else {
      this.#kinds.delete(kind);
    }
    this.#kinds.set(kind, times);
    times.add(cost);
  }

  /** The most recently used last. */
  entries(): IterableIterator<[string, Times]> {
    return this.#kinds.entries();
  }
}
