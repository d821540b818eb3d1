import { BLOCK_BYTES, createKeccakModule, type KeccakModule, STATE_BYTES } from "./keccak-wasm.ts";

/** A keccak-256 in progress. It ends with `digest` or with `abandon`. */
export interface Keccak {
  /** The chunk is looked at later: it must not change before the digest. */
  update(chunk: Uint8Array): void;
  /** The 32 bytes. */
  digest(): Uint8Array;
  /** Forgets the message. */
  abandon(): void;
}

/** Makes hashers; hashing is the largest cost of a segment, so it runs as the bytes arrive. */
export interface KeccakFactory {
  create(): Keccak;
}

/** Data is copied into the module's memory in steps of this many blocks, about 64 KiB. */
const STEP_BLOCKS = 482;
const STEP_BYTES = STEP_BLOCKS * BLOCK_BYTES;

interface Stream {
  /** The 25 lanes between two steps. */
  readonly state: Uint8Array;
  readonly chunks: Uint8Array[];
  /** Bytes of the first chunk that are absorbed already. */
  skip: number;
  pendingBytes: number;
}

/** A stream that finds no partner is absorbed alone once this much of it waits: the digest must not have it all to do. */
const ALONE_BYTES = 4 * STEP_BYTES;

/**
 * Two streams are absorbed together for little more than the price of one, so a stream's data waits for a partner: for
 * the next stream that has data too, or at most until its own digest is asked for.
 */
export function createKeccakFactory(): KeccakFactory {
  const module = createKeccakModule(2 * STATE_BYTES + 2 * STEP_BYTES);
  const places = [0, 1].map((i) => ({
    state: module.heapStart + i * STATE_BYTES,
    data: module.heapStart + 2 * STATE_BYTES + i * STEP_BYTES,
  })) as [Place, Place];
  /** Streams with at least a step of data, the longest waiting first. */
  const waiting = new Set<Stream>();

  /** Absorbs a stream down to less than `downTo` bytes, in company as far as there is any. */
  const absorb = (stream: Stream, downTo: number): void => {
    waiting.delete(stream);
    while (stream.pendingBytes >= downTo) {
      const [partner] = waiting;
      if (partner) {
        absorbTwo(module, places, stream, partner);
        if (partner.pendingBytes < STEP_BYTES) waiting.delete(partner);
      } else absorbOne(module, places[0], stream);
    }
  };

  return {
    create() {
      const stream: Stream = { state: new Uint8Array(STATE_BYTES), chunks: [], skip: 0, pendingBytes: 0 };
      return {
        update(chunk) {
          if (chunk.length === 0) return;
          stream.chunks.push(chunk);
          stream.pendingBytes += chunk.length;
          if (stream.pendingBytes < STEP_BYTES) return;
          waiting.add(stream);
          if (waiting.size > 1 || stream.pendingBytes >= ALONE_BYTES) absorb(stream, STEP_BYTES);
        },
        digest() {
          absorb(stream, BLOCK_BYTES);
          const rest = stream.pendingBytes;
          // The original keccak padding: a 1 bit behind the message, another at the end of the block.
          const last = new Uint8Array(BLOCK_BYTES - rest);
          last[0] = 0x01;
          last[last.length - 1]! |= 0x80;
          stream.chunks.push(last);
          stream.pendingBytes += last.length;
          absorbOne(module, places[0], stream);
          return stream.state.slice(0, 32);
        },
        abandon() {
          waiting.delete(stream);
        },
      };
    },
  };
}

interface Place {
  readonly state: number;
  readonly data: number;
}

/** Moves `blocks` blocks of a stream's data to where the module reads them. */
function stage(memory: Uint8Array, to: number, stream: Stream, blocks: number): void {
  let left = blocks * BLOCK_BYTES;
  stream.pendingBytes -= left;
  let target = to;
  let used = 0;
  while (left > 0) {
    const chunk = stream.chunks[used]!;
    const take = Math.min(left, chunk.length - stream.skip);
    memory.set(chunk.subarray(stream.skip, stream.skip + take), target);
    target += take;
    left -= take;
    stream.skip += take;
    if (stream.skip === chunk.length) {
      used++;
      stream.skip = 0;
    }
  }
  if (used > 0) stream.chunks.splice(0, used);
}

function blocksOf(stream: Stream): number {
  return Math.min(STEP_BLOCKS, Math.floor(stream.pendingBytes / BLOCK_BYTES));
}

function absorbOne(module: KeccakModule, place: Place, stream: Stream): void {
  const { memory } = module;
  const blocks = blocksOf(stream);
  stage(memory, place.data, stream, blocks);
  memory.set(stream.state, place.state);
  module.absorb(place.state, place.data, blocks);
  stream.state.set(memory.subarray(place.state, place.state + STATE_BYTES));
}

function absorbTwo(module: KeccakModule, [a, b]: readonly [Place, Place], first: Stream, second: Stream): void {
  const { memory } = module;
  const blocks = Math.min(blocksOf(first), blocksOf(second));
  stage(memory, a.data, first, blocks);
  stage(memory, b.data, second, blocks);
  memory.set(first.state, a.state);
  memory.set(second.state, b.state);
  module.absorbTwo(a.state, b.state, a.data, b.data, blocks);
  first.state.set(memory.subarray(a.state, a.state + STATE_BYTES));
  second.state.set(memory.subarray(b.state, b.state + STATE_BYTES));
}
