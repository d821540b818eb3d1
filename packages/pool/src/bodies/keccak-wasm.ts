/**
 * keccak-256's inner loop as a WebAssembly module, assembled here at start: Node's crypto has none, and hashing is the
 * largest cost of a segment.
 */

/** Bytes of a block; a state is 25 lanes of 8 bytes. */
export const BLOCK_BYTES = 136;
export const STATE_BYTES = 200;

export interface KeccakModule {
  readonly memory: Uint8Array;
  /** Where callers may put states and data; what lies before belongs to the module. */
  readonly heapStart: number;
  /** Absorbs `blocks` ≥ 1 whole blocks at `data` into the state at `state`. */
  absorb(state: number, data: number, blocks: number): void;
}

type Code = readonly number[];

const PAGE = 65_536;
const ROUND_CONSTANTS_AT = 0;
const HEAP_START = 256;
const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** Unsigned LEB128. */
function unsigned(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  do {
    const byte = rest & 0x7f;
    rest >>>= 7;
    out.push(rest ? byte | 0x80 : byte);
  } while (rest);
  return out;
}

/** Signed LEB128. */
function signed(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>= 7;
    const done = (rest === 0 && !(byte & 0x40)) || (rest === -1 && byte & 0x40);
    out.push(done ? byte : byte | 0x80);
    if (done) return out;
  }
}

const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number): Code => [0x21, ...unsigned(local)];
const tee = (local: number): Code => [0x22, ...unsigned(local)];
const i32 = (value: number): Code => [0x41, ...signed(value)];
const i32Add: Code = [0x6a];
/** Alignment hint 8 bytes, then the offset. */
const at = (offset: number): number[] => [3, ...unsigned(offset)];
const LOOP: Code = [0x03, 0x40];
const END: Code = [0x0b];

const I64 = 0x7e;
const XOR: Code = [0x85];
const loadAt = (pointer: number, offset: number): Code => [...get(pointer), 0x29, ...at(offset)];
const rotateLeft = (value: Code, bits: number): Code => (bits === 0 ? value : [...value, 0x42, ...signed(bits), 0x89]);
/** `kept & ~inverted`, as `kept & (inverted ^ -1)`. */
const andNot = (kept: Code, inverted: Code): Code => [...kept, ...inverted, 0x42, 0x7f, 0x85, 0x83];

/** Rotation of the lane at column x, row y: the triangular numbers along the walk (x, y) → (y, 2x + 3y). */
function rotations(): number[] {
  const bits = Array.from({ length: 25 }, () => 0);
  let x = 1;
  let y = 0;
  for (let t = 0; t < 24; t++) {
    bits[x + 5 * y] = (((t + 1) * (t + 2)) / 2) % 64;
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return bits;
}

/** Round constants: bit 2^j - 1 of round i is the output of an LFSR at 7i + j. */
function roundConstants(): bigint[] {
  let lfsr = 1;
  const step = (): bigint => {
    const bit = lfsr & 1;
    lfsr <<= 1;
    if (lfsr & 0x100) lfsr ^= 0x171;
    return BigInt(bit);
  };
  return Array.from({ length: 24 }, () => {
    let constant = 0n;
    for (let j = 0; j < 7; j++) constant |= step() << BigInt(2 ** j - 1);
    return constant;
  });
}

/**
 * The function `absorb(state, data, blocks)`: state into locals, then per block XOR of 17 lanes and 24 rounds, then locals
 * into the state.
 */
function absorbFunction(): Code {
  const [state, data, blocks, counter] = [0, 1, 2, 3];
  const A = (i: number): number => counter + 1 + i;
  const E = (i: number): number => A(25) + i;
  const C = (i: number): number => E(25) + i;
  const D = (i: number): number => C(5) + i;
  const rotation = rotations();

  const code: number[] = [];
  for (let i = 0; i < 25; i++) code.push(...loadAt(state, 8 * i), ...set(A(i)));
  code.push(...LOOP);
  for (let i = 0; i < 17; i++) code.push(...get(A(i)), ...loadAt(data, 8 * i), ...XOR, ...set(A(i)));
  code.push(...i32(0), ...set(counter), ...LOOP);
  for (let x = 0; x < 5; x++) {
    code.push(...get(A(x)));
    for (let y = 1; y < 5; y++) code.push(...get(A(x + 5 * y)), ...XOR);
    code.push(...set(C(x)));
  }
  for (let x = 0; x < 5; x++) {
    code.push(...get(C((x + 4) % 5)), ...rotateLeft(get(C((x + 1) % 5)), 1), ...XOR, ...set(D(x)));
  }
  for (let row = 0; row < 5; row++) {
    // The five lanes that end in this row, turned; C is free again and holds them.
    for (let column = 0; column < 5; column++) {
      // Lane (x, y) moves to (y, 2x + 3y): here y = column and 2x + 3 column = row.
      const x = (3 * (row + 2 * column)) % 5;
      const from = x + 5 * column;
      code.push(...rotateLeft([...get(A(from)), ...get(D(x)), ...XOR], rotation[from]!), ...set(C(column)));
    }
    for (let x = 0; x < 5; x++) {
      code.push(...get(C(x)), ...andNot(get(C((x + 2) % 5)), get(C((x + 1) % 5))), ...XOR);
      if (row === 0 && x === 0) code.push(...loadAt(counter, ROUND_CONSTANTS_AT), ...XOR);
      code.push(...set(E(x + 5 * row)));
    }
  }
  for (let i = 0; i < 25; i++) code.push(...get(E(i)), ...set(A(i)));
  code.push(...get(counter), ...i32(8), ...i32Add, ...tee(counter), ...i32(24 * 8), 0x49, 0x0d, 0, ...END);
  code.push(...get(data), ...i32(BLOCK_BYTES), ...i32Add, ...set(data));
  code.push(...get(blocks), ...i32(1), 0x6b, ...tee(blocks), 0x0d, 0, ...END);
  for (let i = 0; i < 25; i++) code.push(...get(state), ...get(A(i)), 0x37, ...at(8 * i));
  const locals = [2, 1, 0x7f, ...unsigned(D(5) - A(0)), I64];
  const body = [...locals, ...code, ...END];
  return [...unsigned(body.length), ...body];
}

function section(id: number, content: Code): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function text(value: string): number[] {
  return [value.length, ...Buffer.from(value)];
}

function assemble(pages: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([
    ...MAGIC_AND_VERSION,
    ...section(1, [1, 0x60, 3, 0x7f, 0x7f, 0x7f, 0]),
    ...section(2, [1, ...text("e"), ...text("m"), 2, 0, ...unsigned(pages)]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("absorb"), 0, 0]),
    ...section(10, [1, ...absorbFunction()]),
  ]);
}

/** What is used of WebAssembly; neither ECMAScript's nor Node's type library declares it. */
interface WebAssemblyApi {
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

/** Builds the module with room for `heapBytes` of states and data. */
export function createKeccakModule(heapBytes: number): KeccakModule {
  const pages = Math.ceil((HEAP_START + heapBytes) / PAGE);
  const { WebAssembly } = globalThis as unknown as { WebAssembly: WebAssemblyApi };
  const memory = new WebAssembly.Memory({ initial: pages });
  new BigUint64Array(memory.buffer, ROUND_CONSTANTS_AT, 24).set(roundConstants());
  const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble(pages)), { e: { m: memory } });
  // The module was assembled above: this is its one export.
  const { absorb } = instance.exports as Pick<KeccakModule, "absorb">;
  return { memory: new Uint8Array(memory.buffer), heapStart: HEAP_START, absorb };
}
