import { type Clock, feeWei } from "@openpool/base";
import { SESSION_IDLE_MS } from "@openpool/protocol";
import type { Job, JobOutcome } from "./job.ts";

/** What one sender of segments asked for and was charged since this process started. */
export interface SenderDemand {
  /** A gateway's Ethereum address, else the host it comes from; `upstream:NAME` for an orchestrator that we work for. */
  readonly sender: string;
  /** Streams that had a segment in the last 70 s. */
  readonly streams: number;
  readonly answered: number;
  readonly lost: number;
  readonly abandoned: number;
  /** Of video, answered. */
  readonly sourceMs: number;
  readonly pixels: bigint;
  /** What the answered segments come to. */
  readonly feeWei: bigint;
  /** Unix ms. */
  readonly lastSeenMs: number;
}

interface Counts extends Omit<SenderDemand, "sender" | "streams"> {
  /** When each stream last had a segment, monotonic ms; the longest silent first. */
  readonly streams: Map<string, number>;
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/** Hosts cost nothing: beyond so many the one that was silent longest is forgotten, and of one beyond so many its streams. */
const MOST_SENDERS = 1_000;
const MOST_STREAMS = 1_000;

/** Who sends work, and how much: for the operator, never for the public. */
export class Demand {
  readonly #clock: Clock;
  /** The longest silent first. */
  readonly #senders = new Map<string, Writable<Counts>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  jobEnded({ job, outcome }: { readonly job: Job; readonly outcome: JobOutcome }): void {
    const counts = this.#senders.get(job.sender) ?? {
      streams: new Map<string, number>(),
      answered: 0,
      lost: 0,
      abandoned: 0,
      sourceMs: 0,
      pixels: 0n,
      feeWei: 0n,
      lastSeenMs: 0,
    };
    touch(this.#senders, job.sender, counts, MOST_SENDERS);
    touch(counts.streams, job.session, this.#clock.monotonicMs(), MOST_STREAMS);
    counts.lastSeenMs = this.#clock.now();
    if (outcome.kind === "failed") counts.lost++;
    if (outcome.kind === "abandoned") counts.abandoned++;
    if (outcome.kind !== "done") return;
    const pixels = outcome.renditions.reduce((sum, one) => sum + one.pixels, 0n);
    counts.answered++;
    counts.sourceMs += job.durationMs;
    counts.pixels += pixels;
    counts.feeWei += feeWei(pixels, job.price);
  }

  /** Those that were heard of last first. */
  list(): SenderDemand[] {
    const silentSince = this.#clock.monotonicMs() - SESSION_IDLE_MS;
    const all = [...this.#senders].map(([sender, { streams, ...counts }]) => ({
      sender,
      ...counts,
      streams: [...streams.values()].filter((atMs) => atMs >= silentSince).length,
    }));
    return all.toReversed();
  }
}

/** Sets a key as the newest of all; beyond `most` the oldest goes. */
function touch<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
