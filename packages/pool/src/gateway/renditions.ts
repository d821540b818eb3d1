import type { Clock } from "@openpool/base";
import type { Exchange } from "../front/exchange.ts";
import { isDownload, sendBytes } from "../front/download.ts";
import type { Spool } from "../supervisor/spool.ts";

/** One downloadable thing of an answered job. */
export interface Rendition {
  readonly path: string;
  readonly data: Uint8Array;
  readonly contentType: string;
}

interface Answer {
  readonly key: string;
  readonly renditions: readonly Rendition[];
  readonly expiresMs: number;
  /** Paths nobody has fetched whole yet. */
  readonly unfetched: Set<string>;
  readonly release: () => void;
  /** Downloads under way, … */
  downloads: number;
  /** … and the spool while it copies: what must not be freed yet. */
  readers: number;
  gone: boolean;
}

/** Never fetched: kept this long. A gateway downloads right after the answer, within 4 s. */
const UNFETCHED_MS = 60_000;
/** A gateway begins to download as soon as it has its answer. */
const AWAITED_MS = 3_000;
/** No gateway waits longer than 4 s for a download: after this time an answer is kept for nobody. */
const GIVEN_UP_MS = 10_000;
/** Fetched whole: kept for a second look, as far as this many bytes go. */
const FETCHED_BYTES = 16 << 20;

/** What was answered and waits to be fetched. A rendition that is missing costs a gateway its whole process. */
export class Renditions {
  readonly #clock: Clock;
  readonly #answers = new Map<string, Answer>();
  readonly #byPath = new Map<string, { readonly answer: Answer; readonly rendition: Rendition }>();
  /** Answers that were fetched whole, oldest first. */
  readonly #fetched = new Map<string, Answer>();
  #fetchedBytes = 0;
  /** Copies of what is not fetched yet, for the process that comes after a crash of this one. */
  readonly #spool: Spool | undefined;

  constructor(clock: Clock, spool?: Spool) {
    this.#clock = clock;
    this.#spool = spool;
  }

  /** Answers that somebody may still be about to fetch: a gateway that has not come by now has left. */
  get awaited(): number {
    const sinceMs = this.#clock.monotonicMs() + UNFETCHED_MS - AWAITED_MS;
    let awaited = 0;
    for (const answer of this.#answers.values()) {
      if (!this.#fetched.has(answer.key) && (answer.expiresMs > sinceMs || answer.downloads > 0)) awaited++;
    }
    return awaited;
  }

  /** Publishes the renditions of one answer; `release` is called once, when none of their bytes is needed any more. */
  put(key: string, renditions: readonly Rendition[], release: () => void): void {
    const answer: Answer = {
      key,
      renditions,
      expiresMs: this.#clock.monotonicMs() + UNFETCHED_MS,
      unfetched: new Set(renditions.map((rendition) => rendition.path)),
      release,
      downloads: 0,
      readers: 0,
      gone: false,
    };
    this.#answers.set(key, answer);
    for (const rendition of renditions) this.#byPath.set(rendition.path, { answer, rendition });
    if (this.#spool) {
      answer.readers++;
      this.#spool.put(key, renditions, () => this.#leave(answer));
    }
  }

  /** One reader less; the last one of an answer that is gone frees it. */
  #leave(answer: Answer): void {
    answer.readers--;
    if (answer.gone && answer.readers === 0) answer.release();
  }

  /** Memory is short: drops what is only kept for a second look, and what no gateway waits for any more. */
  trim(): void {
    this.#trimFetched(0);
    this.#expireBefore(this.#clock.monotonicMs() + UNFETCHED_MS - GIVEN_UP_MS);
  }

  /** Drops what nobody came for. */
  expire(): void {
    this.#expireBefore(this.#clock.monotonicMs());
  }

  #trimFetched(keepBytes: number): void {
    for (const answer of this.#fetched.values()) {
      if (this.#fetchedBytes <= keepBytes) return;
      this.#drop(answer);
    }
  }

  /** Answers are in the order of their expiry. */
  #expireBefore(untilMs: number): void {
    for (const answer of this.#answers.values()) {
      if (answer.expiresMs > untilMs) return;
      this.#drop(answer);
    }
  }

  #bytes(answer: Answer): number {
    return answer.renditions.reduce((sum, rendition) => sum + rendition.data.length, 0);
  }

  #drop(answer: Answer): void {
    if (!this.#answers.delete(answer.key)) return;
    if (this.#fetched.delete(answer.key)) this.#fetchedBytes -= this.#bytes(answer);
    else this.#spool?.drop(answer.key);
    for (const rendition of answer.renditions) this.#byPath.delete(rendition.path);
    answer.gone = true;
    if (answer.readers === 0) answer.release();
  }

  /** Whether the path is one of ours; then the request is answered. */
  serve(path: string, exchange: Exchange): boolean {
    const found = this.#byPath.get(path);
    if (!found) return false;
    if (!isDownload(exchange)) return true;
    const { answer, rendition } = found;
    answer.readers++;
    answer.downloads++;
    exchange.onClose((complete) => {
      answer.downloads--;
      if (complete && exchange.method === "GET" && exchange.header("range") === undefined)
        answer.unfetched.delete(path);
      if (!answer.gone && answer.unfetched.size === 0 && !this.#fetched.has(answer.key)) {
        this.#spool?.drop(answer.key);
        this.#fetched.set(answer.key, answer);
        this.#fetchedBytes += this.#bytes(answer);
        this.#trimFetched(FETCHED_BYTES);
      }
      this.#leave(answer);
    });
    sendBytes(exchange, rendition.data, rendition.contentType);
    return true;
  }
}
