/**
 * The pool's one account of bytes in flight: sources while their job runs, uploads while their renditions wait to be
 * fetched. Buffers are recycled by size class, because a fresh megabyte per segment is a garbage collection per segment.
 */
export interface BodyMemory {
  /** Waits for room, then hands out a buffer of at least `bytes`; undefined when `signal` aborts first. */
  take(bytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** As `take`, but never waits. */
  tryTake(bytes: number): Uint8Array<ArrayBuffer> | undefined;
  /** Gives a buffer back. Nobody may look at it any more. */
  release(buffer: Uint8Array<ArrayBuffer>): void;
  /** Called when somebody waits for room: free what is only kept for convenience. */
  onPressure: (() => void) | undefined;
  readonly bytesInUse: number;
  readonly limitBytes: number;
  /** Somebody waits for room, or little is left: no new sessions now. */
  readonly tight: boolean;
}

const CLASS_BYTES = 256 * 1024;
/** Idle buffers kept for the next segment, in all. */
const IDLE_BYTES = 48 << 20;

function sizeClass(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / CLASS_BYTES)) * CLASS_BYTES;
}

export function createBodyMemory(limitBytes: number): BodyMemory {
  const idle = new Map<number, Uint8Array<ArrayBuffer>[]>();
  const waiting: { bytes: number; give(buffer: Uint8Array<ArrayBuffer>): void }[] = [];
  let idleBytes = 0;
  let bytesInUse = 0;

  const fits = (bytes: number): boolean => bytesInUse + bytes <= limitBytes || bytesInUse === 0;
  const allocate = (bytes: number): Uint8Array<ArrayBuffer> => {
    bytesInUse += bytes;
    const kept = idle.get(bytes)?.pop();
    if (!kept) return new Uint8Array(new ArrayBuffer(bytes));
    idleBytes -= bytes;
    return kept;
  };
  const serve = (): void => {
    for (let next = waiting[0]; next && fits(next.bytes); next = waiting[0]) {
      waiting.shift();
      next.give(allocate(next.bytes));
    }
  };

  const memory: BodyMemory = {
    onPressure: undefined,
    limitBytes,
    get bytesInUse() {
      return bytesInUse;
    },
    get tight() {
      return waiting.length > 0 || bytesInUse > limitBytes * 0.8;
    },
    tryTake(bytes) {
      const size = sizeClass(bytes);
      if (waiting.length > 0) return undefined;
      if (!fits(size)) memory.onPressure?.();
      return fits(size) ? allocate(size) : undefined;
    },
    async take(bytes, signal) {
      const now = memory.tryTake(bytes);
      if (now || signal.aborted) {
        if (now && signal.aborted) memory.release(now);
        return signal.aborted ? undefined : now;
      }
      return new Promise((resolve) => {
        const request = {
          bytes: sizeClass(bytes),
          give(buffer: Uint8Array<ArrayBuffer>) {
            signal.removeEventListener("abort", leave);
            resolve(buffer);
          },
        };
        const leave = (): void => {
          waiting.splice(waiting.indexOf(request), 1);
          resolve(undefined);
          serve();
        };
        signal.addEventListener("abort", leave, { once: true });
        waiting.push(request);
        memory.onPressure?.();
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
