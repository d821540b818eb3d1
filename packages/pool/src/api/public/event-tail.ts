import type { EventQuery, StoredEvent } from "../../store/types.ts";

type ReadEvents = (query: EventQuery) => Promise<readonly StoredEvent[]>;

/** Missed events that can be told afterwards. */
export const TAIL_EVENTS = 5_000;
/** Events that are read at once. */
export const EVENTS_PAGE = 1_000;

/**
 * The newest events of the log, in memory. However many readers come back at once, what they missed is read from the
 * database once, a page at a time, and only when the first of them asks.
 */
export class EventTail {
  readonly #read: ReadEvents;
  /** Position of the newest event that is known. */
  #head = 0n;
  /** Everything after this position is in memory. */
  #from = 0n;
  #events: StoredEvent[] = [];
  #filling: Promise<void> | undefined;

  constructor(read: ReadEvents) {
    this.#read = read;
  }

  /** Goes on to the newest position of the log, from where it was the last time if that is not too long ago. */
  async catchUp(head: bigint): Promise<void> {
    const never = this.#head === 0n;
    if (never || head < this.#head || head - this.#head > BigInt(TAIL_EVENTS)) {
      this.#events = [];
      this.#head = head;
      this.#from = head;
    }
    while (this.#head < head) {
      const page = await this.next();
      if (page.length === 0) return;
      this.add(page);
    }
  }

  /** Reads on in the log; the events count as known once they are added. */
  next(): Promise<readonly StoredEvent[]> {
    return this.#read({ after: this.#head, limit: EVENTS_PAGE });
  }

  /** Takes what {@link next} read, and says what of it is new: two may have asked at a time. */
  add(page: readonly StoredEvent[]): readonly StoredEvent[] {
    const fresh = page.filter((event) => event.position > this.#head);
    this.#head = fresh.at(-1)?.position ?? this.#head;
    this.#events.push(...fresh);
    this.#drop();
    return fresh;
  }

  /** Whether what follows a position can be told, from memory or by {@link fill}. */
  reaches(after: bigint): boolean {
    return after <= this.#head && this.#head - after <= BigInt(TAIL_EVENTS);
  }

  /** Everything that is known and follows this position, oldest first; undefined where {@link fill} has to come first. */
  since(after: bigint): readonly StoredEvent[] | undefined {
    if (after < this.#from) return undefined;
    return this.#events.slice(this.#events.findLastIndex((event) => event.position <= after) + 1);
  }

  /** Reads what is missing of the newest events; who asks meanwhile waits for the same reading. */
  fill(): Promise<void> {
    return (this.#filling ??= this.#fill().finally(() => (this.#filling = undefined)));
  }

  async #fill(): Promise<void> {
    const until = this.#from;
    const oldest = this.#head - BigInt(TAIL_EVENTS);
    let at = oldest > 0n ? oldest : 0n;
    const from = at;
    const older: StoredEvent[] = [];
    while (at < until) {
      const page = await this.#read({ after: at, limit: EVENTS_PAGE });
      for (const event of page) if (event.position <= until) older.push(event);
      // A part of the log that is gone is passed over.
      at = page.at(-1)?.position ?? until;
    }
    // More than are kept came in behind them meanwhile: these are too old.
    if (this.#from !== until) return;
    this.#events = [...older, ...this.#events];
    this.#from = from;
    this.#drop();
  }

  #drop(): void {
    const excess = this.#events.length - TAIL_EVENTS;
    if (excess <= 0) return;
    this.#from = this.#events[excess - 1]?.position ?? this.#from;
    this.#events.splice(0, excess);
  }
}
