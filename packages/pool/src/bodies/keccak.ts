import { BLOCK_BYTES, createKeccakModule, type KeccakModule, STATE_BYTES } from "./keccak-wasm.ts";

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

interface Stream {
  /** The 25 lanes between two steps. */
  readonly state: Uint8Array;
  readonly chunks: Uint8Array[];
  /** Bytes of the first chunk that are absorbed already. */
  skip: number;
  pendingBytes: number;
}

/**
 * Streams that have data at the same time are absorbed two by two, which SIMD makes nearly as cheap as one. So chunks
 * wait for the end of the event loop's turn, when all that arrived with it is there; a digest does not wait.
 */
export function createKeccakFactory(defer: (work: () => void) => void = setImmediate): KeccakFactory {
  const module = createKeccakModule(2 * STATE_BYTES + 2 * STEP_BYTES);
  const places = [0, 1].map((i) => ({
    state: module.heapStart + i * STATE_BYTES,
    data: module.heapStart + 2 * STATE_BYTES + i * STEP_BYTES,
  })) as [Place, Place];
  const ready = new Set<Stream>();
  let deferred = false;

  const drain = (): void => {
    deferred = false;
    const queue = [...ready];
    ready.clear();
    let a = queue.pop();
    let b = queue.pop();
    while (a && b) {
      absorbTwo(module, places, a, b);
      if (a.pendingBytes < BLOCK_BYTES) a = queue.pop();
      if (b.pendingBytes < BLOCK_BYTES) b = queue.pop();
      if (!a) [a, b] = [b, undefined];
    }
    while (a && a.pendingBytes >= BLOCK_BYTES) absorbOne(module, places[0], a);
  };

  return {
    create() {
      const stream: Stream = { state: new Uint8Array(STATE_BYTES), chunks: [], skip: 0, pendingBytes: 0 };
      return {
        update(chunk) {
          if (chunk.length === 0) return;
          stream.chunks.push(chunk);
          stream.pendingBytes += chunk.length;
          if (stream.pendingBytes < BLOCK_BYTES) return;
          ready.add(stream);
          if (!deferred) defer(drain);
          deferred = true;
        },
        digest() {
          ready.delete(stream);
          while (stream.pendingBytes >= BLOCK_BYTES) absorbOne(module, places[0], stream);
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
