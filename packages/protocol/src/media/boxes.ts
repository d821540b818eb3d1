/** One box of an MP4 file: its type, and where its contents lie. */
export interface Box {
  readonly type: string;
  /** First byte of the header. */
  readonly at: number;
  /** First byte behind the header. */
  readonly start: number;
  /** Behind the last byte, never beyond the end of what holds it. */
  readonly end: number;
  /** The box says that it is longer than what holds it. */
  readonly cut: boolean;
}

const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;

export function u16(data: Uint8Array, at: number): number {
  return byte(data, at) * 0x100 + byte(data, at + 1);
}

export function u32(data: Uint8Array, at: number): number {
  return u16(data, at) * 0x1_0000 + u16(data, at + 2);
}

export function i32(data: Uint8Array, at: number): number {
  return u32(data, at) | 0;
}

/** A 64-bit number; what lies beyond 2^53 only has to stay large. */
export function u64(data: Uint8Array, at: number): number {
  return u32(data, at) * 0x1_0000_0000 + u32(data, at + 4);
}

export function boxType(data: Uint8Array, at: number): string {
  return String.fromCharCode(byte(data, at), byte(data, at + 1), byte(data, at + 2), byte(data, at + 3));
}

/** The box at `at`, or undefined where there is none: the rest is too short or its length makes no sense. */
export function readBox(data: Uint8Array, at: number, limit: number): Box | undefined {
  if (at + 8 > limit) return undefined;
  let size = u32(data, at);
  let start = at + 8;
  if (size === 1) {
    if (at + 16 > limit) return undefined;
    size = u64(data, at + 8);
    start = at + 16;
  } else if (size === 0) size = limit - at;
  if (at + size < start) return undefined;
  return { type: boxType(data, at + 4), at, start, end: Math.min(limit, at + size), cut: at + size > limit };
}

/** A segment of five minutes with a fragment for each picture has fewer. */
const MAX_BOXES = 200_000;

/** Looks boxes up in one file. Gives up after more boxes than any real segment has: a box of eight bytes is cheap to send. */
export class BoxReader {
  readonly data: Uint8Array;
  #left = MAX_BOXES;

  constructor(data: Uint8Array) {
    this.data = data;
  }

  /** It gave up: not every box has been seen. */
  get exhausted(): boolean {
    return this.#left <= 0;
  }

  /** The boxes directly within [from, to). Stops at the first one that makes no sense. */
  *within(from: number, to: number): Generator<Box> {
    let at = from;
    while (at < to && this.#left-- > 0) {
      const box = readBox(this.data, at, to);
      if (!box) return;
      yield box;
      at = box.end;
    }
  }

  child(parent: Box | undefined, type: string): Box | undefined {
    if (!parent) return undefined;
    for (const box of this.within(parent.start, parent.end)) if (box.type === type) return box;
    return undefined;
  }

  /** Follows a path of box types down from `parent`. */
  descend(parent: Box | undefined, ...path: readonly string[]): Box | undefined {
    let box = parent;
    for (const type of path) box = this.child(box, type);
    return box;
  }
}
