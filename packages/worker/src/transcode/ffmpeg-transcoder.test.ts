import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, stat, writeFile, chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import { NotifySegmentSchema, probeMedia } from "@openpool/protocol";
import { createByteBudget } from "../byte-budget.ts";
import { readOrder } from "../task.ts";
import { testProfile, wireBody } from "../testing/fake-pool.ts";
import { ffmpegMade, ffmpegMadeAll, ffprobed, picture, TONE, X264 } from "../testing/media.ts";
import { createFfmpegTranscoder, type FfmpegTranscoderOptions } from "./ffmpeg-transcoder.ts";
import type { Transcoder, TranscodeOutcome, TranscodeRequest } from "./transcoder.ts";

let tempDir: string;
let transcoder: Transcoder;
let options: FfmpegTranscoderOptions;
const resultBudget = createByteBudget(1 << 30);
const never = new AbortController().signal;

beforeEach(async () => {
  tempDir = await mkdtemp(join(tmpdir(), "openpool-transcode-"));
  options = {
    ffmpegPath: "ffmpeg",
    tempDir,
    namePrefix: "t",
    path: {
      frames: "software",
      wrapper: [],
      deviceArgs: [],
      decodeArgs: [],
      uploadFilter: "",
      encoderArgs: [],
      decodes: undefined,
      encoders: { h264: "libx264", h265: "libx265", vp9: "libvpx-vp9" },
    },
    anySourcePath: undefined,
    dialect: { fpsModeFlag: "-fps_mode", dropsPackets: true },
    keepsSpares: false,
  };
  transcoder = createFfmpegTranscoder(options, { logger: silentLogger, clock: systemClock, resultBudget });
});
afterEach(async () => {
  await transcoder[Symbol.asyncDispose]();
  expect(await readdir(tempDir)).toEqual([]);
  expect(resultBudget.takenBytes).toBe(0);
  await rm(tempDir, { recursive: true, force: true });
});

function request(source: Uint8Array, overrides: Partial<TranscodeRequest> = {}): TranscodeRequest {
  return {
    session: "s",
    source,
    durationMs: 2_000,
    profiles: [testProfile()],
    clip: undefined,
    perceptualHash: false,
    orchId: "offchain",
    deadlineMs: systemClock.monotonicMs() + 30_000,
    ...overrides,
  };
}

/** The renditions of a run that must succeed, their memory given back. */
async function renditions(source: Uint8Array, overrides: Partial<TranscodeRequest> = {}) {
  const outcome = await transcoder.transcode(request(source, overrides), never);
  if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
  outcome.release();
  return outcome;
}

async function refusal(source: Uint8Array, overrides: Partial<TranscodeRequest> = {}): Promise<TranscodeOutcome> {
  return await transcoder.transcode(request(source, overrides), never);
}

/** A second of picture and sound as MPEG-TS. */
const withSound = (size = "320x240"): Promise<Buffer> =>
  ffmpegMade("a.ts", [...picture(size, "25", 1), ...TONE, ...X264, "-g", "25", "-f", "mpegts"]);

interface RecordedCase {
  readonly case: string;
  readonly notifySegment: string;
  readonly result?: {
    readonly errorText?: string;
    readonly parts?: readonly { headers: [string, string][]; length: number }[];
  };
}

describe("answers as a stock transcoder did to the same task:", () => {
  const file = fileURLToPath(new URL("../../../../test/fixtures/wire/transcoder-answers.json", import.meta.url));
  const recorded = JSON.parse(readFileSync(file, "utf8")) as { readonly cases: readonly RecordedCase[] };
  // Sources that never arrive are the downloader's; a manifest id is no file name here; VP8 and VP9 renditions of a
  // stock transcoder come in the source's size, and in MPEG-TS nothing can play them: better not imitated.
  const elsewhere = /^source (?!empty)|manifestId|VP8|VP9|HEVC source|same session|0 outputs/;
  for (const one of recorded.cases.filter((entry) => !elsewhere.test(entry.case))) {
    test(one.case, async () => {
      const notify = fromBinary(NotifySegmentSchema, Buffer.from(one.notifySegment, "base64"));
      // What a stock software transcoder announces.
      const order = readOrder(notify, 0x15_ffe2_5fffn);
      const source = notify.url.endsWith("empty") ? Buffer.alloc(0) : wireBody("d111be6f17611c95.ts");
      if (order.kind === "refuse") {
        expect(order.text).toBe(one.result?.errorText);
        return;
      }
      if (order.kind !== "task") throw new Error(order.kind);
      const outcome = await transcoder.transcode(request(source, order.task), never);
      if (outcome.kind !== "done") {
        expect(outcome).toEqual({ kind: "refused", text: one.result?.errorText });
        return;
      }
      outcome.release();
      const made = outcome.renditions.flatMap(({ pixels, signature }) => [
        String(pixels),
        ...(signature ? [`signature of ${signature.length}`] : []),
      ]);
      expect(made).toEqual(
        one.result?.parts?.map(({ headers, length }) => new Map(headers).get("Pixels") ?? `signature of ${length}`),
      );
      expect(outcome.decodedPixels).toBe(426n * 240n * 50n);
    });
  }

  test.each([
    ["a damaged bitstream", "b7019710bb71ff05.ts", "Invalid data found when processing input"],
    ["text where the video should be", "c9efb2d22125aae0.ts", "TranscoderInvalidVideo"],
  ])("%s", async (_, body, text) => {
    expect(await refusal(wireBody(body))).toEqual({ kind: "refused", text });
  });

  test("times, sizes, tracks and name of the renditions of a segment with sound", async () => {
    const profiles = [
      testProfile({ fps: 30, bitrate: 600_000 }),
      testProfile({ width: 854, height: 480, bitrate: 1_600_000, h264Profile: "high" }),
    ];
    const outcome = await renditions(wireBody("a27c9f2dfecb895d.ts"), { profiles });
    const stock = [wireBody("b241dfa3dd44adb2.ts"), wireBody("6bd0f55aded24e51.ts")];
    const entries = "stream=codec_name,profile,width,height,start_pts,nb_read_packets,has_b_frames,r_frame_rate,level";
    for (const [i, { data, pixels }] of outcome.renditions.entries()) {
      for (const stream of ["v:0", "a:0"]) {
        expect(await ffprobed(data, entries, stream)).toEqual(await ffprobed(stock[i]!, entries, stream));
      }
      const probe = probeMedia(data);
      const video = probe.kind === "media" ? probe.video! : undefined;
      expect(pixels).toBe(BigInt(video!.frames * video!.width * video!.height));
      expect(Buffer.from(data).includes("Livepeer Transcoder 0.9.1 (offchain)")).toBe(true);
    }
  });
});

describe("sizes follow the source's shape:", () => {
  test.each([
    ["landscape", "640x360", { width: 426, height: 240 }, [426, 240]],
    ["portrait asked of landscape", "640x360", { width: 240, height: 426 }, [426, 240]],
    ["landscape asked of portrait", "360x640", { width: 426, height: 240 }, [240, 426]],
    ["square", "320x320", { width: 426, height: 240 }, [426, 426]],
    ["wide, at the codec's lower limit", "1024x128", { width: 150, height: 20 }, [400, 50]],
    ["an odd side", "640x360", { width: 427, height: 240 }, [426, 240]],
  ] as const)("%s", async (_, size, wanted, [width, height]) => {
    const source = await ffmpegMade("a.ts", [...picture(size, "25", 0.2), ...X264, "-f", "mpegts"]);
    const outcome = await renditions(source, { profiles: [testProfile(wanted)] });
    expect(outcome.renditions[0]?.pixels).toBe(BigInt(5 * width * height));
    expect(await ffprobed(outcome.renditions[0]!.data, "stream=width,height,sample_aspect_ratio")).toEqual([
      { width, height, sample_aspect_ratio: "1:1" },
    ]);
  });
});

test("MP4 in and out: index first, index last, and the sound is carried over", async () => {
  const plain = await ffmpegMade("a.mp4", [...picture("320x240", "25", 1), ...TONE, ...X264]);
  const fast = await ffmpegMade("a.mp4", [...picture("320x240", "25", 1), ...TONE, ...X264, "-movflags", "faststart"]);
  for (const source of [plain, fast]) {
    const outcome = await renditions(source, { profiles: [testProfile({ container: "mp4" })] });
    const [made] = outcome.renditions;
    expect(made).toMatchObject({ container: "mp4", frames: 25 });
    // Faststart: the index stands before the data.
    const text = Buffer.from(made!.data).toString("latin1");
    expect(text.indexOf("moov")).toBeLessThan(text.indexOf("mdat"));
    expect(await ffprobed(made!.data, "stream=codec_name", "a:0")).toEqual([{ codec_name: "aac" }]);
  }
});

test("GOPs: one second by frames, half a second by time, every frame; each segment begins with a keyframe", async () => {
  const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 2), ...X264, "-f", "mpegts"]);
  const outcome = await renditions(source, {
    profiles: [testProfile({ gopMs: 1_000, fps: 25 }), testProfile({ gopMs: 500 }), testProfile({ gopMs: -1 })],
  });
  const keyframes = await Promise.all(
    outcome.renditions.map(async ({ data }) => {
      const packets = await ffprobed(data, "packet=flags");
      return packets.flatMap(({ flags }, at) => (flags?.startsWith("K") ? [at] : []));
    }),
  );
  expect(keyframes[0]).toEqual([0, 25]);
  expect(keyframes[1]).toEqual([0, 13, 26, 39]);
  expect(keyframes[2]).toHaveLength(50);
});

test("frame rates: doubled, halved, fractional", async () => {
  const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 2), ...X264, "-f", "mpegts"]);
  const outcome = await renditions(source, {
    profiles: [
      testProfile({ fps: 50 }),
      testProfile({ fps: 25, fpsDen: 2 }),
      testProfile({ fps: 30_000, fpsDen: 1_001 }),
    ],
  });
  expect(outcome.renditions.map(({ frames }) => frames)).toEqual([100, 25, 60]);
});

test("a single frame is not lost at any rate", async () => {
  const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 0.04), ...X264, "-f", "mpegts"]);
  const outcome = await renditions(source, {
    profiles: [testProfile(), testProfile({ fps: 12 }), testProfile({ fps: 30 })],
  });
  // Rounded to the rate's own grid, a frame of 40 ms may fill two places at 30 a second.
  expect(outcome.renditions.map(({ frames }) => frames).slice(0, 2)).toEqual([1, 1]);
  expect(outcome.renditions[2]?.frames).toBeGreaterThanOrEqual(1);
  expect(await refusal(source, { clip: { fromMs: 500, toMs: 900 } })).toEqual({
    kind: "refused",
    text: "TranscoderInvalidClipConfig",
  });
});

test("a segment cut from within an open GOP loses the frames that nobody can decode, and no more", async () => {
  const open = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", "open-gop=1:keyint=25:bframes=3:scenecut=0"];
  const cut = [
    "-f",
    "segment",
    "-segment_time",
    "1",
    "-segment_format",
    "mpegts",
    "-bsf:v",
    "dump_extra=freq=keyframe",
  ];
  const [, second = Buffer.alloc(0)] = await ffmpegMadeAll("%d.ts", [...picture("320x240", "25", 2), ...open, ...cut]);
  const outcome = await renditions(second);
  expect(outcome.renditions[0]?.frames).toBeGreaterThanOrEqual(22);
});

test("other codecs, where FFmpeg can: H.265 in MPEG-TS and MP4, VP9 in MP4", async () => {
  const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 0.4), ...X264, "-f", "mpegts"]);
  const outcome = await renditions(source, {
    profiles: [
      testProfile({ codec: "h265" }),
      testProfile({ codec: "h265", container: "mp4" }),
      testProfile({ codec: "vp9", container: "mp4" }),
    ],
  });
  const codecs = await Promise.all(
    outcome.renditions.map(({ data }) => ffprobed(data, "stream=codec_name,nb_read_packets")),
  );
  expect(codecs.flat()).toEqual([
    { codec_name: "hevc", nb_read_packets: "10" },
    { codec_name: "hevc", nb_read_packets: "10" },
    { codec_name: "vp9", nb_read_packets: "10" },
  ]);
});

test("a clip takes its part of picture and sound, and keeps the times", async () => {
  const outcome = await renditions(await withSound(), { clip: { fromMs: 200, toMs: 600 } });
  const [made] = outcome.renditions;
  // Both edges fall on a frame, and both are inside.
  expect(made?.frames).toBe(11);
  const packets = await ffprobed(made!.data, "packet=pts_time", "a:0");
  const first = Number(packets[0]?.["pts_time"]);
  const last = Number(packets.at(-1)?.["pts_time"]);
  expect(last - first).toBeGreaterThan(0.3);
  expect(last - first).toBeLessThanOrEqual(0.4);
});

test("sound that is announced and never comes is left out", async () => {
  const source = await withSound();
  const packets = Array.from({ length: source.length / 188 }, (_, i) => source.subarray(i * 188, (i + 1) * 188));
  const silent = Buffer.concat(packets.filter((packet) => (packet.readUInt16BE(1) & 0x1fff) !== 0x101));
  const outcome = await renditions(silent, { profiles: [testProfile(), testProfile({ container: "mp4" })] });
  expect(outcome.renditions.map(({ frames }) => frames)).toEqual([25, 25]);
});

test.each([
  ["4:2:2", ["-pix_fmt", "yuv422p"]],
  ["10 bits", ["-pix_fmt", "yuv420p10le"]],
])("a source in %s becomes 4:2:0 in 8 bits", async (_, format) => {
  const source = await ffmpegMade("a.ts", [
    ...picture("320x240", "25", 0.2),
    "-c:v",
    "libx264",
    ...format,
    "-f",
    "mpegts",
  ]);
  const outcome = await renditions(source);
  expect(await ffprobed(outcome.renditions[0]!.data, "stream=pix_fmt")).toEqual([{ pix_fmt: "yuv420p" }]);
});

describe("input that cannot be transcoded:", () => {
  test("sound without picture", async () => {
    const source = await ffmpegMade("a.ts", [...TONE, "-f", "mpegts"]);
    expect(await refusal(source)).toEqual({ kind: "refused", text: "TranscoderInvalidVideo" });
    const mp4 = await ffmpegMade("a.mp4", [...TONE]);
    expect(await refusal(mp4)).toEqual({ kind: "refused", text: "TranscoderInvalidVideo" });
  });

  test.each([
    ["HTML", Buffer.from("<!doctype html><title>404</title>".repeat(50))],
    ["noise", Buffer.from(Array.from({ length: 5_000 }, (__, i) => (i * 7919 + (i >> 3)) & 255))],
    ["a single byte", Buffer.from([0x47])],
    ["an MP4 that breaks off in its header", Buffer.from("\0\0\0\x18ftypisom\0\0\0\0isomavc1")],
  ])("%s", async (_, source) => {
    expect(await refusal(source)).toEqual({ kind: "refused", text: "TranscoderInvalidVideo" });
  });

  test("a truncated segment gives fewer frames, counted, not the announced ones", async () => {
    const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 2), ...X264, "-bf", "0", "-f", "mpegts"]);
    const cut = source.subarray(0, Math.floor(source.length / 2 / 188) * 188);
    const outcome = await transcoder.transcode(request(cut), never);
    if (outcome.kind === "done") {
      outcome.release();
      expect(outcome.renditions[0]?.frames).toBeLessThan(50);
      expect(outcome.renditions[0]?.pixels).toBe(BigInt(outcome.renditions[0]!.frames * 426 * 320));
    } else {
      expect(outcome).toEqual({ kind: "refused", text: "Invalid data found when processing input" });
    }
  });

  test("two frames far apart do not fill the disk", async () => {
    const far = ["-vf", "setpts=if(eq(N\\,0)\\,0\\,6250)", "-fps_mode", "passthrough"];
    const source = await ffmpegMade("a.ts", [...picture("320x240", "25", 0.08), ...far, ...X264, "-f", "mpegts"]);
    expect(await refusal(source, { profiles: [testProfile({ fps: 12, width: 160, height: 120 })] })).toEqual({
      kind: "refused",
      text: "Encoded frames runaway",
    });
  });
});

describe("children:", () => {
  /** An FFmpeg that runs until it is killed. */
  /** One that writes a file beside itself when it runs. */
  async function sleeper(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), "openpool-sleeper-"));
    const path = join(dir, "ffmpeg");
    await writeFile(path, `#!/bin/sh\n: > ${path}.runs\nexec sleep 60\n`);
    await chmod(path, 0o755);
    return path;
  }

  test("a session that is ended stops its work at once", async () => {
    const slow = createFfmpegTranscoder(
      { ...options, ffmpegPath: await sleeper() },
      { logger: silentLogger, clock: systemClock, resultBudget },
    );
    const controller = new AbortController();
    const outcome = slow.transcode(request(wireBody("d111be6f17611c95.ts")), controller.signal);
    controller.abort();
    expect(await outcome).toEqual({ kind: "stopped" });
    await slow[Symbol.asyncDispose]();
  });

  test("one that runs past the deadline is killed", async () => {
    const clock = stoppedClock();
    const ffmpegPath = await sleeper();
    const slow = createFfmpegTranscoder({ ...options, ffmpegPath }, { logger: silentLogger, clock, resultBudget });
    const outcome = slow.transcode(request(wireBody("d111be6f17611c95.ts"), { deadlineMs: 8_000 }), never);
    // Its limit is set when it is started.
    await vi.waitFor(() => stat(`${ffmpegPath}.runs`), { timeout: 20_000, interval: 5 });
    clock.advance(7_999);
    clock.advance(1);
    expect(await outcome).toMatchObject({ kind: "died", text: "transcoding took too long" });
    await slow[Symbol.asyncDispose]();
  });

  test("one that something else kills is told from one that we stop", async () => {
    const dir = await mkdtemp(join(tmpdir(), "openpool-suicide-"));
    const path = join(dir, "ffmpeg");
    await writeFile(path, "#!/bin/sh\nkill -SEGV $$\n");
    await chmod(path, 0o755);
    const dying = createFfmpegTranscoder(
      { ...options, ffmpegPath: path },
      { logger: silentLogger, clock: systemClock, resultBudget },
    );
    expect(await dying.transcode(request(wireBody("d111be6f17611c95.ts")), never)).toMatchObject({
      kind: "died",
      text: "FFmpeg was ended by SIGSEGV",
    });
    await dying[Symbol.asyncDispose]();
    const missing = createFfmpegTranscoder(
      { ...options, ffmpegPath: join(dir, "none") },
      { logger: silentLogger, clock: systemClock, resultBudget },
    );
    expect(await missing.transcode(request(wireBody("d111be6f17611c95.ts")), never)).toMatchObject({
      kind: "died",
      text: "FFmpeg does not start",
    });
    await missing[Symbol.asyncDispose]();
  });

  test("one that exits with 0 and leaves nothing is not believed", async () => {
    const lying = createFfmpegTranscoder(
      { ...options, ffmpegPath: "true" },
      { logger: silentLogger, clock: systemClock, resultBudget },
    );
    expect(await lying.transcode(request(wireBody("d111be6f17611c95.ts")), never)).toMatchObject({ kind: "died" });
    await lying[Symbol.asyncDispose]();
  });

  test("the next segment of a session finds one ready, and it goes when the session ends", async () => {
    const keeping = createFfmpegTranscoder(
      { ...options, keepsSpares: true },
      { logger: silentLogger, clock: systemClock, resultBudget },
    );
    const source = wireBody("d111be6f17611c95.ts");
    const directories = (): Promise<string[]> => readdir(tempDir);
    const once = async (): Promise<void> => {
      const outcome = await keeping.transcode(request(source), never);
      if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
      outcome.release();
      expect(outcome.renditions[0]?.frames).toBe(50);
    };
    await once();
    let ready: string[] = [];
    while (!ready.includes("t-1")) ready = await directories();
    await once();
    // The second segment used the waiting one: the third directory is the next spare's.
    while (!ready.includes("t-2")) ready = await directories();
    keeping.endSession("s");
    await keeping[Symbol.asyncDispose]();
    expect(await directories()).toEqual([]);
  });
});
