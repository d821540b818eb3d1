import { MAX_SEGMENT_BYTES, type MediaVideoCodec, type Profile, type ProfileCodec } from "@openpool/protocol";
import type { ClipRange } from "./transcoder.ts";
import { transcodeText } from "./transcoder.ts";

/**
 * How frames travel from decoder to encoder on a device. `software`: nothing of it on the device. `cuda`: decoded,
 * scaled and encoded on the card. `cuda-upload`: decoded by the processor, scaled and encoded on the card. `upload`:
 * decoded and scaled by the processor, handed to the encoder as the device wants them.
 */
export type FramePath = "software" | "cuda" | "cuda-upload" | "upload";

/** The part of a device that decides FFmpeg's arguments. */
export interface EncodingPath {
  readonly frames: FramePath;
  /** What starts FFmpeg instead of us, for what only its environment can say; empty: nothing does. */
  readonly wrapper: readonly string[];
  /** Options that open the device, once a run. */
  readonly deviceArgs: readonly string[];
  /** Options before an input that make the device decode it. */
  readonly decodeArgs: readonly string[];
  /** Filter that hands software frames to the encoder of the device; empty where it takes them as they are. */
  readonly uploadFilter: string;
  /** FFmpeg's encoder for each codec that passed its test. */
  readonly encoders: Readonly<Partial<Record<ProfileCodec, string>>>;
  /** Codecs that the device decodes, where it does (8 bits, 4:2:0); undefined: all that FFmpeg can. */
  readonly decodes: readonly MediaVideoCodec[] | undefined;
  /** Options for the device's own encoders. */
  readonly encoderArgs: readonly string[];
}

/** What differs between releases of FFmpeg. */
export interface FfmpegDialect {
  /** `-fps_mode` since 5.1; `-vsync` before. */
  readonly fpsModeFlag: "-fps_mode" | "-vsync";
  /** The `noise` bitstream filter can drop packets by time since 5.0: needed to clip copied audio. */
  readonly dropsPackets: boolean;
}

export interface ArgumentsRequest {
  readonly profiles: readonly Profile[];
  /** Copy the source's sound, where it has any. */
  readonly audio: boolean;
  /** How long a source of very few frames is: a low frame rate would leave none of them. Undefined for all others. */
  readonly momentMs: number | undefined;
  readonly clip: ClipRange | undefined;
  readonly perceptualHash: boolean;
  readonly livepeerVersion: string;
  readonly orchId: string;
  /** `pipe:0`, or a file relative to the working directory. */
  readonly input: string;
  /** More than so many seconds of an output with a frame rate of its own is a runaway. */
  readonly maxSeconds: number;
}

export interface PlannedOutput {
  readonly file: string;
  readonly signatureFile: string | undefined;
  /** It was cut off here; undefined: it has as many frames as the source. */
  readonly maxFrames: number | undefined;
  readonly profile: Profile;
}

export type Plan =
  | { readonly kind: "plan"; readonly args: readonly string[]; readonly outputs: readonly PlannedOutput[] }
  | { readonly kind: "refused"; readonly text: string };

const MAX_OUTPUTS = 10;

/** Smallest and largest coded sizes. */
const limits: Readonly<Record<ProfileCodec, { minWidth: number; minHeight: number; max: number }>> = {
  h264: { minWidth: 146, minHeight: 50, max: 4096 },
  h265: { minWidth: 132, minHeight: 40, max: 8192 },
  vp8: { minWidth: 2, minHeight: 2, max: 16_382 },
  vp9: { minWidth: 2, minHeight: 2, max: 16_382 },
};

/** Arguments without spaces or quoting in them. */
const words = (text: string): string[] => text.split(" ");
const isSoftware = (encoder: string): boolean => encoder.startsWith("lib");
const even = (value: number): number => Math.max(2, value - (value % 2));
const clamp = (value: number, min: number, max: number): number => Math.min(Math.max(value, min), max);

/**
 * The size of a rendition as expressions of FFmpeg's scalers over the source's `iw` and `ih`, so that nobody has to look
 * at the source first: the larger requested side goes to the larger side of the source, the other one follows the
 * source's aspect ratio, rounded to even. Where that falls below what the codec can code, the smaller side decides.
 */
export function sizeExpressions(profile: Profile): { readonly width: string; readonly height: string } {
  const limit = limits[profile.codec];
  const larger = Math.max(profile.width, profile.height);
  const smaller = Math.min(profile.width, profile.height);
  const side = (long: string, short: string, minLong: number, minShort: number): string => {
    const byLong = even(clamp(larger, minLong, limit.max));
    const byShort = even(clamp(smaller, minShort, limit.max));
    return `if(between(${byLong}*${short}/${long},${minShort},${limit.max}),${byLong},2*round(${byShort}*${long}/${short}/2))`;
  };
  return {
    width: `if(gte(iw,ih),${side("iw", "ih", limit.minWidth, limit.minHeight)},-2)`,
    height: `if(lt(iw,ih),${side("ih", "iw", limit.minHeight, limit.minWidth)},-2)`,
  };
}

/** `clip` in seconds, with half a tick of slack so that a frame exactly on the edge is inside. */
function clipBounds(clip: ClipRange): { readonly fromS: number; readonly toS: number | undefined } {
  return { fromS: clip.fromMs / 1000 - 5e-6, toS: clip.toMs > 0 ? clip.toMs / 1000 + 5e-6 : undefined };
}

function filterChain(
  profile: Profile,
  request: ArgumentsRequest,
  path: EncodingPath,
  signatureFile: string | undefined,
): string {
  const { width, height } = sizeExpressions(profile);
  const onCard = path.frames === "cuda" || path.frames === "cuda-upload";
  const filters: string[] = [];
  if (path.frames === "cuda-upload") filters.push("format=nv12", "hwupload_cuda");
  filters.push(
    `${onCard ? "scale_cuda" : "scale"}=w='${width}':h='${height}'${onCard ? ":format=nv12" : ""}`,
    "setsar=1",
  );
  if (!onCard) filters.push("format=yuv420p");
  // After the scaler: frames that are doubled here need not be scaled twice.
  if (profile.fps > 0) {
    const tooSlow = request.momentMs !== undefined && (request.momentMs * profile.fps) / profile.fpsDen < 1000;
    filters.push(`fps=${profile.fps}/${profile.fpsDen}${tooSlow ? ":eof_action=pass" : ""}`);
  }
  if (request.clip) {
    const { fromS, toS } = clipBounds(request.clip);
    filters.push(`select='gte(t-start_t,${fromS})${toS === undefined ? "" : `*lte(t-start_t,${toS})`}'`);
  }
  const encoder = path.encoders[profile.codec] ?? "";
  const softwareEncoder = isSoftware(encoder);
  if (onCard && (softwareEncoder || signatureFile !== undefined)) filters.push("hwdownload", "format=nv12");
  if (onCard && softwareEncoder) filters.push("format=yuv420p");
  if (signatureFile !== undefined) filters.push(`signature=filename=${signatureFile}`);
  if (!onCard && !softwareEncoder && path.uploadFilter) filters.push(path.uploadFilter);
  return filters.join(",");
}

const h264ProfileNames = {
  default: undefined,
  baseline: "baseline",
  main: "main",
  high: "high",
  "constrained-high": "high",
} as const;

/** Options that every encoder of a family wants beside rate and profile. */
function familyArgs(encoder: string): string[] {
  if (encoder === "libx264") return words("-preset medium -forced-idr 1");
  if (encoder === "libx265") return words("-preset medium -forced-idr 1 -x265-params log-level=error");
  // No hidden frames: what is counted is what is shown. Good enough in real time, which the default is far from.
  if (encoder.startsWith("libvpx")) return words("-deadline realtime -cpu-used 5 -auto-alt-ref 0 -lag-in-frames 0");
  if (encoder === "h264_nvenc") return words("-preset medium -forced-idr 1");
  if (encoder === "hevc_nvenc") return words("-preset medium -forced-idr 1 -tier high");
  if (encoder.endsWith("_qsv")) return words("-preset medium -forced_idr 1");
  return [];
}

function rateArgs(profile: Profile, encoder: string): string[] {
  const args: string[] = [];
  const { bitrate, quality } = profile;
  const vpx = encoder.startsWith("libvpx");
  if (bitrate > 0) {
    const rate = String(bitrate);
    args.push("-b:v", rate, "-maxrate", rate, "-bufsize", rate);
    if (!(vpx && quality > 0)) args.push("-minrate", rate);
  }
  if (encoder.endsWith("_nvenc")) {
    if (quality > 0) args.push("-rc", "vbr", "-cq", String(Math.min(quality + 7, 51)));
    else if (bitrate > 0) args.push("-rc", "cbr");
  } else if (quality > 0 && isSoftware(encoder)) {
    args.push("-crf", String(Math.min(quality, vpx ? 63 : 51)));
  } else if (quality > 0) {
    args.push("-global_quality", String(Math.min(quality, 51)));
  }
  return args;
}

function frameArgs(profile: Profile, encoder: string): string[] {
  const args: string[] = [];
  const nvenc = encoder.endsWith("_nvenc");
  let bFrames: number | undefined = nvenc ? 0 : undefined;
  if (profile.codec === "h264") {
    const name = h264ProfileNames[profile.h264Profile];
    if (name) {
      args.push("-profile:v", name);
      bFrames = profile.h264Profile === "main" || profile.h264Profile === "high" ? 3 : 0;
      // NVENC miscounts decoding times when frames keep the source's own and B-frames are on.
      if (nvenc && profile.fps === 0) bFrames = 0;
    }
  }
  if (profile.gopMs === -1) {
    args.push("-g", nvenc ? "0" : "1");
    if (nvenc || encoder === "libx264") bFrames = 0;
  } else if (profile.gopMs > 0 && profile.fps > 0) {
    args.push("-g", String(Math.max(1, Math.floor((profile.gopMs * profile.fps) / profile.fpsDen / 1000))));
  } else if (profile.gopMs > 0) {
    args.push("-force_key_frames", `expr:isnan(prev_forced_t)+gte(t,prev_forced_t+${profile.gopMs / 1000})`);
  }
  if (bFrames !== undefined) args.push("-bf", String(bFrames));
  return args;
}

/** Text that cannot end a metadata value or bloat it. */
function label(request: ArgumentsRequest): string {
  // oxlint-disable-next-line no-control-regex
  return `Livepeer Transcoder ${request.livepeerVersion} (${request.orchId.replace(/[\u0000-\u001f\u007f]/g, "").slice(0, 64)})`;
}

/**
 * One FFmpeg run for all renditions of a segment, one decode for all of them: what comes out is shaped like the output
 * of a stock transcoder. Refuses in its words what it would refuse.
 */
export function planTranscode(request: ArgumentsRequest, path: EncodingPath, dialect: FfmpegDialect): Plan {
  const { profiles, clip } = request;
  const refused = (text: string): Plan => ({ kind: "refused", text });
  if (profiles.length > MAX_OUTPUTS) return refused(transcodeText.tooManyOutputs);
  if (clip && clip.toMs > 0 && clip.toMs < clip.fromMs) return refused(transcodeText.invalidClip);
  for (const profile of profiles) {
    if (profile.gopMs < -1) return refused(transcodeText.invalidGop);
    if (path.encoders[profile.codec] === undefined) return refused(transcodeText.encoderNotFound);
    // MPEG-TS has no place for VP8 and VP9 (they end up as private data that nothing can play), MP4 none for VP8.
    const vpx = profile.codec === "vp8" || profile.codec === "vp9";
    if (vpx && (profile.container === "mpegts" || profile.codec === "vp8"))
      return refused(transcodeText.unrecognizedFormat);
  }

  const outputs = profiles.map((profile, i) => ({
    file: `${i}.${profile.container === "mp4" ? "mp4" : "ts"}`,
    signatureFile: request.perceptualHash ? `${i}.signature` : undefined,
    maxFrames: profile.fps > 0 ? Math.ceil((request.maxSeconds * profile.fps) / profile.fpsDen) : undefined,
    profile,
  }));
  const inputs = outputs.map((_, i) => `[s${i}]`).join("");
  const graph = [
    ...(outputs.length === 1 ? [] : [`[0:v:0]split=${outputs.length}${inputs}`]),
    ...outputs.map(({ profile, signatureFile }, i) => {
      const from = outputs.length === 1 ? "[0:v:0]" : `[s${i}]`;
      return `${from}${filterChain(profile, request, path, signatureFile)}[v${i}]`;
    }),
  ].join(";");

  const args = words("-y -hide_banner -nostdin -nostats -loglevel level+verbose");
  // Not rotated, as by a stock transcoder, which knows nothing of rotation: the coded size decides the shape.
  args.push(
    ...path.deviceArgs,
    ...path.decodeArgs,
    ...words("-noautorotate -copyts -i"),
    request.input,
    "-filter_complex",
    graph,
  );
  for (const [i, { profile, file, maxFrames }] of outputs.entries()) {
    const encoder = path.encoders[profile.codec] ?? "";
    args.push("-map", `[v${i}]`, ...(request.audio ? words("-map 0:a:0?") : []));
    args.push(...words("-map_metadata -1 -map_chapters -1"));
    if (!isSoftware(encoder)) args.push(...path.encoderArgs);
    args.push("-c:v", encoder, ...familyArgs(encoder), ...rateArgs(profile, encoder), ...frameArgs(profile, encoder));
    // Frames keep their own times. Without the finer time base FFmpeg would round them to the frame rate it guessed.
    args.push(dialect.fpsModeFlag, "passthrough", ...(profile.fps > 0 ? [] : words("-enc_time_base 1/90000")));
    if (maxFrames !== undefined) args.push("-frames:v", String(maxFrames));
    args.push("-c:a", "copy");
    if (clip && dialect.dropsPackets) {
      const { fromS, toS } = clipBounds(clip);
      const after = toS === undefined ? "" : `+gt((pts-startpts)*tb,${toS})`;
      args.push("-bsf:a", `noise=drop='lt((pts-startpts)*tb,${fromS})${after}'`);
    }
    args.push("-metadata", `service_provider=${label(request)}`, "-metadata", `comment=Processed by ${label(request)}`);
    args.push(...words("-muxdelay 0 -muxpreload 0 -fs"), String(MAX_SEGMENT_BYTES));
    args.push(...words(profile.container === "mp4" ? "-movflags faststart -f mp4" : "-f mpegts"), file);
  }
  return { kind: "plan", args, outputs };
}
