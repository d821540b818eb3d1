import { readFileSync } from "node:fs";
import { isNonRetryable, plainProfile, probeMedia, type Profile } from "@openpool/protocol";
import { beforeAll, describe, expect, test } from "vitest";
import { ffmpegMade } from "../../../../test/media/make.ts";
import { type Shape, shapes } from "../../../../test/media/shapes.ts";
import { judgeInput, kindOfWork, sourceShape } from "./work.ts";

const media = new URL("../../../../test/fixtures/media/", import.meta.url);
const wire = new URL("../../../../test/fixtures/wire/bodies/", import.meta.url);
const bytesOf = (path: string | URL): Uint8Array => new Uint8Array(readFileSync(path));
const source = probeMedia(bytesOf(new URL("720.ts", media)));

const wanted = (width: number, height: number, more: Partial<Profile> = {}): Profile =>
  plainProfile({ name: "any", width, height, bitrate: 1, ...more });

describe("the name of a kind of work", () => {
  test("tells source and outputs, whatever order and names the outputs come in", () => {
    const name = "h264 1280x720@25 → 3 × h264 (426x240,640x360,854x480)";
    expect(kindOfWork(source, [wanted(426, 240), wanted(640, 360), wanted(854, 480)])).toBe(name);
    expect(
      kindOfWork(source, [wanted(854, 480, { name: "x" }), wanted(426, 240, { bitrate: 9 }), wanted(640, 360)]),
    ).toBe(name);
  });

  test("tells frame rates, other codecs, and what it does not know", () => {
    expect(
      kindOfWork(undefined, [wanted(426, 240, { fps: 30_000, fpsDen: 1001 }), wanted(640, 360, { codec: "h265" })]),
    ).toBe("unknown → 2 × h264+h265 (426x240@30,640x360)");
  });

  test("tells what makes a source harder", async () => {
    const shape: Shape = shapes["4:2:2 10 bit"];
    expect(sourceShape(probeMedia(bytesOf(await ffmpegMade("ts", await shape.args()))))).toBe(
      "h264 320x180@25 4:2:2 10 bit",
    );
  });
});

describe("input that nobody can transcode", () => {
  const judged = new Map<string, string>();
  beforeAll(async () => {
    await Promise.all(
      Object.entries(shapes as Record<string, Shape>).map(async ([name, shape]) => {
        const path = await ffmpegMade(shape.extension, await shape.args());
        judged.set(name, judgeInput(probeMedia(bytesOf(path))).kind);
      }),
    );
  }, 180_000);

  test.each(Object.keys(shapes))("%s", (name) => {
    expect(judged.get(name)).toBe(name.startsWith("sound only") ? "hopeless" : "ok");
  });

  test.each([
    ["nothing", new Uint8Array(), "hopeless"],
    ["random bytes, as a stock transcoder refuses them", bytesOf(new URL("c9efb2d22125aae0.ts", wire)), "hopeless"],
    ["a web page", new TextEncoder().encode("<html>"), "hopeless"],
    ["a segment with a damaged tail", bytesOf(new URL("b7019710bb71ff05.ts", wire)), "ok"],
    ["a good segment", bytesOf(new URL("720.ts", media)), "ok"],
    ["a good segment, half of it", bytesOf(new URL("720.ts", media)).subarray(0, 400_000), "ok"],
    ["a Matroska file", new Uint8Array([0x1a, 0x45, 0xdf, 0xa3, 1, 2, 3]), "ok"],
    ["an FLV file", new TextEncoder().encode("FLV\u0001"), "ok"],
  ])("%s", (_name, data, kind) => {
    const verdict = judgeInput(probeMedia(data));
    expect(verdict.kind).toBe(kind);
    // Anything else would cost the gateway its session.
    if (verdict.kind === "hopeless") expect(isNonRetryable(verdict.text)).toBe(true);
  });
});
