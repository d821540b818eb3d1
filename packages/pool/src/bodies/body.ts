import type { Readable, Writable } from "node:stream";
import type { Clock } from "@openpool/base";
import type { BodyMemory, BodyPurpose } from "./body-memory.ts";

export type ReceiveFailure =
  /** More bytes than are allowed. */
  | "too-large"
  /** The sender left, or stalled, before the end. */
  | "incomplete"
  /** No memory became free in time. */
  | "no-memory";

/** Readers of a body that is still arriving get it in steps of this size. */
const READ_STEP_BYTES = 128 * 1024;
/** Most that is written at once: what is written is encrypted at once, and then lies in memory a second time. */
const WRITE_BYTES = 256 * 1024;

/**
 * One body in one buffer, filled in place while others may already read it. It lives while anyone holds it: whoever
 * needs the bytes calls `hold()` and later the function that it returned.
 */
export class Body {
  readonly #memory: BodyMemory;
  #buffer: Uint8Array<ArrayBuffer>;
  #received = 0;
  #toldBytes = 0;
  /** Bytes that readers may see: the last one is kept back until the sender of the body is proved right. */
  #readable = 0;
  #state: "receiving" | "received" | "confirmed" | "failed" = "receiving";
  #holders = 1;
  readonly #watchers = new Set<() => void>();
  /** Set when the length was announced; only such a body can be read before it is complete. */
  readonly announcedBytes: number | undefined;

  constructor(memory: BodyMemory, buffer: Uint8Array<ArrayBuffer>, announcedBytes: number | undefined) {
    this.#memory = memory;
    this.#buffer = buffer;
    this.announcedBytes = announcedBytes;
  }

  get state(): "receiving" | "received" | "confirmed" | "failed" {
    return this.#state;
  }

  /** The bytes so far; whole once received. Valid while held. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#received);
  }

  hold(): () => void {
    this.#holders++;
    let held = true;
    return () => {
      if (held) this.#drop();
      held = false;
    };
  }

  /** Ends the hold that the creator of a body has. */
  release(): void {
    this.#drop();
  }

  #drop(): void {
    if (--this.#holders === 0) this.#memory.release(this.#buffer);
  }

  /** Room for more, or the body is too large. Only for bodies of unannounced length. */
  grow(buffer: Uint8Array<ArrayBuffer>): void {
    buffer.set(this.bytes);
    this.#memory.release(this.#buffer);
    this.#buffer = buffer;
  }

  get capacity(): number {
    return this.announcedBytes ?? this.#buffer.length;
  }

  append(chunk: Uint8Array): void {
    this.#buffer.set(chunk, this.#received);
    this.#received += chunk.length;
    this.#readable = Math.max(0, this.#received - 1);
    // Each write to a reader costs a TLS record and a system call, whatever its size.
    if (this.#received - this.#toldBytes >= READ_STEP_BYTES) this.#tell();
  }

  end(): void {
    this.#state = "received";
    this.#tell();
  }

  /** The bytes are what they were promised to be: readers may have the last one. */
  confirm(): void {
    this.#state = "confirmed";
    this.#readable = this.#received;
    this.#tell();
  }

  fail(): void {
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#tell();
  }

  #tell(): void {
    this.#toldBytes = this.#received;
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Writes the body into `output` as far and as fast as it arrives, and ends it once it is confirmed. Resolves with
   * false when the body failed or the reader left first; `output` is then cut off by the caller, never ended.
   */
  async pipeTo(output: Writable): Promise<boolean> {
    const letGo = this.hold();
    let sent = 0;
    let wake = (): void => {};
    let closed = output.destroyed;
    const watcher = (): void => wake();
    this.#watchers.add(watcher);
    output.on("drain", watcher);
    output.once("close", () => {
      closed = true;
      wake();
    });
    try {
      for (;;) {
        if (closed || this.#state === "failed") return false;
        if (this.#readable > sent && !output.writableNeedDrain) {
          const chunk = this.#buffer.subarray(sent, Math.min(this.#readable, sent + WRITE_BYTES));
          sent += chunk.length;
          if (this.#state === "confirmed" && sent === this.#received) {
            output.end(chunk);
            break;
          }
          output.write(chunk);
        } else if (this.#state === "confirmed" && sent === this.#received && !output.writableNeedDrain) {
          output.end();
          break;
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
      // The buffer may be recycled only after the last byte left: wait for the close of the answer, not for its end.
      while (!closed) await new Promise<void>((resolve) => (wake = resolve));
      return output.writableFinished;
    } finally {
      this.#watchers.delete(watcher);
      output.off("drain", watcher);
      letGo();
    }
  }
}

export interface ReceiveOptions {
  readonly purpose: BodyPurpose;
  readonly announcedBytes: number | undefined;
  readonly maxBytes: number;
  /** Sees every chunk as it arrives. */
  readonly onChunk?: (chunk: Uint8Array) => void;
  /** Ends the waiting for memory and for bytes. */
  readonly signal: AbortSignal;
  /** How slowly it may arrive: memory that is held for a trickle is memory that others wait for. */
  readonly pace?: Pace | undefined;
}

export interface Pace {
  readonly clock: Clock;
  /** Without a byte for so long a body is given up, in milliseconds. */
  readonly stallMs: number;
  /**
   * A body must be here after this, in milliseconds, besides one stall, and an announced one must come at least so fast
   * all the time.
   */
  readonly wholeMs: number;
}

/** A stall is that many looks in a row without a new byte: a pool that was busy itself does not mistake that for one. */
const LOOKS = 5;

/**
 * Calls back once when the bytes come too slowly; returns how to stop. `received` answers undefined while the sender is
 * the one who waits: that time is not its own.
 */
function keepPace(
  pace: Pace,
  announcedBytes: number | undefined,
  received: () => number | undefined,
  tooSlow: () => void,
): () => void {
  const everyMs = pace.stallMs / LOOKS;
  let looks = 0;
  let idleLooks = 0;
  let before = 0;
  let stop = (): void => {};
  const look = (): void => {
    const now = received();
    if (now === undefined) return void (stop = pace.clock.after(everyMs, look));
    looks++;
    idleLooks = now > before ? 0 : idleLooks + 1;
    before = now;
    const dueShare = (looks * everyMs - pace.stallMs) / pace.wholeMs;
    if (idleLooks >= LOOKS || now < (announcedBytes ?? 0) * dueShare || dueShare >= 1) tooSlow();
    else stop = pace.clock.after(everyMs, look);
  };
  stop = pace.clock.after(everyMs, look);
  return () => stop();
}

/** What a Content-Length says; undefined when it is missing or no length. */
export function announcedLength(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

/** Makes the body for a request as soon as there is memory for it; filling it is `fillBody`. */
export async function openBody(memory: BodyMemory, options: ReceiveOptions): Promise<Body | ReceiveFailure> {
  if ((options.announcedBytes ?? 0) > options.maxBytes) return "too-large";
  const buffer = await memory.take(options.purpose, options.announcedBytes ?? 0, options.signal);
  return buffer ? new Body(memory, buffer, options.announcedBytes) : "no-memory";
}

/** Reads a request to its end into its body. The body is `received` after `undefined`, `failed` after anything else. */
export function fillBody(
  body: Body,
  source: Readable,
  memory: BodyMemory,
  options: ReceiveOptions,
): Promise<ReceiveFailure | undefined> {
  return new Promise((resolve) => {
    let done = false;
    let waitsForMemory = false;
    const finish = (failure: ReceiveFailure | undefined): void => {
      if (done) return;
      done = true;
      source.off("data", onData);
      source.off("end", onEnd);
      source.off("close", onClose);
      source.off("error", onClose);
      options.signal.removeEventListener("abort", onAbort);
      stopPace();
      if (failure) body.fail();
      else body.end();
      resolve(failure);
    };
    const take = (chunk: Uint8Array): void => {
      body.append(chunk);
      options.onChunk?.(chunk);
    };
    const onData = (chunk: Uint8Array): void => {
      const total = body.bytes.length + chunk.length;
      if (total <= body.capacity) return take(chunk);
      if (body.announcedBytes !== undefined || total > options.maxBytes) return finish("too-large");
      source.pause();
      waitsForMemory = true;
      void memory
        .take(options.purpose, Math.min(options.maxBytes, Math.max(2 * body.capacity, total)), options.signal)
        .then((larger) => {
          if (!larger || done) {
            if (larger) memory.release(larger);
            return finish("no-memory");
          }
          waitsForMemory = false;
          body.grow(larger);
          take(chunk);
          source.resume();
        });
    };
    const onEnd = (): void => {
      const short = body.announcedBytes !== undefined && body.bytes.length !== body.announcedBytes;
      finish(short ? "incomplete" : undefined);
    };
    const onClose = (): void => finish("incomplete");
    const onAbort = (): void => finish(waitsForMemory ? "no-memory" : "incomplete");
    const received = (): number | undefined => (waitsForMemory ? undefined : body.bytes.length);
    const stopPace = options.pace ? keepPace(options.pace, options.announcedBytes, received, onClose) : (): void => {};
    source.on("data", onData);
    source.once("end", onEnd);
    source.once("close", onClose);
    source.once("error", onClose);
    if (options.signal.aborted || source.destroyed) onClose();
    else options.signal.addEventListener("abort", onAbort, { once: true });
  });
}
