/**
 * The pool's one account of bytes in flight: sources while their job runs, uploads while their renditions wait to be
 * fetched. Buffers are recycled by size class, because a fresh megabyte per segment is a garbage collection per segment.
 */
export interface BodyMemory {
  /**
   * Waits for room, then hands out a buffer of at least `bytes`; undefined when `signal` aborts first, or when so much
   * waits already that the waiting itself would need too much memory.
   */
  take(purpose: BodyPurpose, bytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Gives a buffer back. Nobody may look at it any more. */
  release(buffer: Uint8Array<ArrayBuffer>): void;
  /** Called when somebody waits for room: free what is only kept for convenience. */
  onPressure: (() => void) | undefined;
  readonly bytesInUse: number;
  readonly limitBytes: number;
  /** Somebody waits for room, or little is left: no new sessions now. */
  readonly tight: boolean;
}

/**
 * A source is held until its result is in, so results must always find room that sources cannot take: otherwise a full
 * pool would wait for itself.
 */
export type BodyPurpose = "source" | "result";

/** Sources may fill this share of the limit. */
const SOURCE_SHARE = 0.7;
const CLASS_BYTES = 256 * 1024;
/** Idle buffers kept for the next segment, in all. */
const IDLE_BYTES = 24 << 20;

/** What a body that waits for room may have sent already: it lies in the windows of its connection. */
const WAITING_BYTES = 4 << 20;
/** The windows of all that wait may hold this share of the limit, besides it, and at least so much. */
const WAITING_SHARE = 0.25;
const WAITING_LEAST_BYTES = 16 << 20;

interface Request {
  readonly bytes: number;
  give(buffer: Uint8Array<ArrayBuffer> | undefined): void;
}

function sizeClass(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / CLASS_BYTES)) * CLASS_BYTES;
}

export function createBodyMemory(limitBytes: number): BodyMemory {
  const idle = new Map<number, Uint8Array<ArrayBuffer>[]>();
  const waiting: Record<BodyPurpose, Request[]> = { source: [], result: [] };
  let idleBytes = 0;
  let bytesInUse = 0;
  let waitingBytes = 0;

  const fits = (purpose: BodyPurpose, bytes: number): boolean =>
    bytesInUse + bytes <= limitBytes * (purpose === "source" ? SOURCE_SHARE : 1) || bytesInUse === 0;
  /** Undefined: the system has no memory for it, whatever our own limit says. */
  const allocate = (bytes: number): Uint8Array<ArrayBuffer> | undefined => {
    let buffer = idle.get(bytes)?.pop();
    if (buffer) idleBytes -= bytes;
    else {
      try {
        buffer = new Uint8Array(new ArrayBuffer(bytes));
      } catch {
        return undefined;
      }
    }
    bytesInUse += bytes;
    return buffer;
  };
  const serve = (): void => {
    for (const purpose of ["result", "source"] as const) {
      const queue = waiting[purpose];
      for (let next = queue[0]; next && fits(purpose, next.bytes); next = queue[0]) {
        queue.shift();
        next.give(allocate(next.bytes));
      }
    }
  };

  const memory: BodyMemory = {
    onPressure: undefined,
    limitBytes,
    get bytesInUse() {
      return bytesInUse;
    },
    get tight() {
      return waiting.source.length > 0 || waiting.result.length > 0 || bytesInUse > limitBytes * SOURCE_SHARE * 0.9;
    },
    async take(purpose, bytes, signal) {
      if (signal.aborted) return undefined;
      const size = sizeClass(bytes);
      const queue = waiting[purpose];
      if (queue.length === 0) {
        if (!fits(purpose, size)) memory.onPressure?.();
        if (fits(purpose, size)) return allocate(size);
      }
      const windowBytes = Math.min(size, WAITING_BYTES);
      if (waitingBytes + windowBytes > Math.max(limitBytes * WAITING_SHARE, WAITING_LEAST_BYTES)) return undefined;
      waitingBytes += windowBytes;
      return new Promise((resolve) => {
        const request: Request = {
          bytes: size,
          give(buffer) {
            waitingBytes -= windowBytes;
            signal.removeEventListener("abort", leave);
            resolve(buffer);
          },
        };
        const leave = (): void => {
          queue.splice(queue.indexOf(request), 1);
          request.give(undefined);
          serve();
        };
        signal.addEventListener("abort", leave, { once: true });
        queue.push(request);
      });
    },
    release(buffer) {
      bytesInUse -= buffer.length;
      if (idleBytes + buffer.length <= IDLE_BYTES) {
        const list = idle.get(buffer.length);
        if (list) list.push(buffer);
        else idle.set(buffer.length, [buffer]);
        idleBytes += buffer.length;
      }
      serve();
    },
  };
  return memory;
}
