import { describe, expect, test } from "vitest";
import { H264Reader } from "./h264.ts";
import { NAL_OTHER, NAL_PICTURE, NAL_SLICE, type NalMeaning } from "./nal.ts";

/** Writes bits, Exp-Golomb codes and emulation prevention as an encoder does. */
class Bits {
  #bits = "";
  u(width: number, value: number): this {
    this.#bits += value.toString(2).padStart(width, "0");
    return this;
  }
  ue(value: number): this {
    const code = (value + 1).toString(2);
    this.#bits += "0".repeat(code.length - 1) + code;
    return this;
  }
  nal(type: number): Uint8Array {
    const padded = `${this.#bits}1`.padEnd(Math.ceil((this.#bits.length + 1) / 8) * 8, "0");
    const bytes = [0x60 | type];
    let zeros = 0;
    for (let at = 0; at < padded.length; at += 8) {
      const byte = Number.parseInt(padded.slice(at, at + 8), 2);
      if (zeros >= 2 && byte <= 3) {
        bytes.push(3);
        zeros = 0;
      }
      bytes.push(byte);
      zeros = byte === 0 ? zeros + 1 : 0;
    }
    return new Uint8Array(bytes);
  }
}

interface Sequence {
  readonly frameMbsOnly?: boolean;
  readonly widthMbs?: number;
  readonly heightUnits?: number;
  readonly crop?: readonly [number, number, number, number];
}

function sps({ frameMbsOnly = true, widthMbs = 20, heightUnits = 12, crop }: Sequence): Uint8Array {
  const bits = new Bits()
    .u(8, 77)
    .u(8, 0)
    .u(8, 30)
    .ue(0)
    .ue(0)
    .ue(2)
    .ue(1)
    .u(1, 0)
    .ue(widthMbs - 1)
    .ue(heightUnits - 1);
  bits.u(1, frameMbsOnly ? 1 : 0);
  if (!frameMbsOnly) bits.u(1, 0);
  bits.u(1, 1).u(1, crop ? 1 : 0);
  for (const side of crop ?? []) bits.ue(side);
  return bits.u(1, 0).nal(7);
}

const pps = new Bits().ue(0).ue(0).u(2, 0).ue(0).nal(8);

interface Slice {
  readonly frameNum: number;
  readonly field?: "top" | "bottom";
  readonly firstMb?: number;
  readonly idr?: boolean;
}

function slice({ frameNum, field, firstMb = 0, idr = false }: Slice): Uint8Array {
  const bits = new Bits()
    .ue(firstMb)
    .ue(7)
    .ue(0)
    .u(4, frameNum)
    .u(1, field ? 1 : 0);
  if (field) bits.u(1, field === "bottom" ? 1 : 0);
  return bits.u(24, 0xabcdef).nal(idr ? 5 : 1);
}

function read(reader: H264Reader, ...nals: readonly Uint8Array[]): NalMeaning[] {
  return nals.map((nal) => reader.nal(nal, 0, nal.length));
}

describe("pictures that are coded as fields", () => {
  const started = (): H264Reader => {
    const reader = new H264Reader();
    read(reader, sps({ frameMbsOnly: false, heightUnits: 6 }), pps);
    return reader;
  };

  test("two fields of opposite parity are one picture", () => {
    const reader = started();
    expect(
      read(
        reader,
        slice({ frameNum: 0, field: "top", idr: true }),
        slice({ frameNum: 0, field: "bottom" }),
        slice({ frameNum: 1, field: "top" }),
        slice({ frameNum: 1, field: "bottom" }),
      ),
    ).toEqual([NAL_PICTURE, NAL_SLICE, NAL_PICTURE, NAL_SLICE]);
    expect(reader.keyframeFirst).toBe(true);
    expect(reader.format).toMatchObject({ width: 320, height: 192, interlaced: true });
  });

  test("a field whose other half is missing is a picture of its own", () => {
    expect(
      read(
        started(),
        slice({ frameNum: 0, field: "top", idr: true }),
        slice({ frameNum: 1, field: "top" }),
        slice({ frameNum: 1, field: "bottom" }),
        slice({ frameNum: 2, field: "bottom" }),
      ),
    ).toEqual([NAL_PICTURE, NAL_PICTURE, NAL_SLICE, NAL_PICTURE]);
  });

  test("frames between fields are pictures, and further slices are none", () => {
    expect(
      read(
        started(),
        slice({ frameNum: 0, idr: true }),
        slice({ frameNum: 0, firstMb: 40, idr: true }),
        slice({ frameNum: 1, field: "bottom" }),
        slice({ frameNum: 1, field: "bottom", firstMb: 20 }),
        slice({ frameNum: 1, field: "top" }),
        slice({ frameNum: 2 }),
      ),
    ).toEqual([NAL_PICTURE, NAL_SLICE, NAL_PICTURE, NAL_SLICE, NAL_SLICE, NAL_PICTURE]);
  });
});

describe("parameter sets", () => {
  test("cropping is taken off, in units of two lines for frames and four for fields", () => {
    const frames = new H264Reader();
    read(frames, sps({ crop: [1, 2, 3, 4] }));
    expect(frames.format).toMatchObject({ width: 320 - 6, height: 192 - 14, interlaced: false });
    const fields = new H264Reader();
    read(fields, sps({ frameMbsOnly: false, heightUnits: 6, crop: [0, 0, 0, 2] }));
    expect(fields.format).toMatchObject({ width: 320, height: 192 - 8 });
  });

  test("sizes that no decoder takes, and sets that end too early, are no sizes", () => {
    for (const bad of [sps({ widthMbs: 5000 }), sps({ crop: [200, 200, 0, 0] }), sps({}).subarray(0, 6)]) {
      const reader = new H264Reader();
      expect(read(reader, bad)).toEqual([NAL_OTHER]);
      expect(reader.format).toBeUndefined();
    }
  });
});
