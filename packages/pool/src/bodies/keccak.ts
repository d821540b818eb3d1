import { BLOCK_BYTES, createKeccakModule, STATE_BYTES } from "./keccak-wasm.ts";

/** A keccak-256 in progress. Abandoning it costs nothing. */
export interface Keccak {
  /** The chunk is looked at later: it must not change before the digest. */
  update(chunk: Uint8Array): void;
  /** The 32 bytes. */
  digest(): Uint8Array;
}

/** Makes hashers; hashing is the largest cost of a segment, so it runs as the bytes arrive. */
export interface KeccakFactory {
  create(): Keccak;
}

/** Data is copied into the module's memory in steps of this many blocks, about 64 KiB. */
const STEP_BLOCKS = 482;
const STEP_BYTES = STEP_BLOCKS * BLOCK_BYTES;

/** One module for all streams: a stream's state is put in before its data and taken out behind it. */
export function createKeccakFactory(): KeccakFactory {
  const { memory, heapStart, absorb } = createKeccakModule(STATE_BYTES + STEP_BYTES);
  const stateAt = heapStart;
  const dataAt = heapStart + STATE_BYTES;

  return {
    create() {
      const state = new Uint8Array(STATE_BYTES);
      let chunks: Uint8Array[] = [];
      let pendingBytes = 0;

      /** Absorbs what waits, in whole blocks. */
      const work = (): void => {
        memory.set(state, stateAt);
        let fill = 0;
        for (const chunk of chunks) {
          for (let at = 0; at < chunk.length;) {
            const take = Math.min(STEP_BYTES - fill, chunk.length - at);
            memory.set(chunk.subarray(at, at + take), dataAt + fill);
            at += take;
            fill += take;
            if (fill < STEP_BYTES) continue;
            absorb(stateAt, dataAt, STEP_BLOCKS);
            fill = 0;
          }
        }
        const blocks = Math.floor(fill / BLOCK_BYTES);
        if (blocks > 0) absorb(stateAt, dataAt, blocks);
        const rest = memory.slice(dataAt + blocks * BLOCK_BYTES, dataAt + fill);
        state.set(memory.subarray(stateAt, stateAt + STATE_BYTES));
        chunks = rest.length > 0 ? [rest] : [];
        pendingBytes = rest.length;
      };

      return {
        update(chunk) {
          chunks.push(chunk);
          pendingBytes += chunk.length;
          if (pendingBytes >= STEP_BYTES) work();
        },
        digest() {
          // The original keccak padding: a 1 bit behind the message, another at the end of the block.
          const padding = new Uint8Array(BLOCK_BYTES - (pendingBytes % BLOCK_BYTES));
          padding[0] = 0x01;
          padding[padding.length - 1]! |= 0x80;
          chunks.push(padding);
          work();
          return state.slice(0, 32);
        },
      };
    },
  };
}
