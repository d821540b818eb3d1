import type { Clock } from "@openpool/base";

interface Stream {
  readonly key: string;
  /** Ids of the auth tokens under which it came. */
  readonly sessionIds: Set<string>;
  lastMs: number;
  inFlight: number;
  /** Some segment of it came back transcoded. */
  worked: boolean;
}

/** A gateway may take a new token for every segment of a stream that runs for days; the newest are enough. */
const MAX_SESSION_IDS = 64;

/**
 * The streams that are running now. A gateway changes its session id with each new token; a worker's encoder must not
 * be restarted for that, so the stream, not the session id, is what work is bound to.
 */
export class Sessions {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #onEnd: (key: string) => void;
  readonly #streams = new Map<string, Stream>();
  readonly #bySessionId = new Map<string, Stream>();

  constructor(clock: Clock, idleMs: number, onEnd: (key: string) => void) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#onEnd = onEnd;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** The stream that a session id belongs to from now on; returns its key. */
  of(sessionId: string, key: string): string {
    const known = this.#streams.get(key);
    const stream = known ?? { key, sessionIds: new Set<string>(), lastMs: 0, inFlight: 0, worked: false };
    this.#bySessionId.get(sessionId)?.sessionIds.delete(sessionId);
    stream.sessionIds.delete(sessionId);
    stream.sessionIds.add(sessionId);
    this.#bySessionId.set(sessionId, stream);
    if (stream.sessionIds.size > MAX_SESSION_IDS) {
      const [oldest] = stream.sessionIds;
      stream.sessionIds.delete(oldest!);
      this.#bySessionId.delete(oldest!);
    }
    stream.lastMs = this.#clock.monotonicMs();
    // Map order is the order of last use: what idles longest is found first.
    this.#streams.delete(key);
    this.#streams.set(key, stream);
    return key;
  }

  /** The key of the stream that runs under this session id now. */
  keyOf(sessionId: string): string | undefined {
    return this.#bySessionId.get(sessionId)?.key;
  }

  /** Whether the stream with this key runs now. */
  has(key: string): boolean {
    return this.#streams.has(key);
  }

  /** Whether a stream runs under this session id now. */
  knows(sessionId: string): boolean {
    return this.#bySessionId.has(sessionId);
  }

  enter(key: string): void {
    const stream = this.#streams.get(key);
    if (stream) stream.inFlight++;
  }

  /**
   * A segment of the stream is over; `worked`: it was transcoded. A stream of which nothing ever was is forgotten at
   * once: names that cost nothing must not fill the pool.
   */
  leave(key: string, worked: boolean): void {
    const stream = this.#streams.get(key);
    if (!stream) return;
    stream.inFlight--;
    stream.worked ||= worked;
    stream.lastMs = this.#clock.monotonicMs();
    // Its end may have been said while its last segment was being answered.
    const over = !stream.worked || stream.sessionIds.size === 0;
    if (over && stream.inFlight === 0) this.#drop(stream);
  }

  /** The gateway is done with a session id; a stream ends with its last one. Ids that nobody knows are fine. */
  end(sessionId: string): void {
    const stream = this.#bySessionId.get(sessionId);
    if (!stream) return;
    this.#bySessionId.delete(sessionId);
    stream.sessionIds.delete(sessionId);
    if (stream.sessionIds.size === 0 && stream.inFlight === 0) this.#drop(stream);
  }

  /** Ends streams that have been silent for too long; with arguments, some of them after a shorter silence. */
  expire(idleMs = this.#idleMs, which: (key: string, silentMs: number) => boolean = () => true): void {
    const now = this.#clock.monotonicMs();
    for (const stream of this.#streams.values()) {
      const silentMs = now - stream.lastMs;
      if (silentMs < idleMs) return;
      if (stream.inFlight === 0 && which(stream.key, silentMs)) this.#drop(stream);
    }
  }

  #drop(stream: Stream): void {
    this.#streams.delete(stream.key);
    for (const id of stream.sessionIds) this.#bySessionId.delete(id);
    this.#onEnd(stream.key);
  }
}
