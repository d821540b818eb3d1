import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { BLOCK_BYTES, createKeccakModule, HEAP_START, STATE_BYTES } from "./keccak-wasm.ts";

/** A keccak-256 in progress. It ends with `digest` or with `abandon`. */
export interface Keccak {
  /** The chunk is looked at later: it must not change before the digest. */
  update(chunk: Uint8Array): void;
  /** The 32 bytes. */
  digest(): Promise<Uint8Array>;
  /** Forgets the message; changes nothing behind `digest`. */
  abandon(): void;
}

/** Makes hashers. Hashing is the largest cost of a segment: it runs as the bytes arrive, on a thread of its own. */
export interface KeccakFactory extends AsyncDisposable {
  create(): Keccak;
}

/** Data is handed to the thread in steps of this many blocks, about 128 KiB: every step may have to wake it. */
const STEP_BLOCKS = 964;
const STEP_BYTES = STEP_BLOCKS * BLOCK_BYTES;
/** Steps that may be on their way to the thread; what else there is waits where it is. */
const SLOTS = 32;
/** So many steps of one message wait for a second message, if one is begun: that is what its digest may have before it. */
const PATIENCE_STEPS = 4;
/** Messages that the thread is in the middle of. */
const STATES = 2048;

/**
 * What lies where in the memory that the thread shares, and what the words of `control` mean: how many steps were
 * submitted ever (the thread sleeps on it), whether steps wait for a slot, how many messages are begun, the ring of submitted steps (stream, slot,
 * blocks, last), and for each slot whether the thread still needs it.
 */
const layout = (() => {
  const [SUBMITTED, STARVING, OPEN, RING] = [0, 1, 2, 3];
  const RING_WORDS = 4;
  const BUSY = RING + SLOTS * RING_WORDS;
  const controlWords = BUSY + SLOTS;
  const statesAt = HEAP_START + Math.ceil((4 * controlWords) / 64) * 64;
  const dataAt = statesAt + STATES * STATE_BYTES;
  return {
    SUBMITTED,
    STARVING,
    OPEN,
    RING,
    RING_WORDS,
    BUSY,
    controlAt: HEAP_START,
    controlWords,
    statesAt,
    stateBytes: STATE_BYTES,
    dataAt,
    slots: SLOTS,
    patience: PATIENCE_STEPS,
    slotBytes: STEP_BYTES,
    blockBytes: BLOCK_BYTES,
  };
})();

interface Stream {
  chunks: Uint8Array[];
  pendingBytes: number;
  /** Which of the states is its own; taken with the first step. */
  state: number | undefined;
  /** Set once nothing more comes: who waits for the digest. */
  finish: ((digest: Uint8Array) => void) | undefined;
}

/** Starts the thread. It serves all messages; should it ever fail, that is an uncaught error: nothing could be checked. */
export async function startKeccak(): Promise<KeccakFactory> {
  const { module, memory } = createKeccakModule(layout.dataAt - HEAP_START + SLOTS * STEP_BYTES);
  const bytes = new Uint8Array(memory.buffer);
  const control = new Int32Array(memory.buffer, layout.controlAt, layout.controlWords);
  const thread = new Worker(new URL("./keccak-thread.js", import.meta.url), {
    name: "keccak",
    workerData: { module, memory, layout },
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
  });
  await once(thread, "online");
  thread.unref();

  const freeStates = Array.from({ length: STATES }, (_, i) => STATES - 1 - i);
  const owners: (Stream | undefined)[] = [];
  /** Streams with a step that found no slot, or no state; the longest waiting first. */
  const starving = new Set<Stream>();
  let nextSlot = 0;

  const freeSlot = (): number | undefined => {
    for (let tried = 0; tried < SLOTS; tried++) {
      const slot = (nextSlot + tried) % SLOTS;
      if (Atomics.load(control, layout.BUSY + slot) === 0) return slot;
    }
    return undefined;
  };

  /** Copies up to a step of a stream's bytes to `to`; returns how many. */
  const stage = (stream: Stream, to: number): number => {
    let staged = 0;
    let used = 0;
    while (used < stream.chunks.length && staged < STEP_BYTES) {
      const chunk = stream.chunks[used]!;
      const take = Math.min(STEP_BYTES - staged, chunk.length);
      bytes.set(take === chunk.length ? chunk : chunk.subarray(0, take), to + staged);
      staged += take;
      if (take === chunk.length) used++;
      else stream.chunks[used] = chunk.subarray(take);
    }
    stream.chunks.splice(0, used);
    stream.pendingBytes -= staged;
    return staged;
  };

  /** Gives the thread what a stream has, in whole steps, the rest with the end. False: it must wait for the thread. */
  const submit = (stream: Stream): boolean => {
    while (stream.pendingBytes >= STEP_BYTES || (stream.finish && stream.pendingBytes > 0)) {
      const slot = freeSlot();
      stream.state ??= freeStates.pop();
      if (slot === undefined || stream.state === undefined) return false;
      if (!owners[stream.state]) {
        owners[stream.state] = stream;
        Atomics.add(control, layout.OPEN, 1);
        bytes.fill(0, layout.statesAt + stream.state * STATE_BYTES, layout.statesAt + (stream.state + 1) * STATE_BYTES);
      }
      nextSlot = (slot + 1) % SLOTS;
      const staged = stage(stream, layout.dataAt + slot * STEP_BYTES);
      const submitted = control[layout.SUBMITTED]!;
      const last = stream.finish !== undefined && stream.pendingBytes === 0;
      const at = layout.RING + ((submitted >>> 0) % SLOTS) * layout.RING_WORDS;
      control.set([stream.state, slot, staged / BLOCK_BYTES, last ? 1 : 0], at);
      Atomics.store(control, layout.BUSY + slot, 1);
      Atomics.store(control, layout.SUBMITTED, (submitted + 1) | 0);
      Atomics.notify(control, layout.SUBMITTED);
    }
    return true;
  };
  const serve = (): void => {
    for (const stream of starving) {
      let through = submit(stream);
      while (!through && stream.state !== undefined) {
        Atomics.store(control, layout.STARVING, 1);
        // A slot that became free before the thread could read this is not announced.
        if (freeSlot() === undefined) return;
        through = submit(stream);
      }
      // Who has no state waits for a message to end; those that have one must not wait for it.
      if (through) starving.delete(stream);
    }
  };
  const hand = (stream: Stream): void => {
    starving.add(stream);
    serve();
  };

  /** The thread finished a message, or (−1) has a slot for those who wait. */
  thread.on("message", (finished: number) => {
    const stream = owners[finished];
    if (stream) {
      const at = layout.statesAt + finished * STATE_BYTES;
      const digest = bytes.slice(at, at + 32);
      owners[finished] = undefined;
      Atomics.sub(control, layout.OPEN, 1);
      freeStates.push(finished);
      stream.finish?.(digest);
    }
    serve();
  });

  return {
    create() {
      const stream: Stream = { chunks: [], pendingBytes: 0, state: undefined, finish: undefined };
      const end = (finish: (digest: Uint8Array) => void): void => {
        // The original keccak padding: a 1 bit behind the message, another at the end of the block.
        const padding = new Uint8Array(BLOCK_BYTES - (stream.pendingBytes % BLOCK_BYTES));
        padding[0] = 0x01;
        padding[padding.length - 1]! |= 0x80;
        stream.chunks.push(padding);
        stream.pendingBytes += padding.length;
        stream.finish = finish;
        hand(stream);
      };
      return {
        update(chunk) {
          if (chunk.length === 0) return;
          stream.chunks.push(chunk);
          stream.pendingBytes += chunk.length;
          if (stream.pendingBytes >= STEP_BYTES) hand(stream);
        },
        digest: () => new Promise((resolve) => end(resolve)),
        abandon() {
          if (stream.finish) return;
          stream.chunks = [];
          stream.pendingBytes = 0;
          starving.delete(stream);
          // Its state is free again when the thread is through with the steps that it has.
          if (stream.state !== undefined) end(() => {});
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await thread.terminate();
    },
  };
}
