import { expect, test } from "vitest";
import { BoxReader } from "./boxes.ts";
import { type SampleBudget, walkFragment } from "./mp4-samples.ts";

const u32 = (...values: number[]): number[] =>
  values.flatMap((value) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);

const box = (type: string, ...content: number[]): number[] => [
  ...u32(8 + content.length),
  ...[...type].map((letter) => letter.charCodeAt(0)),
  ...content,
];

test("a run that costs no bytes claims no more samples than the file has bytes, over all its tracks", () => {
  // No field for each sample, a default size of nothing, and four thousand million of them.
  const tfhd = box("tfhd", ...u32(0x10, 1, 0));
  const traf = box("traf", ...tfhd, ...box("trun", ...u32(0, 0xffff_ffff)));
  const data = new Uint8Array(box("moof", ...traf));
  const boxes = new BoxReader(data);
  const [moof] = [...boxes.within(0, data.length)];
  const fragment = boxes.child(moof!, "traf");
  const header = boxes.child(fragment, "tfhd");
  const budget: SampleBudget = { left: data.length };
  let taken = 0;
  for (let track = 0; track < 32; track++) {
    const state = { decodeTime: 0, samples: 0 };
    const sound = walkFragment(boxes, moof!, fragment!, header!, { duration: 1, size: 0 }, state, budget, () => {
      taken++;
      return true;
    });
    expect(sound).toBe(false);
  }
  expect(taken).toBeLessThanOrEqual(data.length);
});
