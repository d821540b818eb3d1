import type { Profile } from "@openpool/protocol";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expectedSizes, isExpectedSize, type Size } from "./expected-size.ts";

const asks = (width: number, height: number, codec: Profile["codec"] = "h264"): Profile => ({
  name: "any",
  width,
  height,
  bitrate: 1,
  fps: 0,
  fpsDen: 1,
  container: "mpegts",
  codec,
  h264Profile: "default",
  gopMs: 0,
  quality: 0,
});
const size = (text: string): Size => {
  const [width, height] = text.split("x").map(Number);
  return { width: width!, height: height! };
};

describe("the size of a rendition", () => {
  test.each([
    // As measured at unmodified transcoders.
    ["426x240", 256, 144, "256x144"],
    ["426x240", 854, 480, "854x482"],
    ["426x240", 1, 1, "146x82"],
    ["426x240", 0, 0, "146x82"],
    // By their rule.
    ["1280x720", 426, 240, "426x240"],
    ["1280x720", 240, 426, "426x240"],
    ["720x1280", 426, 240, "240x426"],
    ["720x1280", 240, 426, "240x426"],
    ["1920x1080", 640, 480, "640x360"],
    ["1440x1080", 854, 480, "854x640"],
    ["1920x1080", 8000, 4500, "4096x2304"],
    ["500x500", 300, 200, "300x300"],
    ["1920x800", 640, 360, "640x266"],
  ])("%s, asked for %ix%i, comes out as %s", (source, width, height, expected) => {
    expect(expectedSizes(asks(width, height), size(source))).toContainEqual(size(expected));
    expect(isExpectedSize(asks(width, height), size(source), size(expected))).toBe(true);
    expect(isExpectedSize(asks(width, height), undefined, size(expected)) || width < 2).toBe(true);
  });

  test("a standing source may be led by either side, in its own aspect ratio", () => {
    expect(isExpectedSize(asks(640, 480), size("720x1280"), size("360x640"))).toBe(true);
    expect(isExpectedSize(asks(640, 480), size("720x1280"), size("480x854"))).toBe(true);
    expect(isExpectedSize(asks(640, 480), size("720x1280"), size("640x1138"))).toBe(false);
  });

  test("exactly what was asked for is right, whatever the source", () => {
    expect(isExpectedSize(asks(640, 480), size("1920x1080"), size("640x480"))).toBe(true);
  });

  test("VP8 and VP9 stay as large as the source", () => {
    expect(isExpectedSize(asks(256, 144, "vp8"), size("426x240"), size("426x240"))).toBe(true);
    expect(isExpectedSize(asks(256, 144, "vp9"), size("426x240"), size("256x144"))).toBe(true);
    expect(isExpectedSize(asks(256, 144, "vp9"), size("426x240"), size("320x180"))).toBe(false);
  });

  test("a smaller or a larger picture is neither", () => {
    const side = fc.integer({ min: 200, max: 2000 });
    fc.assert(
      fc.property(side, side, side, side, fc.constantFrom(0.5, 0.8, 1.25, 2), (width, height, iw, ih, factor) => {
        const source = { width: iw, height: ih };
        const [honest] = expectedSizes(asks(width, height), source);
        // Long and narrow pictures have several honest sizes, all of one shape; the exact request is one too.
        const other = { width: Math.round(honest!.width * factor), height: Math.round(honest!.height * factor) };
        const allowed = expectedSizes(asks(width, height), source).some(
          (one) => Math.abs(one.width - other.width) <= 2,
        );
        const asked = other.width === width && other.height === height;
        expect(isExpectedSize(asks(width, height), source, honest!)).toBe(true);
        if (!allowed && !asked) expect(isExpectedSize(asks(width, height), source, other)).toBe(false);
      }),
    );
  });
});
