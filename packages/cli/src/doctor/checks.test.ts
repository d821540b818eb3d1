import { expect, test } from "vitest";
import { checkFfmpeg } from "./checks.ts";

test("a machine without FFmpeg is told so and not failed for it: a pool needs none", async () => {
  expect(await checkFfmpeg("/nowhere/ffmpeg")).toEqual([
    expect.objectContaining({ level: "warn", what: "ffmpeg", advice: expect.stringContaining("apt-get install") }),
  ]);
});
