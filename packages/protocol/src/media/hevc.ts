import { BitReader } from "./bits.ts";
import {
  CHROMA_NAMES,
  MAX_SIDE,
  NAL_OTHER,
  NAL_PICTURE,
  NAL_SLICE,
  type NalMeaning,
  type NalReader,
  type PictureFormat,
} from "./nal.ts";

const profileNames: ReadonlyMap<number, string> = new Map([
  [1, "main"],
  [2, "main-10"],
  [3, "main-still"],
  [4, "range-extensions"],
]);

const SPS = 33;
const END_OF_SEQUENCE = 36;
const END_OF_BITSTREAM = 37;

/** Reads a sequence parameter set; `start` is behind the two bytes of the NAL header. */
function parseHevcSps(data: Uint8Array, start: number, end: number): PictureFormat | undefined {
  const reader = new BitReader(data, start, end);
  reader.skip(4);
  const subLayers = reader.bits(3);
  reader.skip(1);
  reader.skip(3);
  const profileIdc = reader.bits(5);
  reader.skip(32);
  const progressive = reader.bit();
  const interlaced = reader.bit();
  reader.skip(46 + 8);
  const present: { readonly profile: number; readonly level: number }[] = [];
  for (let i = 0; i < subLayers; i++) present.push({ profile: reader.bit(), level: reader.bit() });
  if (subLayers > 0) for (let i = subLayers; i < 8; i++) reader.skip(2);
  for (const layer of present) reader.skip(88 * layer.profile + 8 * layer.level);
  reader.ue();
  const chromaIdc = reader.ue();
  if (chromaIdc === 3) reader.skip(1);
  let width = reader.ue();
  let height = reader.ue();
  if (reader.bit()) {
    const cropX = chromaIdc === 1 || chromaIdc === 2 ? 2 : 1;
    const cropY = chromaIdc === 1 ? 2 : 1;
    width -= (reader.ue() + reader.ue()) * cropX;
    height -= (reader.ue() + reader.ue()) * cropY;
  }
  const bitDepth = 8 + reader.ue();
  if (reader.overrun || chromaIdc > 3 || bitDepth > 16) return undefined;
  if (width <= 0 || height <= 0 || width > MAX_SIDE || height > MAX_SIDE) return undefined;
  return {
    width,
    height,
    chroma: CHROMA_NAMES[chromaIdc],
    bitDepth,
    profile: profileNames.get(profileIdc) ?? `profile-${profileIdc}`,
    interlaced: interlaced === 1 && progressive === 0,
  };
}

/** Reads the NAL units of one HEVC stream in order. */
export class HevcReader implements NalReader {
  readonly codec = "hevc";
  readonly fields = false;
  #format: PictureFormat | undefined;
  #sizeChanged = false;
  #started = false;
  #keyframeFirst = false;
  /** The next random access picture starts a sequence: the pictures that lead it refer to what nobody has. */
  #sequenceStart = true;
  #dropLeading = false;
  #inDropped = false;

  get format(): PictureFormat | undefined {
    return this.#format;
  }
  get sizeChanged(): boolean {
    return this.#sizeChanged;
  }
  get keyframeFirst(): boolean {
    return this.#keyframeFirst;
  }

  lookahead(header: number): number {
    const type = (header >> 1) & 63;
    if (type === SPS) return 1024;
    return type < 32 ? 3 : 2;
  }

  nal(data: Uint8Array, at: number, end: number): NalMeaning {
    const type = ((data[at] ?? 0) >> 1) & 63;
    if (type === SPS) {
      this.#readSps(data, at + 2, end);
      return NAL_OTHER;
    }
    if (type === END_OF_SEQUENCE || type === END_OF_BITSTREAM) this.#sequenceStart = true;
    // Layers above the base layer belong to pictures that are already counted.
    const layer = (((data[at] ?? 0) & 1) << 5) | ((data[at + 1] ?? 0) >> 3);
    if ((type > 9 && type < 16) || type > 21 || layer !== 0) return NAL_OTHER;
    if (((data[at + 2] ?? 0) & 0x80) === 0) return this.#inDropped ? NAL_OTHER : NAL_SLICE;
    return this.#picture(type);
  }

  #picture(type: number): NalMeaning {
    const randomAccess = type >= 16;
    if (!this.#started) {
      this.#started = true;
      this.#keyframeFirst = randomAccess;
    }
    if (randomAccess) {
      this.#dropLeading = this.#sequenceStart || type < 21;
      this.#sequenceStart = false;
    }
    this.#inDropped = (type === 8 || type === 9) && this.#dropLeading;
    return this.#inDropped ? NAL_OTHER : NAL_PICTURE;
  }

  #readSps(data: Uint8Array, start: number, end: number): void {
    const format = parseHevcSps(data, start, end);
    if (!format) return;
    this.#format ??= format;
    if (format.width !== this.#format.width || format.height !== this.#format.height) this.#sizeChanged = true;
  }
}
