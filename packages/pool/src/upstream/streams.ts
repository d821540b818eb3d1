import { createHash } from "node:crypto";
import type { Clock } from "@openpool/base";
import { SESSION_IDLE_MS } from "@openpool/protocol";
import { Sessions } from "../jobs/sessions.ts";
import { MostLately } from "./most-lately.ts";
import type { NotifiedBy } from "./part.ts";
import type { Quote } from "./price.ts";
import type { Task } from "./task.ts";

/**
 * Live streams come again much sooner. An orchestrator tells of a session's end only where it sent the last segment: of one
 * that ended when that registration was gone nothing is ever heard.
 */
const MOVED_IDLE_MS = 10_000;
/** Those of long segments come again when so many of them would have. */
const MOVED_IDLE_SEGMENTS = 3;
/** Over which the most sessions at once are remembered: who ends one stream and begins the next still has its place. */
const PEAK_WINDOW_MS = 5_000;
/** A stream whose session id changed goes on with one of the next segments. */
const MAX_SEQ_STEP = 4n;

interface Stream {
  readonly manifest: string;
  /** As it was when the stream began: a change of price applies from the next one. */
  readonly quote: Quote;
  lastSeq: bigint;
  /** Of its last task. */
  durationMs: number;
  /** The registration that its last task came on: the orchestrator sends the next one there too, and says there that it ended. */
  on: NotifiedBy;
}

/** The streams of one orchestrator that run now. */
export class Streams {
  readonly #source: string;
  readonly #onEnd: (key: string) => void;
  readonly #sessions: Sessions;
  readonly #streams = new Map<string, Stream>();
  /** The newest stream of each manifest id that one began with. */
  readonly #byManifest = new Map<string, string>();
  readonly #peak: MostLately;

  /** @param source names the orchestrator: two of them may use one session id. */
  constructor(source: string, clock: Clock, onEnd: (key: string) => void) {
    this.#source = source;
    this.#onEnd = onEnd;
    this.#peak = new MostLately(clock, PEAK_WINDOW_MS);
    this.#sessions = new Sessions(clock, SESSION_IDLE_MS, (key) => this.#ended(key));
  }

  get count(): number {
    return this.#sessions.count;
  }

  /** The most at once in the last seconds: an orchestrator may have bound another one in the place of one that ended. */
  get countLately(): number {
    return this.#peak.most;
  }

  /** Those whose last task came on such a registration. */
  countOn(which: (registration: NotifiedBy) => boolean): number {
    let count = 0;
    for (const { on } of this.#streams.values()) count += which(on) ? 1 : 0;
    return count;
  }

  /**
   * The stream of a task. A gateway that takes a new auth token sends the same stream under a new session id; the worker's
   * encoder must not be restarted for that. But two gateways may well use one manifest id: only a stream that goes on
   * where the other stopped is the same. One that begins does so at `quote`.
   */
  of(task: Task, on: NotifiedBy, quote: Quote): string {
    const manifest = createHash("sha256").update(task.manifestId).digest("hex").slice(0, 24);
    const sessionId = task.sessionId === "" ? `manifest ${manifest}` : task.sessionId;
    let key = this.#sessions.keyOf(sessionId);
    if (key === undefined) {
      const candidate = this.#byManifest.get(manifest);
      const step = task.seq - (this.#streams.get(candidate ?? "")?.lastSeq ?? task.seq);
      key = candidate !== undefined && step > 0n && step <= MAX_SEQ_STEP ? candidate : undefined;
    }
    key ??= createHash("sha256").update(this.#source).update("\0").update(sessionId).digest("hex").slice(0, 24);
    const known = this.#streams.get(key);
    if (known) {
      known.on = on;
      known.durationMs = task.durationMs;
      known.lastSeq = task.seq > known.lastSeq ? task.seq : known.lastSeq;
    } else this.#streams.set(key, { manifest, quote, lastSeq: task.seq, durationMs: task.durationMs, on });
    // One each: a session that goes on under ever new ids must not be remembered under all of them.
    this.#byManifest.set(known?.manifest ?? manifest, key);
    const session = this.#sessions.of(sessionId, key);
    this.#peak.current = this.count;
    return session;
  }

  /** What a stream pays; undefined: it has ended. */
  quoteOf(key: string): Quote | undefined {
    return this.#streams.get(key)?.quote;
  }

  /** A task of the stream begins, and is over; `worked`: it was transcoded. */
  enter(key: string): void {
    this.#sessions.enter(key);
  }

  leave(key: string, worked: boolean): void {
    this.#sessions.leave(key, worked);
  }

  /** The orchestrator says that a session is over. */
  end(sessionId: string): void {
    this.#sessions.end(sessionId);
  }

  /** Ends those that have been silent for too long; `registered`: then those sooner that had to move. Call it every now and then. */
  expire(registered: boolean): void {
    this.#sessions.expire();
    if (!registered) return;
    this.#sessions.expire(MOVED_IDLE_MS, (key, silentMs) => {
      const stream = this.#streams.get(key);
      return stream?.on.gone === true && silentMs >= MOVED_IDLE_SEGMENTS * stream.durationMs;
    });
  }

  #ended(key: string): void {
    const stream = this.#streams.get(key);
    if (stream && this.#byManifest.get(stream.manifest) === key) this.#byManifest.delete(stream.manifest);
    this.#streams.delete(key);
    this.#peak.current = this.count;
    this.#onEnd(key);
  }
}
