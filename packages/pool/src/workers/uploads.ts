import { addressGroup, type Clock } from "@openpool/base";

/** One upload that is arriving. */
export interface Upload {
  /** Aborts when its time is over, when it is not wanted any more, or when a newer one took its place. */
  readonly signal: AbortSignal;
  /** A newer one took its place: whatever became of this one says nothing about the worker. */
  readonly replaced: boolean;
  abort(): void;
  /** It is over, however it ended. */
  end(): void;
}

/**
 * What workers are uploading now. Of one thing there is one upload at a time: a newer one takes its place, since a client
 * that lost its connection sends again before we know. All that one address sends at once has an end, so that nobody holds
 * the memory that the results of others need.
 */
export class Uploads {
  readonly #clock: Clock;
  readonly #mostBytesOfOne: number;
  readonly #byKey = new Map<string, Upload & { replace(): void }>();
  readonly #bytesOf = new Map<string, number>();

  /** `mostBytesOfOne`: what one address may have on its way at once, beyond a single upload. */
  constructor(options: { readonly mostBytesOfOne: number }, deps: { readonly clock: Clock }) {
    this.#mostBytesOfOne = options.mostBytesOfOne;
    this.#clock = deps.clock;
  }

  /** Begins an upload of at most `bytes`; undefined: its address has too much on its way already. */
  begin(wanted: {
    readonly key: string;
    readonly peer: string;
    readonly bytes: number;
    readonly withinMs: number;
  }): Upload | undefined {
    const { key, bytes, withinMs } = wanted;
    this.#byKey.get(key)?.replace();
    const group = addressGroup(wanted.peer);
    const others = this.#bytesOf.get(group) ?? 0;
    if (others > 0 && others + bytes > this.#mostBytesOfOne) return undefined;
    this.#bytesOf.set(group, others + bytes);
    const ended = new AbortController();
    const cancelTimeout = this.#clock.after(withinMs, () => ended.abort());
    let replaced = false;
    let over = false;
    const upload = {
      signal: ended.signal,
      get replaced() {
        return replaced;
      },
      abort: () => ended.abort(),
      replace() {
        replaced = true;
        ended.abort();
        upload.end();
      },
      end: () => {
        if (over) return;
        over = true;
        cancelTimeout();
        if (this.#byKey.get(key) === upload) this.#byKey.delete(key);
        const left = (this.#bytesOf.get(group) ?? 0) - bytes;
        if (left > 0) this.#bytesOf.set(group, left);
        else this.#bytesOf.delete(group);
      },
    };
    this.#byKey.set(key, upload);
    return upload;
  }
}
