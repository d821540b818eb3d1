import { type Box, type BoxReader, i32, u16, u32, u64 } from "./boxes.ts";

/** Pictures or sound of one moment. Times in the track's own units. */
export type TakeSample = (offset: number, size: number, decodeTime: number, shift: number, duration: number) => boolean;

/** More than three hours at 60 pictures a second: a track that claims more is not believed. */
const MAX_SAMPLES = 700_000;

/**
 * Samples that may still be taken from one file. Each honest one has a byte in it, so all its tracks together have no more
 * than the file has bytes: without that a few kilobytes could claim millions.
 */
export interface SampleBudget {
  left: number;
}

/** Walks a run-length table: `(count, value)` pairs of 32 bits each. */
class Runs {
  readonly #data: Uint8Array;
  readonly #end: number;
  readonly #signed: boolean;
  #at: number;
  #left = 0;
  #value = 0;

  constructor(data: Uint8Array, box: Box | undefined, signed: boolean) {
    this.#data = data;
    this.#signed = signed;
    this.#at = box ? box.start + 8 : 0;
    this.#end = box ? Math.min(box.end, box.start + 8 + 8 * u32(data, box.start + 4)) : 0;
  }

  /** The value for the next sample; behind the end of the table the last one goes on. */
  next(): number {
    while (this.#left === 0 && this.#at + 8 <= this.#end) {
      this.#left = u32(this.#data, this.#at);
      this.#value = this.#signed ? i32(this.#data, this.#at + 4) : u32(this.#data, this.#at + 4);
      this.#at += 8;
    }
    if (this.#left > 0) this.#left--;
    return this.#value;
  }
}

/** Sizes of samples: one for all, or a table of 4, 8, 16 or 32 bits each. */
interface Sizes {
  readonly count: number;
  of(sample: number): number;
}

function sizesOf(boxes: BoxReader, stbl: Box): Sizes {
  const { data } = boxes;
  const stsz = boxes.child(stbl, "stsz");
  if (stsz) {
    const same = u32(data, stsz.start + 4);
    const count = u32(data, stsz.start + 8);
    if (same > 0) return { count, of: () => same };
    const room = Math.max(0, Math.floor((stsz.end - stsz.start - 12) / 4));
    return { count: Math.min(count, room), of: (sample) => u32(data, stsz.start + 12 + 4 * sample) };
  }
  const stz2 = boxes.child(stbl, "stz2");
  if (!stz2) return { count: 0, of: () => 0 };
  const bits = data[stz2.start + 7] ?? 0;
  const table = stz2.start + 12;
  const room = bits > 0 ? Math.max(0, Math.floor(((stz2.end - table) * 8) / bits)) : 0;
  return {
    count: Math.min(u32(data, stz2.start + 8), room),
    of: (sample) => {
      if (bits === 16) return u16(data, table + 2 * sample);
      const value = data[table + (bits === 4 ? sample >> 1 : sample)] ?? 0;
      return bits === 4 ? (sample % 2 ? value & 15 : value >> 4) : value;
    },
  };
}

/**
 * Hands out the samples of a sample table in order, until `take` returns false. Returns whether the table makes sense:
 * every sample it announces is there.
 */
export function walkSampleTable(boxes: BoxReader, stbl: Box, budget: SampleBudget, take: TakeSample): boolean {
  const { data } = boxes;
  const sizes = sizesOf(boxes, stbl);
  const durations = new Runs(data, boxes.child(stbl, "stts"), false);
  const ctts = boxes.child(stbl, "ctts");
  const shifts = ctts ? new Runs(data, ctts, true) : undefined;
  const stco = boxes.child(stbl, "stco");
  const co64 = stco ? undefined : boxes.child(stbl, "co64");
  const chunks = stco ?? co64;
  const width = stco ? 4 : 8;
  const stsc = boxes.child(stbl, "stsc");
  if (sizes.count === 0) return true;
  if (!chunks || !stsc) return false;
  const chunkCount = Math.min(u32(data, chunks.start + 4), Math.floor((chunks.end - chunks.start - 8) / width));
  const runCount = Math.min(u32(data, stsc.start + 4), Math.floor((stsc.end - stsc.start - 8) / 12));
  let sample = 0;
  let time = 0;
  let run = -1;
  let perChunk = 0;
  for (let chunk = 0; chunk < chunkCount && sample < sizes.count; chunk++) {
    while (run + 1 < runCount && u32(data, stsc.start + 8 + 12 * (run + 1)) <= chunk + 1) {
      run++;
      perChunk = u32(data, stsc.start + 8 + 12 * run + 4);
    }
    const entry = chunks.start + 8 + width * chunk;
    let offset = stco ? u32(data, entry) : u64(data, entry);
    for (let i = 0; i < perChunk && sample < sizes.count; i++, sample++) {
      if (sample >= MAX_SAMPLES || budget.left-- <= 0) return false;
      const size = sizes.of(sample);
      const duration = durations.next();
      if (!take(offset, size, time, shifts?.next() ?? 0, duration)) return false;
      offset += size;
      time += duration;
    }
  }
  return sample === sizes.count;
}

/** What a fragment falls back to where it does not say. */
export interface FragmentDefaults {
  readonly duration: number;
  readonly size: number;
}

/** How far the fragments of one track have come. */
export interface FragmentState {
  decodeTime: number;
  samples: number;
}

/** Hands out the samples of one track fragment (`traf`). Returns whether it makes sense. */
export function walkFragment(
  boxes: BoxReader,
  moof: Box,
  traf: Box,
  tfhd: Box,
  defaults: FragmentDefaults,
  state: FragmentState,
  budget: SampleBudget,
  take: TakeSample,
): boolean {
  const { data } = boxes;
  const flags = u32(data, tfhd.start) & 0xff_ffff;
  let at = tfhd.start + 8;
  let base = moof.at;
  if (flags & 0x1) {
    base = u64(data, at);
    at += 8;
  }
  if (flags & 0x2) at += 4;
  let { duration: defaultDuration, size: defaultSize } = defaults;
  if (flags & 0x8) {
    defaultDuration = u32(data, at);
    at += 4;
  }
  if (flags & 0x10) defaultSize = u32(data, at);
  const tfdt = boxes.child(traf, "tfdt");
  if (tfdt) {
    state.decodeTime = (data[tfdt.start] ?? 0) === 1 ? u64(data, tfdt.start + 4) : u32(data, tfdt.start + 4);
  }
  let offset = base;
  for (const trun of boxes.within(traf.start, traf.end)) {
    if (trun.type !== "trun") continue;
    const runFlags = u32(data, trun.start) & 0xff_ffff;
    const count = u32(data, trun.start + 4);
    let field = trun.start + 8;
    if (runFlags & 0x1) {
      offset = base + i32(data, field);
      field += 4;
    }
    if (runFlags & 0x4) field += 4;
    const hasDuration = (runFlags & 0x100) !== 0;
    const hasSize = (runFlags & 0x200) !== 0;
    const hasFlags = (runFlags & 0x400) !== 0;
    const hasShift = (runFlags & 0x800) !== 0;
    const width = 4 * (Number(hasDuration) + Number(hasSize) + Number(hasFlags) + Number(hasShift));
    for (let i = 0; i < count; i++) {
      if (state.samples++ >= MAX_SAMPLES || budget.left-- <= 0 || field + width > trun.end) return false;
      let duration = defaultDuration;
      let size = defaultSize;
      let shift = 0;
      if (hasDuration) {
        duration = u32(data, field);
        field += 4;
      }
      if (hasSize) {
        size = u32(data, field);
        field += 4;
      }
      if (hasFlags) field += 4;
      if (hasShift) {
        shift = i32(data, field);
        field += 4;
      }
      if (!take(offset, size, state.decodeTime, shift, duration)) return false;
      offset += size;
      state.decodeTime += duration;
    }
  }
  return true;
}
