import type { EventQuery, StoredEvent } from "../../store/types.ts";
import { Digest, type Told, toldOf } from "./event-digest.ts";

type ReadEvents = (query: EventQuery) => Promise<readonly StoredEvent[]>;

/** Missed events that can always be told afterwards, read from the database if need be: some 15 MB of memory. */
export const KEPT_EVENTS = 20_000;
/** More than these are kept while they are not older than this, and at most so many: some 80 MB. */
const KEPT_MS = 60_000;
export const MOST_EVENTS = 100_000;
/** Events that are read at once. */
export const EVENTS_PAGE = 1_000;

/** Some events in a row, and what they add up to: who missed a hundred thousand is told a hundred sums. */
interface Chunk {
  readonly events: Told[];
  readonly digest: Digest;
}

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
  #chunks: Chunk[] = [];
  #size = 0;
  #filling: Promise<void> | undefined;

  constructor(read: ReadEvents) {
    this.#read = read;
  }

  /** Goes on to the newest position of the log, from where it was the last time if that is not too long ago. */
  async catchUp(head: bigint): Promise<void> {
    const never = this.#head === 0n;
    if (never || head < this.#head || head - this.#head > BigInt(EVENTS_PAGE)) {
      this.#chunks = [];
      this.#size = 0;
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

  /** Takes what {@link next} read, and adds up what of it is new: two may have asked at a time. */
  add(page: readonly StoredEvent[]): Digest {
    const fresh = new Digest();
    for (const event of page) {
      if (event.position <= this.#head) continue;
      const told = toldOf(event);
      fresh.add(told);
      let last = this.#chunks.at(-1);
      if (last === undefined || last.events.length >= EVENTS_PAGE) {
        last = { events: [], digest: new Digest() };
        this.#chunks.push(last);
      }
      last.events.push(told);
      last.digest.add(told);
      this.#size++;
      this.#head = told.position;
    }
    this.#drop();
    return fresh;
  }

  /** Whether what follows a position can be told, from memory or by {@link fill}. */
  reaches(after: bigint): boolean {
    return after <= this.#head && (this.has(after) || this.#head - after <= BigInt(KEPT_EVENTS));
  }

  /** Whether everything that follows a position is in memory. */
  has(after: bigint): boolean {
    return after >= this.#from;
  }

  /** What is known and follows this position; undefined where {@link fill} has to come first. */
  since(after: bigint): Digest | undefined {
    if (!this.has(after)) return undefined;
    const digest = new Digest();
    for (const chunk of this.#chunks) {
      if (chunk.digest.to <= after) continue;
      const [first] = chunk.events;
      if (first && first.position > after) digest.merge(chunk.digest);
      else for (const told of chunk.events) if (told.position > after) digest.add(told);
    }
    return digest;
  }

  /**
   * Reads what follows a position and is not in memory. Who asks meanwhile waits for the same reading, and may have to ask
   * again, if it was away for longer.
   */
  fill(after: bigint): Promise<void> {
    return (this.#filling ??= this.#fill(after).finally(() => (this.#filling = undefined)));
  }

  async #fill(after: bigint): Promise<void> {
    const until = this.#from;
    let at = after;
    const older: Chunk[] = [];
    while (at < until) {
      const page = await this.#read({ after: at, limit: EVENTS_PAGE });
      const events = page.filter((event) => event.position <= until).map(toldOf);
      const digest = new Digest();
      for (const told of events) digest.add(told);
      if (events.length > 0) older.push({ events, digest });
      // A part of the log that is gone is passed over.
      at = page.at(-1)?.position ?? until;
    }
    // More than are kept came in behind them meanwhile: these are too old.
    if (this.#from !== until) return;
    this.#chunks = [...older, ...this.#chunks];
    this.#size += older.reduce((sum, { events }) => sum + events.length, 0);
    this.#from = after;
    this.#drop();
  }

  #drop(): void {
    const newestMs = this.#chunks.at(-1)?.events.at(-1)?.atMs ?? 0;
    for (;;) {
      const [first] = this.#chunks;
      if (first === undefined || this.#size - first.events.length < KEPT_EVENTS) return;
      const isOld = (first.events.at(-1)?.atMs ?? 0) < newestMs - KEPT_MS;
      if (!isOld && this.#size <= MOST_EVENTS) return;
      this.#chunks.shift();
      this.#size -= first.events.length;
      this.#from = first.digest.to;
    }
  }
}
