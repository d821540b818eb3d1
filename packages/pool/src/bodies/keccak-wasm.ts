/**
 * keccak-256's inner loop as a WebAssembly module, assembled here at start: Node's crypto has none, and hashing is the
 * largest cost of a segment. One lane absorbs blocks of one message; two lanes absorb a block of each of two messages at
 * once with SIMD, for little more than the price of one.
 */

/** Bytes of a block; a state is 25 lanes of 8 bytes. */
export const BLOCK_BYTES = 136;
export const STATE_BYTES = 200;

type Code = readonly number[];

const PAGE = 65_536;
const ROUND_CONSTANTS_AT = 0;
/** Where callers may put states and data; what lies before belongs to the module. */
export const HEAP_START = 256;

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
const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
/** Alignment hint 8 bytes, then the offset. */
const at = (offset: number): number[] => [3, ...unsigned(offset)];
const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const LOOP: Code = [0x03, 0x40];
const END: Code = [0x0b];

/** What differs between one lane (i64) and two (v128 of two i64). */
interface Width {
  readonly valueType: number;
  readonly xor: Code;
  /** Stack: x, y, → x & ~y for SIMD; for one lane the order of evaluation is ours to choose. */
  andNot(kept: Code, inverted: Code): Code;
  rotateLeft(value: Code, bits: number, scratch: number): Code;
  readonly splat: Code;
}

const oneLane: Width = {
  valueType: 0x7e,
  xor: [0x85],
  andNot: (kept, inverted) => [...kept, ...inverted, 0x42, 0x7f, 0x85, 0x83],
  rotateLeft: (value, bits) => (bits === 0 ? value : [...value, 0x42, ...signed(bits), 0x89]),
  splat: [],
};
const twoLanes: Width = {
  valueType: 0x7b,
  xor: simd(0x51),
  andNot: (kept, inverted) => [...kept, ...inverted, ...simd(0x4f)],
  rotateLeft: (value, bits, scratch) =>
    bits === 0
      ? value
      : [
          ...value,
          ...tee(scratch),
          ...i32(bits),
          ...simd(0xcb),
          ...get(scratch),
          ...i32(64 - bits),
          ...simd(0xcd),
          ...simd(0x50),
        ],
  splat: simd(0x12),
};

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
 * The function body: state into locals, then per block XOR of 17 lanes and 24 rounds, then locals into the state.
 * Parameters come first, then `blocks`, then an i32 counter; lanes are locals behind them.
 */
function permutation(width: Width, lanes: 1 | 2): Code {
  const states = lanes === 1 ? [0] : [0, 1];
  const data = lanes === 1 ? [1] : [2, 3];
  const blocks = 2 * lanes;
  const counter = blocks + 1;
  const A = (i: number): number => counter + 1 + i;
  const E = (i: number): number => A(25) + i;
  const C = (i: number): number => E(25) + i;
  const D = (i: number): number => C(5) + i;
  const scratch = D(5);
  const rotation = rotations();

  /** One lane of each message from memory, as one value. */
  const load = (pointers: readonly number[], offset: number): Code =>
    lanes === 1
      ? [...get(pointers[0]!), 0x29, ...at(offset)]
      : [...get(pointers[1]!), ...get(pointers[0]!), ...simd(0x5d), ...at(offset), ...simd(0x57), ...at(offset), 1];

  const code: number[] = [];
  // v128.load64_lane takes (address, vector): the address of the second message waits below the first one's value.
  for (let i = 0; i < 25; i++) code.push(...load(states, 8 * i), ...set(A(i)));
  code.push(...LOOP);
  for (let i = 0; i < 17; i++) code.push(...get(A(i)), ...load(data, 8 * i), ...width.xor, ...set(A(i)));
  code.push(...i32(0), ...set(counter), ...LOOP);
  for (let x = 0; x < 5; x++) {
    code.push(...get(A(x)));
    for (let y = 1; y < 5; y++) code.push(...get(A(x + 5 * y)), ...width.xor);
    code.push(...set(C(x)));
  }
  for (let x = 0; x < 5; x++) {
    const turned = width.rotateLeft(get(C((x + 1) % 5)), 1, scratch);
    code.push(...get(C((x + 4) % 5)), ...turned, ...width.xor, ...set(D(x)));
  }
  for (let row = 0; row < 5; row++) {
    // The five lanes that end in this row, turned; C is free again and holds them.
    for (let column = 0; column < 5; column++) {
      // Lane (x, y) moves to (y, 2x + 3y): here y = column and 2x + 3 column = row.
      const x = (3 * (row + 2 * column)) % 5;
      const from = x + 5 * column;
      const mixed = [...get(A(from)), ...get(D(x)), ...width.xor];
      code.push(...width.rotateLeft(mixed, rotation[from]!, scratch), ...set(C(column)));
    }
    for (let x = 0; x < 5; x++) {
      code.push(...get(C(x)), ...width.andNot(get(C((x + 2) % 5)), get(C((x + 1) % 5))), ...width.xor);
      if (row === 0 && x === 0)
        code.push(...get(counter), 0x29, ...at(ROUND_CONSTANTS_AT), ...width.splat, ...width.xor);
      code.push(...set(E(x + 5 * row)));
    }
  }
  for (let i = 0; i < 25; i++) code.push(...get(E(i)), ...set(A(i)));
  code.push(...get(counter), ...i32(8), ...i32Add, ...tee(counter), ...i32(24 * 8), 0x49, 0x0d, 0, ...END);
  for (const pointer of data) code.push(...get(pointer), ...i32(BLOCK_BYTES), ...i32Add, ...set(pointer));
  code.push(...get(blocks), ...i32(1), 0x6b, ...tee(blocks), 0x0d, 0, ...END);
  for (let i = 0; i < 25; i++) {
    if (lanes === 1) code.push(...get(states[0]!), ...get(A(i)), 0x37, ...at(8 * i));
    else for (const lane of [0, 1]) code.push(...get(states[lane]!), ...get(A(i)), ...simd(0x5b), ...at(8 * i), lane);
  }
  const locals = [2, 1, 0x7f, ...unsigned(scratch - counter), width.valueType];
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
  const params = (count: number): number[] => [0x60, count, ...Array.from({ length: count }, () => 0x7f), 0];
  return new Uint8Array([
    ...MAGIC_AND_VERSION,
    ...section(1, [2, ...params(3), ...params(5)]),
    // Flag 3: a memory that is shared, which must have a maximum.
    ...section(2, [1, ...text("e"), ...text("m"), 2, 3, ...unsigned(pages), ...unsigned(pages)]),
    ...section(3, [2, 0, 1]),
    ...section(7, [2, ...text("one"), 0, 0, ...text("two"), 0, 1]),
    ...section(10, [2, ...permutation(oneLane, 1), ...permutation(twoLanes, 2)]),
  ]);
}

/** What is used of WebAssembly; neither ECMAScript's nor Node's type library declares it. */
interface WebAssemblyApi {
  Memory: new (size: { initial: number; maximum: number; shared: true }) => { readonly buffer: SharedArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
}

/** The module and its memory: both can be sent to a thread, which makes an instance of the one over the other. */
export interface KeccakModule {
  readonly module: object;
  readonly memory: { readonly buffer: SharedArrayBuffer };
}

/** Builds the module with room for `heapBytes` of states and data. */
export function createKeccakModule(heapBytes: number): KeccakModule {
  const pages = Math.ceil((HEAP_START + heapBytes) / PAGE);
  const { WebAssembly } = globalThis as unknown as { WebAssembly: WebAssemblyApi };
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  new BigUint64Array(memory.buffer, ROUND_CONSTANTS_AT, 24).set(roundConstants());
  return { module: new WebAssembly.Module(assemble(pages)), memory };
}
