import { execFileSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { silentLogger } from "@openpool/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sourceSegment } from "../../../test/peers/media.ts";
import { segmentFile, type SegmentFileOptions, type SegmentSource } from "./segments.ts";

let folder = "";
const file = (name: string): string => path.join(folder, name);
const open = (options: SegmentFileOptions): Promise<SegmentSource> => segmentFile(options, { logger: silentLogger });

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "openpool-segments-"));
  const make = (name: string, ...args: readonly string[]): void => {
    const input = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=5", "-f", "lavfi", "-i", "sine=d=5"];
    execFileSync("ffmpeg", ["-v", "error", ...input, ...args, file(name)]);
  };
  make("keyed.mp4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac");
  make("rare.mp4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-c:a", "aac");
  make("other.webm", "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus");
  make("silence.wav");
});
afterAll(() => rm(folder, { recursive: true }));

async function durations(source: SegmentSource): Promise<number[]> {
  const all = [];
  for (let index = 0; index < source.count; index++) all.push((await source.read(index)).durationMs);
  return all;
}

function firstFrame(data: Buffer): string {
  const args = ["-v", "error", "-i", "pipe:0", "-show_entries", "frame=pict_type,key_frame", "-of", "csv=p=0"];
  const out = execFileSync("ffprobe", [...args, "-select_streams", "v", "-read_intervals", "%+#1"], { input: data });
  return out.toString().split("\n")[0]!;
}

test("a file is cut at its keyframes into segments of about two seconds", async () => {
  await using source = await open({ source: file("keyed.mp4") });
  expect(source.container).toBe("mpegts");
  expect(await durations(source)).toEqual([2000, 2000, 1000].map((ms) => expect.closeTo(ms, -2)));
  for (let index = 0; index < source.count; index++) {
    const { data } = await source.read(index);
    expect(data[0]).toBe(0x47);
    expect(firstFrame(data)).toMatch(/^1,I/);
  }
});

test("a file with rare keyframes is given more of them", async () => {
  await using source = await open({ source: file("rare.mp4") });
  expect(source.count).toBe(3);
});

test("what no orchestrator reads becomes H.264 and AAC", async () => {
  await using source = await open({ source: file("other.webm"), container: "mp4" });
  expect(source.count).toBe(3);
  const { data } = await source.read(0);
  await writeFile(file("first.mp4"), data);
  const args = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", file("first.mp4")];
  expect(execFileSync("ffprobe", args).toString().trim().split("\n")).toEqual(["h264", "aac"]);
});

test("a folder of segments is taken as it is, in the order of the numbers in the names", async () => {
  await mkdir(file("ready"));
  for (const name of ["s10.ts", "s9.ts", "notes.txt"]) await writeFile(path.join(file("ready"), name), name);
  await writeFile(path.join(file("ready"), "s1.ts"), sourceSegment);
  await using source = await open({ source: file("ready") });
  expect(source.count).toBe(3);
  const [first, second, third] = [await source.read(0), await source.read(1), await source.read(2)];
  expect(first).toMatchObject({ durationMs: 2000 });
  expect(first.data.equals(sourceSegment)).toBe(true);
  expect([second, third].map(({ data }) => data.toString())).toEqual(["s9.ts", "s10.ts"]);
});

test("what was cut is removed in the end, also after a failure", async () => {
  const cuts = async (): Promise<string[]> =>
    (await readdir(tmpdir())).filter((name) => name.startsWith("openpool-push-"));
  const before = await cuts();
  {
    await using source = await open({ source: file("keyed.mp4") });
    expect(source.count).toBe(3);
  }
  await copyFile(file("keyed.mp4"), file("broken.mp4"));
  await expect(open({ source: file("keyed.mp4"), ffmpeg: "/bin/false" })).rejects.toThrow("push/bad-source");
  expect((await cuts()).filter((name) => !before.includes(name))).toEqual([]);
});

test("what cannot be sent is refused with a reason", async () => {
  await expect(open({ source: file("nothing.mp4") })).rejects.toThrow("cannot read");
  await expect(open({ source: file("silence.wav") })).rejects.toThrow("has no video");
  await mkdir(file("empty"));
  await expect(open({ source: file("empty") })).rejects.toThrow("holds no segments");
  await writeFile(file("text.mp4"), "hello");
  await expect(open({ source: file("text.mp4") })).rejects.toThrow("push/bad-source");
  await expect(open({ source: file("keyed.mp4"), ffprobe: "no-such-ffprobe" })).rejects.toThrow("install FFmpeg");
});
