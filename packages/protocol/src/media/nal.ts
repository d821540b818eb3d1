import type { VideoTrack } from "./types.ts";

/** What the parameter sets of a stream tell of its pictures. */
export interface PictureFormat {
  /** Decoded size in pixels, cropping applied. */
  readonly width: number;
  readonly height: number;
  readonly chroma: VideoTrack["chroma"];
  readonly bitDepth: number;
  readonly profile: string;
  readonly interlaced: boolean;
}

/** Larger than any decoder takes: a size beyond it is damage, not a picture. */
export const MAX_SIDE = 16_384;

export const CHROMA_NAMES = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"] as const;

/** No slice: parameter sets, messages, delimiters, pictures that no decoder puts out. */
export const NAL_OTHER = 0;
/** A slice of the picture that is already counted. */
export const NAL_SLICE = 1;
/** The first slice of a picture. */
export const NAL_PICTURE = 2;
export type NalMeaning = typeof NAL_OTHER | typeof NAL_SLICE | typeof NAL_PICTURE;

/** Reads the NAL units of one stream in decoding order. */
export interface NalReader {
  readonly codec: "h264" | "hevc";
  /** The format of the first pictures. */
  readonly format: PictureFormat | undefined;
  readonly sizeChanged: boolean;
  readonly keyframeFirst: boolean;
  /** Pictures may come as two fields: then every slice counts, not only the first one of a packet. */
  readonly fields: boolean;
  /** How many bytes of a NAL unit that starts with this byte must be at hand before `nal` can read it. */
  lookahead(header: number): number;
  /** `at` is the NAL header; `end` may lie before the end of the NAL unit. */
  nal(data: Uint8Array, at: number, end: number): NalMeaning;
}

/** A hash of how the first pictures begin: enough to recognise a copy, cheap enough for every file. */
export class Fingerprint {
  #hash = 0x811c9dc5;
  #pictures = 0;

  get value(): number {
    return this.#hash >>> 0;
  }

  picture(data: Uint8Array, at: number, end: number): void {
    if (this.#pictures >= 8) return;
    this.#pictures++;
    const to = Math.min(end, at + 32);
    for (let i = at; i < to; i++) this.#hash = Math.imul(this.#hash ^ (data[i] ?? 0), 0x01000193);
  }
}

const CAPACITY = 16_384;
const LARGEST_LOOKAHEAD = 1_024;

/**
 * Finds NAL units in a byte stream that arrives in pieces (the payloads of transport packets). Keeps only a small
 * window, so that a packet of 300 MB costs no memory.
 */
export class AnnexBScanner {
  readonly #reader: NalReader;
  readonly #window = new Uint8Array(CAPACITY);
  #length = 0;
  #at = 0;
  #firstOnly = false;
  #done = false;
  #pictures = 0;
  #startsWithin = false;
  #slices = 0;

  readonly #fingerprint: Fingerprint;

  constructor(reader: NalReader, fingerprint: Fingerprint) {
    this.#reader = reader;
    this.#fingerprint = fingerprint;
  }

  /** Starts a new unit of bytes. With `firstOnly` nothing behind the first slice is read. */
  begin(firstOnly: boolean): void {
    this.#length = 0;
    this.#at = 0;
    this.#firstOnly = firstOnly;
    this.#done = false;
    this.#pictures = 0;
    this.#slices = 0;
    this.#startsWithin = false;
  }

  /** Nothing more needs to be pushed before the next `begin`. */
  get done(): boolean {
    return this.#done;
  }
  /** Pictures that began since `begin`. */
  get pictures(): number {
    return this.#pictures;
  }
  /** The first slice since `begin` belongs to a picture that began earlier. */
  get startsWithin(): boolean {
    return this.#startsWithin;
  }
  push(data: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to && !this.#done) {
      if (this.#length === CAPACITY) this.#compact();
      const count = Math.min(to - at, CAPACITY - this.#length);
      this.#window.set(data.subarray(at, at + count), this.#length);
      this.#length += count;
      at += count;
      this.#scan(false);
    }
  }

  end(): void {
    if (!this.#done) this.#scan(true);
    this.#done = true;
  }

  #scan(final: boolean): void {
    const window = this.#window;
    const length = this.#length;
    let at = this.#at;
    while (at + 3 < length) {
      // Of three bytes behind a possible start code only 0 and 1 in the last can be part of one.
      const third = window[at + 2] ?? 0;
      if (third > 1) at += 3;
      else if (third === 0) at += 1;
      else if (window[at] !== 0 || window[at + 1] !== 0) at += 3;
      else {
        const nal = at + 3;
        const wanted = this.#reader.lookahead(window[nal] ?? 0);
        if (!final && length - nal < wanted) break;
        const meaning = this.#reader.nal(window, nal, length);
        if (meaning !== NAL_OTHER) {
          if (this.#slices === 0) this.#startsWithin = meaning === NAL_SLICE;
          this.#slices++;
          if (meaning === NAL_PICTURE) {
            this.#pictures++;
            this.#fingerprint.picture(window, nal, length);
          }
          if (this.#firstOnly) {
            this.#done = true;
            return;
          }
        }
        at = nal;
      }
    }
    this.#at = at;
  }

  #compact(): void {
    // The scan stops short of the end by less than the largest lookahead, so this always makes room.
    const from = Math.max(this.#at, CAPACITY - LARGEST_LOOKAHEAD - 3);
    this.#window.copyWithin(0, from, this.#length);
    this.#length -= from;
    this.#at = 0;
  }
}
