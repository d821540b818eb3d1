import { readFileSync } from "node:fs";
import { type MediaProbe, plainProfile, probeMedia, type Profile, segmentText } from "@openpool/protocol";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { ffmpegMade, ffmpegMadeAll, type Output, testPicture, testTone } from "../../../../test/media/make.ts";
import { type Shape, shapes } from "../../../../test/media/shapes.ts";
import { type ResultToVerify, type Verdict, verifyResult, workedMs } from "./verify-result.ts";

const media = new URL("../../../../test/fixtures/media/", import.meta.url);
const wire = new URL("../../../../test/fixtures/wire/", import.meta.url);
const bytesOf = (path: string | URL): Uint8Array => new Uint8Array(readFileSync(path));

function profile(width: number, height: number, more: Partial<Profile> = {}): Profile {
  return plainProfile({ name: `${width}x${height}`, width, height, bitrate: 200_000, ...more });
}

/** Checks renditions whose claims are right. */
function verify(
  source: MediaProbe,
  profiles: readonly Profile[],
  renditions: readonly Uint8Array[],
  more: Partial<ResultToVerify> = {},
): Verdict {
  return verifyResult({
    source,
    durationMs: 2_000,
    profiles,
    renditions: renditions.map((data) => ({ data, claimedPixels: pixelsOf(data) })),
    ...more,
  });
}

function pixelsOf(data: Uint8Array): bigint {
  const probe = probeMedia(data);
  const video = probe.kind === "media" ? probe.video : undefined;
  return video ? BigInt(video.frames * video.width * video.height) : 0n;
}

function reasonOf(verdict: Verdict): string {
  return verdict.kind === "invalid" ? verdict.reason : "valid";
}

/** Arguments, none of which has a space in it. */
const words = (...texts: readonly string[]): string[] => texts.join(" ").split(/\s+/).filter(Boolean);

/** The size that a stock transcoder scales to, by the rule that its filter follows. */
function stockSize(
  source: { width: number; height: number },
  { width, height }: Profile,
): { width: number; height: number } {
  const stands = source.height > source.width;
  const large = Math.min(Math.max(width, height), 4096);
  const derived = (side: number, by: number, of: number): number => Math.round((side * by) / (of * 2)) * 2;
  return stands
    ? { width: derived(large, source.width, source.height), height: large }
    : { width: large, height: derived(large, source.height, source.width) };
}

/** Output arguments that make of a source what a stock transcoder makes of it. */
function stockOutput(
  source: { width: number; height: number },
  wanted: Profile,
  clip?: { fromMs: number; toMs: number },
): Output {
  const { width, height } = stockSize(source, wanted);
  const filters = [`scale=${width}:${height}`];
  if (wanted.fps > 0) filters.push(`fps=${wanted.fps}/${wanted.fpsDen}`);
  if (clip) {
    const [from, to] = [clip.fromMs / 1000, clip.toMs / 1000];
    filters.push(`select='st(0,if(eq(n,0),t,ld(0)))*0+gte(t-ld(0),${from})*lte(t-ld(0),${to})'`);
    if (from > 0) filters.push("setpts=PTS-STARTPTS");
  }
  const encoder = { h264: "libx264", h265: "libx265", vp8: "libvpx", vp9: "libvpx-vp9" }[wanted.codec];
  const speed = {
    h264: "-preset ultrafast -bf 3",
    h265: "-preset ultrafast -x265-params log-level=none",
    vp8: "-deadline realtime -cpu-used 8",
    vp9: "-deadline realtime -cpu-used 8",
  }[wanted.codec];
  return {
    extension: wanted.container === "mp4" ? "mp4" : "ts",
    args: words(
      `-map 0:v:0 -map 0:a:0? -c:a copy -vf ${[...filters, "setsar=1"].join(",")} -c:v ${encoder} ${speed}`,
      "-pix_fmt yuv420p -threads 1 -vsync passthrough -muxdelay 0 -muxpreload 0",
      wanted.container === "mp4" ? "-movflags faststart" : "",
    ),
  };
}

async function transcoded(
  path: string,
  profiles: readonly Profile[],
  clip?: { fromMs: number; toMs: number },
): Promise<Uint8Array[]> {
  const probe = probeMedia(bytesOf(path));
  const video = probe.kind === "media" ? probe.video : undefined;
  const size = video && video.width > 0 ? video : { width: 320, height: 180 };
  const outputs = profiles.map((one) => stockOutput(size, one, clip));
  return (await ffmpegMadeAll(["-copyts", "-i", path], outputs)).map(bytesOf);
}

describe("renditions of unmodified transcoders are valid, and their claims exact", () => {
  interface WireProfile {
    readonly name?: string;
    readonly width: number;
    readonly height: number;
    readonly fps?: number;
    readonly fpsDen?: number;
    readonly format?: string;
  }
  interface Exchange {
    readonly request: { readonly path: string; readonly body: { readonly file: string } };
    readonly response: { readonly body: { readonly file: string } };
    readonly expect?: {
      readonly segData?: Record<"fullProfiles" | "fullProfiles2" | "fullProfiles3", readonly WireProfile[] | undefined>;
      readonly transcodeResult?: {
        readonly data: { readonly segments: readonly { readonly url: string; readonly pixels: string }[] };
      };
    };
  }
  const recordings = ["ts-default", "ts-custom3", "mp4", "fps-den", "gop", "video-only", "phash", "rtmp"];

  test.each(recordings)("%s", (name) => {
    const { exchanges } = JSON.parse(readFileSync(new URL(`segment-${name}.json`, wire), "utf8")) as {
      exchanges: Exchange[];
    };
    const post = exchanges.find((one) => one.expect?.segData)!;
    const { fullProfiles, fullProfiles2, fullProfiles3 } = post.expect!.segData!;
    const profiles = (fullProfiles3 ?? fullProfiles2 ?? fullProfiles ?? []).map((one) =>
      profile(one.width, one.height, {
        fps: one.fps ?? 0,
        fpsDen: one.fpsDen ?? 1,
        container: one.format === "MP4" ? "mp4" : "mpegts",
      }),
    );
    const renditions = post.expect!.transcodeResult!.data.segments.map(({ url, pixels }) => {
      const download = exchanges.find(({ request }) => url.endsWith(request.path))!;
      return { data: bytesOf(new URL(download.response.body.file, wire)), claimedPixels: BigInt(pixels) };
    });
    const source = probeMedia(bytesOf(new URL(post.request.body.file, wire)));
    const verdict = verifyResult({ source, durationMs: 2_000, profiles, renditions });
    expect(verdict).toMatchObject({ kind: "valid", claims: "exact" });
    if (verdict.kind === "valid")
      expect(verdict.renditions.map((one) => one.pixels)).toEqual(renditions.map((one) => one.claimedPixels));
  });
});

describe("what FFmpeg makes of a source as a stock transcoder does is valid", () => {
  /** Sources that FFmpeg itself cannot read, or that have no picture. */
  const noSource = new Set(["VP8 in MPEG-TS", "VP9 in MPEG-TS", "sound only, MPEG-TS", "sound only, MP4"]);
  const asMany = [profile(160, 90), profile(426, 240, { fps: 30, container: "mp4" })];
  const fewer = profile(160, 90, { fps: 25, fpsDen: 2 });
  /** Of one picture a lower frame rate can leave none. */
  const outputsFor = (name: string): Profile[] => (/\bone\b/.test(name) ? asMany : [...asMany, fewer]);
  const sources = Object.entries(shapes as Record<string, Shape>).filter(([name]) => !noSource.has(name));
  const made = new Map<string, { readonly source: MediaProbe; readonly renditions: Uint8Array[] }>();

  beforeAll(async () => {
    await Promise.all(
      sources.map(async ([name, shape]) => {
        const path = await ffmpegMade(shape.extension, await shape.args());
        made.set(name, { source: probeMedia(bytesOf(path)), renditions: await transcoded(path, outputsFor(name)) });
      }),
    );
  }, 240_000);

  test.each(sources)("%s", (name) => {
    const { source, renditions } = made.get(name)!;
    const outputs = outputsFor(name);
    expect(reasonOf(verify(source, outputs, renditions))).toBe("valid");
    // The same when nothing is known of the source.
    const unknown: MediaProbe = { kind: "unreadable", why: "it looks like FLV", foreign: true };
    expect(reasonOf(verify(unknown, outputs, renditions))).toBe("valid");
  });
});

describe("one source, many requests", () => {
  let path = "";
  let sound = "";
  let source: MediaProbe;
  beforeAll(async () => {
    const tone = [
      ...testPicture("426x240", "25", 2),
      ...testTone(2),
      "-c:a",
      "aac",
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      "-g",
      "50",
    ];
    path = await ffmpegMade("ts", [...tone, "-output_ts_offset", "100"]);
    sound = await ffmpegMade("ts", [...tone, "-an"]);
    source = probeMedia(bytesOf(path));
  }, 60_000);

  test.each([
    ["larger", profile(854, 480)],
    ["the same size", profile(426, 240)],
    ["another aspect ratio", profile(320, 320)],
    ["standing, of a source that lies", profile(240, 426)],
    ["more pictures", profile(160, 90, { fps: 60 })],
    ["a fraction of pictures", profile(160, 90, { fps: 24_000, fpsDen: 1001 })],
    ["very few pictures", profile(160, 90, { fps: 1 })],
    ["HEVC", profile(160, 90, { codec: "h265" })],
    ["HEVC in MP4", profile(160, 90, { codec: "h265", container: "mp4" })],
  ])("%s", async (_name, wanted) => {
    const verdict = verify(source, [wanted], await transcoded(path, [wanted]));
    expect(reasonOf(verdict)).toBe("valid");
  });

  test("VP8 and VP9 in the size of the source, in containers that hardly know them", async () => {
    for (const wanted of [
      profile(160, 90, { codec: "vp8" }),
      profile(160, 90, { codec: "vp9" }),
      profile(160, 90, { codec: "vp9", container: "mp4" }),
    ]) {
      const unscaled = await transcoded(path, [{ ...wanted, width: 426, height: 240 }]);
      const verdict = verify(source, [wanted], unscaled);
      expect(verdict).toMatchObject({ kind: "valid", renditions: [{ width: 426, height: 240, frames: 50 }] });
    }
  });

  test.each([
    [500, 1500],
    [0, 1000],
    [1000, 9000],
    [40, 80],
  ])("the clip from %i to %i ms", async (fromMs, toMs) => {
    const clip = { fromMs, toMs };
    const profiles = [profile(160, 90), profile(160, 90, { fps: 30 })];
    const renditions = await transcoded(path, profiles, clip);
    expect(reasonOf(verify(source, profiles, renditions, { clip }))).toBe("valid");
    if (toMs - fromMs > 200) expect(verify(source, profiles, renditions).kind).toBe("invalid");
  });

  test("a stream whose clock wraps within the minute", async () => {
    const wanted = [profile(160, 90), profile(160, 90, { fps: 30 })];
    for (const offset of ["95385", "95413", "95442"]) {
      const soon = await ffmpegMade("ts", ["-copyts", "-i", sound, "-c", "copy", "-output_ts_offset", offset]);
      const verdict = verify(probeMedia(bytesOf(soon)), wanted, await transcoded(soon, wanted));
      expect(reasonOf(verdict)).toBe("valid");
    }
  });

  test("sound that was lost is noted", async () => {
    const [rendition] = await transcoded(sound, [profile(160, 90)]);
    const verdict = verify(probeMedia(bytesOf(path)), [profile(160, 90)], [rendition!]);
    expect(reasonOf(verdict)).toContain("the source's");
    const quiet = await ffmpegMade("ts", [
      "-copyts",
      "-i",
      path,
      "-an",
      "-vf",
      "scale=160:90",
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      "-muxdelay",
      "0",
      "-muxpreload",
      "0",
    ]);
    expect(reasonOf(verify(source, [profile(160, 90)], [bytesOf(quiet)]))).toBe("valid");
  });

  test("a rendition of another segment of the same stream is refused", async () => {
    const [rendition] = await transcoded(path, [profile(160, 90)]);
    const next = await ffmpegMade("ts", ["-copyts", "-i", path, "-c", "copy", "-output_ts_offset", "2"]);
    expect(reasonOf(verify(probeMedia(bytesOf(next)), [profile(160, 90)], [rendition!]))).toMatch(
      /first picture lies \d+ ms before/,
    );
  });
});

describe("dishonest and broken results are refused", () => {
  const source = probeMedia(bytesOf(new URL("720.ts", media)));
  const sourceBytes = bytesOf(new URL("720.ts", media));
  const profiles = [profile(426, 240), profile(640, 360), profile(854, 480)];
  const good = ["240.ts", "360.ts", "480.ts"].map((name) => bytesOf(new URL(name, media)));
  const pidAt = (data: Uint8Array, packet: number): number =>
    ((data[packet * 188 + 1]! & 0x1f) << 8) | data[packet * 188 + 2]!;
  const withSecond = (data: Uint8Array): Verdict => verify(source, profiles, [good[0]!, data, good[2]!]);

  test("the good ones are not", () => {
    expect(verify(source, profiles, good)).toMatchObject({ kind: "valid", claims: "exact" });
  });

  test("fewer or more renditions than profiles", () => {
    expect(reasonOf(verify(source, profiles, good.slice(1)))).toBe("2 renditions for 3 profiles");
    expect(reasonOf(verify(source, profiles, [...good, good[0]!]))).toBe("4 renditions for 3 profiles");
    expect(reasonOf(verify(source, profiles, []))).toBe("0 renditions for 3 profiles");
  });

  test.each([
    ["an empty part", new Uint8Array(), "it has only 0 bytes"],
    ["24 bytes", new Uint8Array(24), "it has only 24 bytes"],
    ["zeros", new Uint8Array(5000), "it is neither MPEG-TS nor MP4"],
    ["a web page", new TextEncoder().encode("<html><body><h1>Not Found</h1></body></html>"), "it is HTML or XML"],
    ["an error text", new TextEncoder().encode(`${segmentText.tookTooLong} and then some more text`), "it is text"],
  ])("%s", (_name, data, why) => {
    const verdict = withSecond(data);
    expect(verdict).toMatchObject({ kind: "invalid", rendition: 1 });
    expect(reasonOf(verdict)).toContain(`rendition 2 of 3 (h264 640x360): ${why}`);
  });

  test("renditions that were swapped", () => {
    expect(reasonOf(verify(source, profiles, [good[1]!, good[0]!, good[2]!]))).toContain("640x360 instead of 426x240");
  });

  test("the source itself, as it came", () => {
    expect(reasonOf(withSecond(sourceBytes))).toContain("1280x720 instead of 640x360");
    expect(reasonOf(verify(source, [profile(1280, 720)], [sourceBytes]))).toContain("it is the source");
  });

  test("another container or codec than asked for", async () => {
    const path = await ffmpegMade("ts", [
      ...testPicture("320x180", "25", 1),
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
    ]);
    const own = probeMedia(bytesOf(path));
    const [mp4, hevc, plain] = await transcoded(path, [
      profile(160, 90, { container: "mp4" }),
      profile(160, 90, { codec: "h265" }),
      profile(160, 90),
    ]);
    expect(reasonOf(verify(own, [profile(160, 90)], [mp4!]))).toContain("MP4 instead of MPEG-TS");
    expect(reasonOf(verify(own, [profile(160, 90, { container: "mp4" })], [plain!]))).toContain(
      "MPEG-TS instead of MP4",
    );
    expect(reasonOf(verify(own, [profile(160, 90)], [hevc!]))).toContain("hevc instead of h264");
    expect(reasonOf(verify(own, [profile(160, 90, { codec: "vp9" })], [plain!]))).toContain("h264 instead of vp9");
  });

  test("half of the pictures, half of the time, twice the pictures, half of the size, sound without picture", async () => {
    const from = ["-copyts", "-i", new URL("720.ts", media).pathname];
    const rest = ["-c:v", "libx264", "-preset", "ultrafast", "-muxdelay", "0", "-muxpreload", "0"];
    const [halfRate, halfTime, double, small] = (
      await ffmpegMadeAll(from, [
        { extension: "ts", args: ["-vf", "scale=640:360,fps=12.5", ...rest] },
        { extension: "ts", args: ["-vf", "scale=640:360", "-frames:v", "25", ...rest] },
        { extension: "ts", args: ["-vf", "scale=640:360,fps=50", ...rest] },
        { extension: "ts", args: ["-vf", "scale=320:180", ...rest] },
      ])
    ).map(bytesOf);
    expect(reasonOf(withSecond(halfRate!))).toContain("25 pictures, at least 48");
    expect(reasonOf(withSecond(halfTime!))).toContain("25 pictures, at least 48");
    expect(reasonOf(withSecond(double!))).toContain("100 pictures, at most 52");
    expect(reasonOf(withSecond(small!))).toContain("320x180 instead of 640x360");
    const tone = bytesOf(await ffmpegMade("ts", [...testTone(2), "-c:a", "aac"]));
    expect(reasonOf(withSecond(tone))).toContain("it has no video");
  });

  test("ten times the pictures, also of a source that is damaged or unknown", async () => {
    const rest = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"];
    const ten = bytesOf(await ffmpegMade("ts", [...testPicture("160x90", "250", 2), ...rest]));
    const asked = [profile(160, 90)];
    const damaged = probeMedia(sourceBytes.subarray(0, sourceBytes.length - 100));
    expect(damaged).toHaveProperty("problems", ["truncated"]);
    expect(reasonOf(verify(damaged, asked, [ten]))).toContain("500 pictures, at most 160 are plausible");
    const twenty = bytesOf(await ffmpegMade("ts", [...testPicture("160x90", "300", 10), ...rest]));
    const unknown: MediaProbe = { kind: "unreadable", why: "it looks like FLV", foreign: true };
    expect(reasonOf(verify(unknown, asked, [twenty]))).toContain("3000 pictures, at most 2400 are plausible");
  });

  test("the same pictures at another pace", async () => {
    const args = words(
      `-copyts -i ${new URL("720.ts", media).pathname} -vf scale=640:360,setpts=STARTPTS+2*(PTS-STARTPTS)`,
      "-vsync passthrough -c:v libx264 -preset ultrafast -muxdelay 0 -muxpreload 0",
    );
    const slow = await ffmpegMade("ts", args);
    expect(reasonOf(withSecond(bytesOf(slow)))).toMatch(/it spans \d+ ms instead of 1960/);
  });

  test("a rendition that is cut off, wherever it is cut", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.9, noNaN: true }), fc.boolean(), (part, wholePackets) => {
        const length = Math.floor(good[1]!.length * part);
        const data = good[1]!.subarray(0, wholePackets ? length - (length % 188) : length);
        return withSecond(data).kind === "invalid";
      }),
      { numRuns: times(100) },
    );
  });

  test("a rendition with packets missing in the middle", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 900 }), fc.integer({ min: 1, max: 14 }), (from, count) => {
        const data = good[1]!;
        const gone = Array.from({ length: count }, (_, i) => pidAt(data, from + i));
        // Tables are sent again and again: a stream is none the worse for one of them.
        fc.pre(gone.some((pid) => pid >= 0x100 && pid < 0x1000));
        const cut = new Uint8Array([...data.subarray(0, from * 188), ...data.subarray((from + count) * 188)]);
        return withSecond(cut).kind === "invalid";
      }),
      { numRuns: times(30) },
    );
  });

  test("anything at all ends in a verdict", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000 }),
        fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
        (data, claimedPixels) => {
          const one = verifyResult({
            source,
            durationMs: 0,
            profiles: [profile(0, -1)],
            renditions: [{ data, claimedPixels }],
          });
          return one.kind === "invalid";
        },
      ),
    );
  });
});

test("a result without the perceptual hashes that were asked for is none", () => {
  const source = probeMedia(bytesOf(new URL("720.ts", media)));
  const data = bytesOf(new URL("240.ts", media));
  const withHash = (perceptualHash: Uint8Array | undefined): Verdict =>
    verifyResult({
      source,
      durationMs: 2_000,
      profiles: [profile(426, 240)],
      perceptualHash: true,
      renditions: [{ data, claimedPixels: 426n * 240n * 50n, perceptualHash }],
    });
  expect(withHash(Uint8Array.of(1))).toMatchObject({ kind: "valid" });
  for (const none of [undefined, new Uint8Array()]) {
    expect(withHash(none)).toMatchObject({ kind: "invalid", reason: "the rendition: the perceptual hash is missing" });
  }
});

describe("claims", () => {
  const source = probeMedia(bytesOf(new URL("720.ts", media)));
  const data = bytesOf(new URL("240.ts", media));
  const truth = 426n * 240n * 50n;
  const claiming = (claimedPixels: bigint): Verdict =>
    verifyResult({ source, durationMs: 2_000, profiles: [profile(426, 240)], renditions: [{ data, claimedPixels }] });

  test.each([
    ["the truth", truth, "exact"],
    ["one picture more", truth + (426n * 240n) / 100n, "differs"],
    ["one percent less", truth - truth / 100n, "differs"],
    ["one percent more", truth + truth / 100n, "differs"],
    ["a pixel more than one percent less", truth - truth / 100n - 1n, "lies"],
    ["a pixel more than one percent more", truth + truth / 100n + 1n, "lies"],
    ["two percent more", truth + truth / 50n, "lies"],
    ["ten times as much", truth * 10n, "lies"],
    ["nothing", 0n, "lies"],
  ] as const)("%s", (_name, claimed, claims) => {
    expect(claiming(claimed)).toMatchObject({
      kind: "valid",
      claims,
      renditions: [{ pixels: truth, claimedPixels: claimed }],
    });
  });
});

describe("the time that was worked on", () => {
  const video = (durationMs: number, frames: number) =>
    ({ kind: "media", container: "mpegts", problems: [], video: { durationMs, frames } }) as unknown as MediaProbe;
  const unreadable = { kind: "unreadable", why: "a test" } as MediaProbe;
  const out = [
    { durationMs: 1_960, frames: 49 },
    { durationMs: 2_000, frames: 50 },
  ];

  test.each([
    ["is measured in the source, whatever the gateway says", video(2_000, 50), 3_600_000, undefined, 2_000],
    ["is no gap between two pictures", video(3_600_000, 2), 3_600_000, undefined, 2_000],
    ["of a clip is what came out", video(60_000, 1_500), 60_000, { fromMs: 0, toMs: 2_000 }, 2_000],
    ["of an unreadable source is what came out", unreadable, 3_600_000, undefined, 2_000],
    ["of an unreadable source is no more than was said", unreadable, 1_500, undefined, 1_500],
  ])("%s", (_what, source, durationMs, clip, expected) => {
    expect(workedMs(source, { durationMs, clip }, out)).toBe(expected);
  });
});
