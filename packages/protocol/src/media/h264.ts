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

interface H264Sps extends PictureFormat {
  readonly id: number;
  readonly separatePlanes: boolean;
  readonly frameNumBits: number;
  readonly frameMbsOnly: boolean;
}

const withChroma: ReadonlySet<number> = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);

function profileName(idc: number, constraints: number): string {
  if (idc === 66) return constraints & 0x40 ? "constrained-baseline" : "baseline";
  if (idc === 77) return "main";
  if (idc === 88) return "extended";
  if (idc === 100) return "high";
  if (idc === 110) return "high-10";
  if (idc === 122) return "high-4:2:2";
  if (idc === 244) return "high-4:4:4";
  return `profile-${idc}`;
}

function skipScalingList(reader: BitReader, size: number): void {
  let last = 8;
  let next = 8;
  for (let i = 0; i < size && !reader.overrun; i++) {
    if (next !== 0) next = (last + reader.se() + 256) % 256;
    last = next === 0 ? last : next;
  }
}

/** Reads a sequence parameter set; `start` is behind the NAL header. Undefined when it makes no sense. */
function parseH264Sps(data: Uint8Array, start: number, end: number): H264Sps | undefined {
  const reader = new BitReader(data, start, end);
  const profileIdc = reader.bits(8);
  const constraints = reader.bits(8);
  reader.skip(8);
  const id = reader.ue();
  let chromaIdc = 1;
  let separatePlanes = false;
  let bitDepth = 8;
  if (withChroma.has(profileIdc)) {
    chromaIdc = reader.ue();
    if (chromaIdc === 3) separatePlanes = reader.bit() === 1;
    bitDepth = 8 + reader.ue();
    reader.ue();
    reader.skip(1);
    if (reader.bit()) {
      for (let i = 0; i < (chromaIdc === 3 ? 12 : 8); i++) if (reader.bit()) skipScalingList(reader, i < 6 ? 16 : 64);
    }
  }
  const frameNumBits = reader.ue() + 4;
  const orderType = reader.ue();
  if (orderType === 0) reader.ue();
  else if (orderType === 1) {
    reader.skip(1);
    reader.se();
    reader.se();
    const cycle = reader.ue();
    for (let i = 0; i < cycle && !reader.overrun; i++) reader.se();
  }
  reader.ue();
  reader.skip(1);
  const widthMbs = reader.ue() + 1;
  const heightUnits = reader.ue() + 1;
  const frameMbsOnly = reader.bit() === 1;
  if (!frameMbsOnly) reader.skip(1);
  reader.skip(1);
  let left = 0;
  let right = 0;
  let top = 0;
  let bottom = 0;
  if (reader.bit()) {
    left = reader.ue();
    right = reader.ue();
    top = reader.ue();
    bottom = reader.ue();
  }
  if (reader.overrun || chromaIdc > 3 || id > 31 || bitDepth > 14 || frameNumBits > 16) return undefined;
  const fieldFactor = frameMbsOnly ? 1 : 2;
  const cropX = chromaIdc === 0 || chromaIdc === 3 ? 1 : 2;
  const cropY = (chromaIdc === 1 ? 2 : 1) * fieldFactor;
  const width = widthMbs * 16 - (left + right) * cropX;
  const height = heightUnits * 16 * fieldFactor - (top + bottom) * cropY;
  if (width <= 0 || height <= 0 || width > MAX_SIDE || height > MAX_SIDE) return undefined;
  return {
    id,
    width,
    height,
    chroma: CHROMA_NAMES[chromaIdc],
    bitDepth,
    profile: profileName(profileIdc, constraints),
    interlaced: !frameMbsOnly,
    separatePlanes,
    frameNumBits,
    frameMbsOnly,
  };
}

/** Reads the NAL units of one H.264 stream in order: parameter sets, and which slices begin a picture. */
export class H264Reader implements NalReader {
  readonly codec = "h264";
  readonly #sps = new Map<number, H264Sps>();
  readonly #spsOfPps = new Map<number, number>();
  #format: H264Sps | undefined;
  #sizeChanged = false;
  #fields = false;
  #started = false;
  #keyframeFirst = false;
  /** The first field of a picture whose second field has not come yet. */
  #openField: { readonly frameNum: number; readonly bottom: boolean } | undefined;

  get format(): PictureFormat | undefined {
    return this.#format;
  }
  get sizeChanged(): boolean {
    return this.#sizeChanged;
  }
  get keyframeFirst(): boolean {
    return this.#keyframeFirst;
  }
  get fields(): boolean {
    return this.#fields;
  }

  lookahead(header: number): number {
    const type = header & 31;
    if (type === 7) return 1024;
    return type === 1 || type === 5 || type === 8 ? 32 : 1;
  }

  nal(data: Uint8Array, at: number, end: number): NalMeaning {
    const type = (data[at] ?? 0) & 31;
    if (type === 1 || type === 5) return this.#slice(type === 5, data, at + 1, end);
    if (type === 7) this.#readSps(data, at + 1, end);
    else if (type === 8) {
      const reader = new BitReader(data, at + 1, end);
      const pps = reader.ue();
      const sps = reader.ue();
      if (!reader.overrun && pps < 256 && sps < 32) this.#spsOfPps.set(pps, sps);
    }
    return NAL_OTHER;
  }

  #readSps(data: Uint8Array, start: number, end: number): void {
    const sps = parseH264Sps(data, start, end);
    if (!sps) return;
    this.#sps.set(sps.id, sps);
    this.#format ??= sps;
    if (!sps.frameMbsOnly) this.#fields = true;
    if (sps.width !== this.#format.width || sps.height !== this.#format.height) this.#sizeChanged = true;
  }

  #slice(idr: boolean, data: Uint8Array, start: number, end: number): NalMeaning {
    // first_mb_in_slice is 0 exactly when the first bit is set.
    if (((data[start] ?? 0) & 0x80) === 0) return NAL_SLICE;
    if (!this.#started) {
      this.#started = true;
      this.#keyframeFirst = idr;
    }
    return this.#fields && this.#isSecondField(data, start, end) ? NAL_SLICE : NAL_PICTURE;
  }

  #isSecondField(data: Uint8Array, start: number, end: number): boolean {
    const open = this.#openField;
    this.#openField = undefined;
    const reader = new BitReader(data, start, end);
    reader.ue();
    reader.ue();
    const pps = reader.ue();
    const sps = this.#sps.get(this.#spsOfPps.get(pps) ?? -1) ?? this.#format;
    if (!sps || sps.frameMbsOnly) return false;
    if (sps.separatePlanes) reader.skip(2);
    const frameNum = reader.bits(sps.frameNumBits);
    if (reader.bit() === 0) return false;
    const bottom = reader.bit() === 1;
    if (open && open.frameNum === frameNum && open.bottom !== bottom) return true;
    this.#openField = { frameNum, bottom };
    return false;
  }
}
