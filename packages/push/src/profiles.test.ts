import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultProfiles, parseProfiles, ProfilesError } from "./profiles.ts";

function problemsOf(text: string): readonly string[] {
  try {
    parseProfiles(text);
    return [];
  } catch (error) {
    if (error instanceof ProfilesError) return error.info.problems;
    throw error;
  }
}

test("without a word a gateway asks for the two stock presets", () => {
  expect(defaultProfiles.map(({ name }) => name).sort()).toEqual(["P240p30fps16x9", "P360p30fps16x9"]);
});

test("go-livepeer's own JSON is understood", () => {
  const text = `[
    {"name":"720p","width":1280,"height":720,"bitrate":3000000,"fps":30,"fpsDen":1,"profile":"H264ConstrainedHigh","gop":"2.0"},
    {"width":426,"height":240,"bitrate":250000,"fps":30000,"fpsDen":1001,"profile":"h264baseline","gop":"intra"},
    {"name":"x","width":640,"height":360,"bitrate":0,"encoder":"HEVC","quality":28,"colorDepth":0}
  ]`;
  expect(parseProfiles(text)).toMatchObject([
    { name: "720p", width: 1280, fps: 30, fpsDen: 1, h264Profile: "constrained-high", gopMs: 2000, codec: "h264" },
    { name: "custom_426x240_250000", fps: 30_000, fpsDen: 1001, h264Profile: "baseline", gopMs: -1 },
    { name: "x", codec: "h265", quality: 28, gopMs: 0, h264Profile: "default" },
  ]);
});

test("presets can be named", () => {
  expect(parseProfiles("P144p30fps16x9, P720p25fps16x9")).toMatchObject([
    { width: 256, height: 144, bitrate: 400_000, fps: 30 },
    { width: 1280, height: 720, bitrate: 3_500_000, fps: 25 },
  ]);
});

describe("a mistake is named, and so is every other:", () => {
  test.each([
    ["[", ["it is not JSON"]],
    ["{}", ["it must be a JSON array"]],
    ["[]", ["there is no profile in it"]],
    ["[3]", ["profile 0: it must be an object"]],
    ["P1080p60", ['no preset is called "P1080p60"']],
    [
      '[{"width":640,"height":360},{"width":0,"height":"a"}]',
      ["profile 1: width must be", "profile 1: height must be"],
    ],
    ['[{"width":640,"height":360,"gop":"-2","profile":"H265"}]', ['profile "H265" is not known', "gop must be"]],
    ['[{"width":640,"height":360,"bitrat":1}]', ['no setting called "bitrat"']],
    ['[{"width":640,"height":360,"colorDepth":2}]', ["colorDepth can only be 0"]],
  ])("%s", (text, expected) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(expected.length);
    for (const [index, part] of [...expected].sort().entries()) expect([...problems].sort()[index]).toContain(part);
  });
});

test("no text makes it fail in another way", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((json) => `[${json}]`),
      ),
      (text) => {
        problemsOf(text);
      },
    ),
  );
});
