import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { classifyWorkerError, type ErrorClass, likeness } from "./failure-text.ts";

describe("what an error text blames", () => {
  const cases: readonly (readonly [string, ErrorClass])[] = [
    ["Invalid data found when processing input", "input"],
    ["TranscoderInvalidVideo", "input"],
    ["No keyframes in input", "input"],
    ["Unsupported input pixel format", "input"],
    ["ffmpeg exited with 1: moov atom not found", "input"],
    ["TranscoderBusy", "busy"],
    ["TranscoderStopped", "stopped"],
    ["incompatible segment capabilities", "unable"],
    ["404 Not Found", "download"],
    ["503 Service Unavailable", "download"],
    ['Get "https://pool:8935/stream/1/x.ts": dial tcp 10.0.0.1:8935: connect: connection refused', "download"],
    ['Get "https://p/x": context deadline exceeded (Client.Timeout exceeded while awaiting headers)', "download"],
    ['Get "https://p/x": EOF', "download"],
    ["open /tmp/a-1-5.tempfile: no space left on device", "machine"],
    ["Cannot allocate memory", "machine"],
    ["OpenEncodeSessionEx failed: out of memory (10): (no details) h264_nvenc", "machine"],
    ["Unrecoverable state, restart process", "machine"],
    ["segment / profile mismatch", "unclear"],
    ["Conversion failed!", "unclear"],
    ["Invalid argument", "unclear"],
    ["", "unclear"],
  ];
  test.each(cases)("%j: %s", (text, expected) => {
    expect(classifyWorkerError(text)).toBe(expected);
  });
});

describe("likeness", () => {
  test.each([
    ["frame 12 of 50 is broken", "frame 7 of 50 is broken"],
    ["open /tmp/a/1.ts: no such file", "open /home/b/2.ts: no such file"],
    ['cannot read "a.ts" at 0xdeadbeef', 'cannot read "b.ts" at 0x1234'],
    ["Conversion failed!", "  conversion FAILED"],
  ])("%j is like %j", (a, b) => {
    expect(likeness(a)).toBe(likeness(b));
  });

  test("different troubles stay different", () => {
    expect(likeness("Conversion failed!")).not.toBe(likeness("segment / profile mismatch"));
  });

  test("any text of any worker has one, soon, and no longer than itself plus its marks", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2_000 }), (text) => {
        expect(likeness(text).length).toBeLessThanOrEqual(600);
        expect(classifyWorkerError(text)).toBeDefined();
      }),
    );
    expect(likeness(`${"/".repeat(100_000)}a`).length).toBeLessThan(600);
    expect(likeness("a.".repeat(100_000)).length).toBeLessThan(600);
  });
});
