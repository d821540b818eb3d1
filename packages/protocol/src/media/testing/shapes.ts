import { ffmpegMade, testPicture, testTone } from "../../../../../test/fixtures/media/make.ts";

/** A file that FFmpeg makes, and how. */
export interface Shape {
  readonly extension: "ts" | "mp4" | "m2ts";
  args(): readonly string[] | Promise<readonly string[]>;
  /** FFmpeg moves the start of such a file by less than this, in 90 kHz ticks. */
  readonly startSlack?: number;
}

const x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"];
const x265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params"];
const quiet = "log-level=none:pools=1:frame-threads=1";
const picture = testPicture("320x180", "25", 1);
const both = [...picture, ...testTone(1), "-c:a", "aac", "-shortest"];

function ts(...args: readonly string[]): Shape {
  return { extension: "ts", args: () => args };
}

function mp4(...args: readonly string[]): Shape {
  return { extension: "mp4", args: () => args };
}

/** Something made of another file: `-i` with its path goes between `before` and `after`. */
function made(extension: "ts" | "mp4", from: Shape, before: readonly string[], after: readonly string[]): Shape {
  return {
    extension,
    args: async () => [...before, "-i", await ffmpegMade(from.extension, await from.args()), ...after],
  };
}

const openGop = ts(
  ...testPicture("320x180", "25", 2),
  ...x264,
  "-bf",
  "3",
  "-g",
  "20",
  "-x264-params",
  "open-gop=1:b-adapt=0",
);
const hevcOpenGop = mp4(
  ...testPicture("320x180", "25", 2),
  ...x265,
  `${quiet}:open-gop=1:keyint=20:min-keyint=20:bframes=3`,
);
const longMp4 = mp4(...testPicture("320x180", "25", 2), ...x264, "-bf", "2", "-g", "25");

/** Every kind of file that a source or a result may be, small. */
export const shapes = {
  "MPEG-TS with B-frames": ts(...picture, ...x264, "-bf", "3", "-g", "50"),
  "MPEG-TS with B-pyramid and many references": ts(
    ...picture,
    ...x264,
    "-bf",
    "4",
    "-b_strategy",
    "2",
    "-refs",
    "5",
    "-x264-params",
    "b-pyramid=normal",
  ),
  "MPEG-TS with sound": ts(...both, ...x264),
  "an open GOP": openGop,
  baseline: ts(...picture, ...x264, "-profile:v", "baseline"),
  "main with CABAC": ts(...picture, "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main"),
  "several slices": ts(...picture, ...x264, "-slices", "4"),
  "intra only": ts(...picture, ...x264, "-g", "1"),
  "periodic intra refresh": ts(...picture, ...x264, "-x264-params", "intra-refresh=1:keyint=10"),
  "no delimiters": ts(...picture, ...x264, "-x264-params", "aud=0"),
  "delimiters and repeated headers": ts(...picture, ...x264, "-x264-params", "aud=1:repeat-headers=1"),
  "interlaced, macroblock adaptive": ts(...picture, ...x264, "-flags", "+ilme+ildct", "-x264-params", "tff=1"),
  "progressive that claims interlaced": ts(...picture, ...x264, "-x264-params", "fake-interlaced=1"),
  "4:2:2": ts(...picture, ...x264, "-pix_fmt", "yuv422p"),
  "4:4:4 of odd size": ts(...testPicture("321x181", "25", 1), ...x264, "-pix_fmt", "yuv444p"),
  "10 bit": ts(...picture, ...x264, "-pix_fmt", "yuv420p10le"),
  "4:2:2 10 bit": ts(...picture, ...x264, "-pix_fmt", "yuv422p10le"),
  "23.976 fps": ts(...testPicture("320x180", "24000/1001", 1), ...x264),
  "59.94 fps": ts(...testPicture("320x180", "60000/1001", 1), ...x264, "-bf", "2"),
  "1 fps": ts(...testPicture("320x180", "1", 4), ...x264),
  "cropped on both sides": ts(...testPicture("426x242", "25", 1), ...x264),
  "1080 lines": ts(...testPicture("1920x1080", "25", 0.2), ...x264),
  portrait: ts(...testPicture("180x320", "25", 1), ...x264),
  "one picture": ts(...testPicture("320x180", "25", 0.04), ...x264),
  "one large picture": ts(...testPicture("1280x720", "25", 0.04), ...x264, "-qp", "1"),
  "a varying frame rate": ts(
    ...picture,
    "-vf",
    "setpts='PTS+(0.4/TB)*gt(N,9)+(0.02/TB)*mod(N,2)'",
    "-vsync",
    "vfr",
    ...x264,
  ),
  "timestamps that wrap": ts(...picture, ...x264, "-bf", "2", "-output_ts_offset", "95443"),
  "packets of 192 bytes": { extension: "m2ts", args: () => [...picture, ...x264, "-mpegts_m2ts_mode", "1"] },
  "HEVC in MPEG-TS": ts(...picture, ...x265, quiet),
  "HEVC, 10 bit": ts(...picture, ...x265, quiet, "-pix_fmt", "yuv420p10le"),
  "HEVC of odd size": ts(...testPicture("426x242", "25", 1), ...x265, quiet),
  "HEVC with an open GOP": made("ts", hevcOpenGop, [], ["-c", "copy"]),
  "HEVC cut inside a stream": made("ts", hevcOpenGop, ["-ss", "0.9"], ["-c", "copy"]),
  "VP8 in MPEG-TS": ts(
    ...picture,
    "-c:v",
    "libvpx",
    "-deadline",
    "realtime",
    "-cpu-used",
    "8",
    "-auto-alt-ref",
    "1",
    "-lag-in-frames",
    "10",
  ),
  "VP9 in MPEG-TS": ts(...picture, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
  "MPEG-2 in MPEG-TS": ts(...picture, "-c:v", "mpeg2video", "-bf", "0"),
  "sound only, MPEG-TS": ts(...testTone(1), "-c:a", "aac"),
  "sound only, MP4": mp4(...testTone(1), "-c:a", "aac"),
  "several programmes": ts(
    ...picture,
    ...testPicture("160x90", "25", 1),
    "-map",
    "0",
    "-map",
    "1",
    "-program",
    "st=0",
    "-program",
    "st=1",
    ...x264,
  ),
  "many streams": ts(
    ...picture,
    ...testTone(1),
    "-map",
    "0",
    "-map",
    "1",
    "-map",
    "1",
    "-map",
    "1",
    ...x264,
    "-c:a",
    "aac",
  ),
  "MP4 with the index behind": mp4(...both, ...x264, "-bf", "3"),
  "MP4 with the index in front": mp4(...both, ...x264, "-bf", "3", "-movflags", "faststart"),
  "MP4 without B-frames": mp4(...picture, ...x264, "-bf", "0"),
  "MP4 in fragments": mp4(
    ...both,
    ...x264,
    "-bf",
    "2",
    "-g",
    "10",
    "-movflags",
    "frag_keyframe+empty_moov+default_base_moof",
  ),
  "MP4 with a fragment for each picture": mp4(...picture, ...x264, "-movflags", "frag_every_frame+empty_moov"),
  "MP4 in fragments behind an index": mp4(...both, ...x264, "-g", "10", "-movflags", "frag_keyframe"),
  "MP4 for DASH": {
    startSlack: 3_601,
    ...mp4(
      ...picture,
      ...x264,
      "-g",
      "10",
      "-movflags",
      "dash+cmaf+frag_keyframe+negative_cts_offsets+empty_moov",
      "-bf",
      "2",
    ),
  },
  "MP4 that starts inside a GOP": { startSlack: 3_601, ...made("mp4", longMp4, ["-ss", "0.5"], ["-c", "copy"]) },
  "MP4 that ends early": made("mp4", longMp4, [], ["-t", "1.02", "-c", "copy"]),
  "MP4 that starts late": made("mp4", longMp4, [], ["-c", "copy", "-output_ts_offset", "5"]),
  "MP4 of one picture": mp4(...testPicture("320x180", "25", 0.04), ...x264),
  "interlaced MP4": mp4(...picture, ...x264, "-flags", "+ilme+ildct", "-x264-params", "tff=1"),
  "HEVC in MP4, hev1": mp4(...picture, ...x265, quiet),
  "HEVC in MP4, hvc1": mp4(...picture, ...x265, quiet, "-tag:v", "hvc1"),
  "VP9 in MP4": mp4(...picture, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
  "MPEG-4 part 2 in MP4": mp4(...picture, "-c:v", "mpeg4"),
} satisfies Record<string, Shape>;
