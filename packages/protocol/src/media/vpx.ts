import { MAX_SIDE } from "./nal.ts";

/** What the header of one VP8 or VP9 frame tells. */
export interface VpxFrame {
  readonly key: boolean;
  /** A decoder puts it out. */
  readonly shown: boolean;
  /** Only key frames tell. */
  readonly width: number;
  readonly height: number;
}

const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;

function sized(key: boolean, shown: boolean, width: number, height: number): VpxFrame | undefined {
  if (key && (width <= 0 || height <= 0 || width > MAX_SIDE || height > MAX_SIDE)) return undefined;
  return { key, shown, width, height };
}

export function parseVp8Frame(data: Uint8Array, at: number, end: number): VpxFrame | undefined {
  if (end - at < 3) return undefined;
  const tag = byte(data, at);
  const key = (tag & 1) === 0;
  const shown = (tag & 0x10) !== 0;
  if (!key) return sized(false, shown, 0, 0);
  if (end - at < 10 || byte(data, at + 3) !== 0x9d || byte(data, at + 4) !== 1 || byte(data, at + 5) !== 0x2a) {
    return undefined;
  }
  const width = (byte(data, at + 6) | (byte(data, at + 7) << 8)) & 0x3fff;
  const height = (byte(data, at + 8) | (byte(data, at + 9) << 8)) & 0x3fff;
  return sized(true, shown, width, height);
}

/** Reads the first frame of a packet. Hidden frames come in one packet with the shown one that follows them. */
export function parseVp9Frame(data: Uint8Array, at: number, end: number): VpxFrame | undefined {
  if (end - at < 1 || byte(data, at) >> 6 !== 2) return undefined;
  let bit = 2;
  const bits = (count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++, bit++) {
      const index = at + (bit >> 3);
      value = value * 2 + (index < end ? (byte(data, index) >> (7 - (bit & 7))) & 1 : 0);
    }
    return value;
  };
  const profile = bits(1) + 2 * bits(1);
  if (profile === 3 && bits(1) === 1) return undefined;
  if (bits(1) === 1) return sized(false, true, 0, 0);
  const key = bits(1) === 0;
  const shown = bits(1) === 1;
  bits(1);
  if (!key) return sized(false, shown, 0, 0);
  if (bits(24) !== 0x498342) return undefined;
  if (profile >= 2) bits(1);
  const colorSpace = bits(3);
  if (colorSpace !== 7) {
    bits(1);
    if (profile % 2 === 1) bits(3);
  } else if (profile % 2 === 1) bits(1);
  const width = bits(16) + 1;
  const height = bits(16) + 1;
  return sized(true, shown, width, height);
}
