import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { decodeVideo, type DecodedVideo, ffmpegBytes, ffmpegMade, testPicture } from "../../../../test/media/make.ts";
import { probeMedia } from "./probe.ts";
import { muxTs, type PesUnit, splitPictures } from "./testing/mux.ts";
import { type Shape, shapes } from "../../../../test/media/shapes.ts";
import { type MediaFile, type MediaProbe, PTS_WRAP, type VideoTrack } from "./types.ts";

const media = new URL("../../../../test/fixtures/media/", import.meta.url);
const wire = new URL("../../../../test/fixtures/wire/", import.meta.url);

function file(probe: MediaProbe): MediaFile {
  if (probe.kind !== "media") throw new Error(`unreadable: ${probe.why}`);
  return probe;
}

function video(data: Uint8Array): VideoTrack {
  const track = file(probeMedia(data)).video;
  if (!track) throw new Error("no video");
  return track;
}

const onCircle = (a: number, b: number): number => {
  const distance = (((a - b) % PTS_WRAP) + PTS_WRAP) % PTS_WRAP;
  return Math.min(distance, PTS_WRAP - distance);
};

const codecs = new Set(["h264", "hevc", "vp8", "vp9"]);

describe("what FFmpeg decodes, the probe has counted", () => {
  /** Nothing reads these back: FFmpeg writes them as nameless data. */
  const nameless = new Set(["VP8 in MPEG-TS", "VP9 in MPEG-TS"]);
  const found = new Map<string, { readonly data: Uint8Array; readonly decoded: DecodedVideo | undefined }>();

  beforeAll(async () => {
    await Promise.all(
      Object.entries(shapes).map(async ([name, shape]: [string, Shape]) => {
        const path = await ffmpegMade(shape.extension, await shape.args());
        found.set(name, { data: new Uint8Array(readFileSync(path)), decoded: await decodeVideo(path) });
      }),
    );
  }, 180_000);

  function expectAgreement(
    data: Uint8Array,
    decoded: DecodedVideo,
    { extension, startSlack = 1.5 }: Omit<Shape, "args">,
  ) {
    const probe = file(probeMedia(data));
    expect(probe.container).toBe(extension === "mp4" ? "mp4" : "mpegts");
    expect(probe.problems.filter((problem) => !problem.startsWith("several-"))).toEqual([]);
    const track = probe.video!;
    expect(track.frames).toBe(decoded.frames);
    expect(track.codec).toBe(codecs.has(decoded.codec) ? decoded.codec : "unknown");
    if (codecs.has(decoded.codec)) {
      expect([track.width, track.height]).toEqual([decoded.width, decoded.height]);
      expect(track.keyframeFirst).toBe(true);
    }
    expect(onCircle(track.firstPts!, decoded.firstPts)).toBeLessThan(startSlack);
    expect(track.lastPts! - track.firstPts!).toBeCloseTo(decoded.lastPts - decoded.firstPts, -0.5);
    if (track.chroma) {
      const depth = track.bitDepth === 10 ? "10le" : "";
      expect(`yuv${track.chroma.replaceAll(":", "")}p${depth}`).toBe(decoded.pixelFormat);
    }
  }

  test.each(Object.entries(shapes).filter(([name]) => !nameless.has(name)))("%s", (name, shape: Shape) => {
    const { data, decoded } = found.get(name)!;
    if (decoded) return expectAgreement(data, decoded, shape);
    const probe = file(probeMedia(data));
    expect(probe.problems).toEqual([]);
    expect(probe.video).toBeUndefined();
    expect(probe.audio?.codec).toBe("aac");
  });

  test("whatever somebody sets x264 and the container to", async () => {
    // Of less than this FFmpeg does not recognise a transport stream; interlaced lines come in fours.
    const side = (max: number, step: number) => fc.integer({ min: 64 / step, max: max / step }).map((n) => n * step);
    const settings = fc.record({
      size: fc.tuple(side(400, 2), side(300, 4)).map((sides) => sides.join("x")),
      rate: fc.constantFrom("1", "12.5", "24000/1001", "25", "30", "60000/1001"),
      frames: fc.integer({ min: 1, max: 24 }),
      pixelFormat: fc.constantFrom("yuv420p", "yuv420p", "yuv422p", "yuv444p", "yuv420p10le"),
      preset: fc.constantFrom("ultrafast", "veryfast"),
      bFrames: fc.integer({ min: 0, max: 4 }),
      gop: fc.integer({ min: 1, max: 30 }),
      refs: fc.integer({ min: 1, max: 6 }),
      slices: fc.integer({ min: 1, max: 4 }),
      x264: fc.subarray([
        "aud=1",
        "repeat-headers=1",
        "open-gop=1",
        "b-pyramid=normal",
        "fake-interlaced=1",
        "cabac=0",
      ]),
      muxer: fc.constantFrom(
        { extension: "ts", args: [] },
        { extension: "ts", args: ["-output_ts_offset", "95443.5"] },
        { extension: "mp4", args: [] },
        { extension: "mp4", args: ["-movflags", "frag_keyframe+empty_moov"] },
      ) as fc.Arbitrary<{ extension: "ts" | "mp4"; args: string[] }>,
    });
    const property = fc.asyncProperty(settings, async (s) => {
      const encoder = ["-c:v", "libx264", "-threads", "1", "-preset", s.preset, "-pix_fmt", s.pixelFormat];
      const counts = ["-bf", s.bFrames, "-g", s.gop, "-refs", s.refs, "-slices", s.slices, "-frames:v", s.frames].map(
        String,
      );
      const own = s.x264.length > 0 ? ["-x264-params", s.x264.join(":")] : [];
      const args = [...testPicture(s.size, s.rate, 30), ...encoder, ...counts, ...own, ...s.muxer.args];
      const path = await ffmpegMade(s.muxer.extension, args);
      expectAgreement(new Uint8Array(readFileSync(path)), (await decodeVideo(path))!, s.muxer);
    });
    await fc.assert(property, { numRuns: 20 });
  }, 180_000);

  test("VP8 and VP9 in MPEG-TS are recognised by their frames, hidden ones not counted", () => {
    for (const name of nameless) {
      expect(video(found.get(name)!.data)).toMatchObject({
        codec: name.slice(0, 3).toLowerCase(),
        width: 320,
        height: 180,
        frames: 25,
        fps: 25,
        keyframeFirst: true,
      });
    }
  });

  test("sound is found beside the picture", () => {
    for (const name of ["MPEG-TS with sound", "MP4 with the index behind", "MP4 in fragments"]) {
      const { audio } = file(probeMedia(found.get(name)!.data));
      expect(audio?.codec).toBe("aac");
      expect(audio!.lastPts! - audio!.firstPts!).toBeGreaterThan(80_000);
    }
  });

  test("a copy has the fingerprint and the bytes of its original, another encoding has not", async () => {
    const original = shapes["MPEG-TS with B-frames"];
    const path = await ffmpegMade(original.extension, await original.args());
    const copy = video(await ffmpegBytes("ts", ["-i", path, "-c", "copy", "-output_ts_offset", "7"]));
    const again = video(await ffmpegBytes("ts", ["-i", path, "-c:v", "libx264", "-preset", "ultrafast"]));
    const { bytes, fingerprint } = video(found.get("MPEG-TS with B-frames")!.data);
    expect(copy).toMatchObject({ bytes, fingerprint });
    expect(again.fingerprint).not.toBe(fingerprint);
  });
});

describe("what unmodified transcoders have produced", () => {
  interface Exchange {
    readonly request: { readonly path: string; readonly body?: { readonly file?: string } };
    readonly response: { readonly body: { readonly file?: string } };
    readonly expect?: {
      readonly transcodeResult?: { readonly data?: { readonly segments: readonly { url: string; pixels: string }[] } };
    };
  }
  const recordings = ["ts-default", "ts-custom3", "mp4", "fps-den", "gop", "video-only", "phash", "rtmp"];

  test.each(recordings)("%s: pixels as the transcoder counted them when it encoded", (name) => {
    const { exchanges } = JSON.parse(readFileSync(new URL(`segment-${name}.json`, wire), "utf8")) as {
      exchanges: readonly Exchange[];
    };
    const segments = exchanges.flatMap((one) => one.expect?.transcodeResult?.data?.segments ?? []);
    expect(segments.length).toBeGreaterThan(0);
    for (const { url, pixels } of segments) {
      const download = exchanges.find(({ request }) => url.endsWith(request.path));
      const track = video(new Uint8Array(readFileSync(new URL(download!.response.body.file!, wire))));
      expect(`${track.frames * track.width * track.height}`).toBe(pixels);
    }
  });

  test("a source with a damaged tail is readable, random bytes are not", () => {
    expect(probeMedia(new Uint8Array(readFileSync(new URL("bodies/b7019710bb71ff05.ts", wire)))).kind).toBe("media");
    expect(probeMedia(new Uint8Array(readFileSync(new URL("bodies/c9efb2d22125aae0.ts", wire))))).toMatchObject({
      kind: "unreadable",
      foreign: false,
    });
  });
});

describe("transport streams that FFmpeg would not write", () => {
  let pictures: Uint8Array[] = [];
  beforeAll(async () => {
    const args = [...testPicture("320x180", "25", 1), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"];
    pictures = splitPictures(await ffmpegBytes("h264", [...args, "-x264-params", "aud=1:slices=2"]));
    expect(pictures).toHaveLength(25);
  });

  const step = 3600;
  const join = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(parts.flatMap((part) => [...part]));
  const single = (): PesUnit[] => pictures.map((data, i) => ({ data, pts: 90_000 + i * step }));
  const problemsOf = (data: Uint8Array): readonly string[] => file(probeMedia(data)).problems;

  test("several pictures in one unit are all counted, and the last one is timed", () => {
    for (const size of [2, 3, 25]) {
      const units: PesUnit[] = [];
      for (let i = 0; i < 25; i += size)
        units.push({ data: join(pictures.slice(i, i + size)), pts: 90_000 + i * step });
      const track = video(muxTs(units));
      expect(track.frames).toBe(25);
      if (size < 25) expect(track.lastPts).toBeCloseTo(90_000 + 24 * step, 3);
    }
  });

  test("a unit that holds two pictures among units that hold one is noticed by the gap behind it", () => {
    const units = single();
    units.splice(10, 2, { data: join(pictures.slice(10, 12)), pts: 90_000 + 10 * step });
    expect(video(muxTs(units)).frames).toBe(25);
  });

  test("a picture that spans units is one picture", () => {
    const units = single();
    const data = pictures[7]!;
    units.splice(7, 1, { data: data.subarray(0, 100), pts: 90_000 + 7 * step }, { data: data.subarray(100) });
    const track = video(muxTs(units));
    expect(track.frames).toBe(25);
  });

  test("tables may come last, span packets, or be missing", () => {
    expect(video(muxTs(single(), { tablesLast: true })).frames).toBe(25);
    expect(video(muxTs(single(), { extraStreams: 30 })).frames).toBe(25);
    const without = muxTs(single(), { noTables: true });
    expect(video(without).frames).toBe(25);
    expect(problemsOf(without)).toEqual(["no-pmt"]);
  });

  test("headers that span packets are put together", () => {
    for (const firstPayload of [1, 5, 8, 9, 12, 14, 20]) {
      expect(video(muxTs(single(), { firstPayload }))).toMatchObject({ frames: 25, firstPts: 90_000, fps: 25 });
    }
  });

  test("what lies in front of the first packet is skipped", () => {
    const whole = muxTs(single());
    expect(video(join([new Uint8Array(100).fill(0x47), whole])).frames).toBe(25);
  });

  test("units without a time are said", () => {
    const units = single().map((unit, i) => (i % 5 ? { data: unit.data } : unit));
    const data = muxTs(units);
    expect(video(data).frames).toBe(25);
    expect(problemsOf(data)).toContain("no-timestamps");
  });

  test("a jump in time is said", () => {
    const units = single().map((unit, i) => (i < 12 ? unit : { ...unit, pts: unit.pts! + 20 * 90_000 }));
    expect(problemsOf(muxTs(units))).toEqual(["time-jump"]);
  });

  test("damage is said: cut, missing, doubled, marked, encrypted packets, lost bytes", () => {
    const whole = muxTs(single());
    const packet = (n: number): number => 188 * n;
    expect(problemsOf(whole)).toEqual([]);
    expect(problemsOf(whole.subarray(0, whole.length - 50))).toEqual(["truncated"]);
    expect(problemsOf(join([whole.subarray(0, packet(20)), whole.subarray(packet(21))]))).toEqual(["continuity"]);
    const doubled = join([whole.subarray(0, packet(21)), whole.subarray(packet(20))]);
    expect(problemsOf(doubled)).toEqual(["continuity"]);
    expect(video(doubled).frames).toBe(25);
    const altered = (at: number, bits: number): Uint8Array => {
      const copy = whole.slice();
      copy[packet(20) + at] = (copy[packet(20) + at] ?? 0) | bits;
      return copy;
    };
    expect(problemsOf(altered(1, 0x80))).toEqual(["transport-error"]);
    expect(problemsOf(altered(3, 0x80))).toContain("scrambled");
    expect(problemsOf(join([whole.subarray(0, packet(20) + 7), whole.subarray(packet(20) + 30)]))).toContain(
      "lost-sync",
    );
    expect(video(join([whole.subarray(0, packet(20) + 7), whole.subarray(packet(20) + 30)])).frames).toBeGreaterThan(
      20,
    );
  });

  test("a change of size on the way is said", async () => {
    const args = [...testPicture("160x90", "25", 0.2), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"];
    const small = splitPictures(await ffmpegBytes("h264", [...args, "-x264-params", "aud=1"]));
    const units = [...pictures, ...small].map((data, i) => ({ data, pts: 90_000 + i * step }));
    expect(problemsOf(muxTs(units))).toEqual(["size-change"]);
    expect(video(muxTs(units))).toMatchObject({ width: 320, height: 180, frames: 30 });
  });

  test("a stream that starts without a keyframe says so", () => {
    expect(video(muxTs(single().slice(3)))).toMatchObject({ frames: 22, keyframeFirst: false });
  });

  test("a start code that lies across two packets is seen", () => {
    // Slide the second slice of a picture over a packet boundary, a byte at a time.
    for (let pad = 0; pad < 190; pad++) {
      const filler = new Uint8Array(pad + 6).fill(0x55);
      filler.set([0, 0, 0, 1, 12]);
      const units = [
        { data: pictures[0]!, pts: 0 },
        { data: join([filler, pictures[1]!]), pts: step },
      ];
      expect(video(muxTs(units)).frames).toBe(2);
    }
  });
});

describe("what is no media", () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

  test.each([
    ["nothing", new Uint8Array(), "it is empty", false],
    ["a web page", bytes("<!doctype html><title>502 Bad Gateway</title>"), "HTML", false],
    ["text", bytes("no transcoders available"), "text", false],
    ["a Matroska file", new Uint8Array([0x1a, 0x45, 0xdf, 0xa3, ...new Uint8Array(500).fill(7)]), "Matroska", true],
    ["an elementary stream", new Uint8Array([0, 0, 0, 1, 0x67, 1, 2, 3]), "elementary", true],
    ["zeros", new Uint8Array(4000), "neither", false],
    ["an MP4 without its index", bytes("\0\0\0\x18ftypisom\0\0\0\0isomavc1\0\0\0\x08mdat"), "moov", false],
  ])("%s", (_name, data, why, foreign) => {
    const probe = probeMedia(data);
    expect(probe).toMatchObject({ kind: "unreadable", foreign });
    expect(probe.kind === "unreadable" && probe.why).toContain(why);
  });

  test("the segment of the demo is what its README says", () => {
    expect(video(new Uint8Array(readFileSync(new URL("720.ts", media))))).toMatchObject({
      codec: "h264",
      width: 1280,
      height: 720,
      frames: 50,
      durationMs: 2000,
    });
  });
});
