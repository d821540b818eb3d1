import { H264Reader } from "./h264.ts";
import { HevcReader } from "./hevc.ts";
import { TableReader, type DeclaredStream } from "./mpegts-tables.ts";
import { AnnexBScanner, Fingerprint, type NalReader } from "./nal.ts";
import { isJump, spanOf, Timeline, unusualGaps } from "./timeline.ts";
import type { AudioTrack, MediaFile, MediaProblem, MediaVideoCodec, UnreadableFile, VideoTrack } from "./types.ts";
import { parseVp8Frame, parseVp9Frame, type VpxFrame } from "./vpx.ts";

/** Where the first packet starts and how far apart packets lie. */
export interface PacketGrid {
  readonly start: number;
  readonly stride: number;
}

const PACKET = 188;
const SYNC = 0x47;
const STRIDES = [188, 192, 204] as const;
const MAX_VIDEOS = 8;
/** A segment of five minutes has fewer units in a stream. */
const MAX_UNITS = 100_000;
/** A file that falls out of step more often is given up. */
const MAX_RESYNCS = 1_000;
/** How far into a file the first packet may lie. */
const MAX_LEAD = 64 * 1024;

/** Finds transport packets: at least three in a row, or as many as there is room for. */
export function findPackets(data: Uint8Array): PacketGrid | undefined {
  for (let start = 0; start < MAX_LEAD && start + PACKET <= data.length; start++) {
    if (data[start] !== SYNC) continue;
    for (const stride of STRIDES) {
      let seen = 1;
      while (seen < 8 && data[start + seen * stride] === SYNC) seen++;
      const room = Math.floor((data.length - start - PACKET) / stride) + 1;
      if (seen >= 3 && seen >= Math.min(8, room)) return { start, stride };
    }
  }
  return undefined;
}

/** One elementary stream that may be the video: its packets, its pictures, its times. */
class VideoStream {
  readonly pid: number;
  readonly declared: MediaVideoCodec | "private";
  bytes = 0;
  truncated = false;
  malformed = false;
  readonly #data: Uint8Array;
  readonly #timeline = new Timeline();
  readonly #offsets: number[] = [];
  readonly #headerLengths: number[] = [];
  readonly #pts: (number | undefined)[] = [];
  readonly #dts: (number | undefined)[] = [];
  readonly #pictures: number[] = [];
  /** Units whose first slice continues an earlier picture: a new one may begin behind it. */
  readonly #startsWithin = new Set<number>();
  #reader: NalReader | undefined;
  #scanner: AnnexBScanner | undefined;
  #fingerprint = new Fingerprint();
  #open = false;
  #header: Uint8Array | undefined;
  #headerLength = 0;
  #announced = 0;
  #received = 0;
  #vpx: "vp8" | "vp9" | "neither" | undefined;
  #vpxFormat: VpxFrame | undefined;
  #vpxKeyframeFirst = false;
  #vpxSizeChanged = false;

  constructor(stream: DeclaredStream | { readonly pid: number; readonly video: MediaVideoCodec }, data: Uint8Array) {
    this.pid = stream.pid;
    this.declared = stream.video ?? "private";
    this.#data = data;
    this.#newReader();
  }

  #newReader(): void {
    this.#reader =
      this.declared === "h264" ? new H264Reader() : this.declared === "hevc" ? new HevcReader() : undefined;
    this.#fingerprint = new Fingerprint();
    this.#scanner = this.#reader && new AnnexBScanner(this.#reader, this.#fingerprint);
  }

  /** The packet at `offset` starts a unit; its payload is [from, to). */
  start(offset: number, from: number, to: number): void {
    this.#finishUnit();
    if (this.#offsets.length >= MAX_UNITS) {
      this.malformed = true;
      return;
    }
    this.#offsets.push(offset);
    this.#header = undefined;
    this.#gatherHeader(from, to);
  }

  /** More payload of the unit that is open. */
  more(from: number, to: number): void {
    if (this.#header) {
      this.#gatherHeader(from, to);
      return;
    }
    this.bytes += to - from;
    this.#received += to - from;
    if (this.#open && this.#scanner && !this.#scanner.done) this.#scanner.push(this.#data, from, to);
  }

  #gatherHeader(from: number, to: number): void {
    const data = this.#data;
    if (!this.#header) {
      const whole = to - from >= 9 ? 9 + (data[from + 8] ?? 0) : 9;
      if (to - from >= whole) {
        this.#openUnit(data, from, from + whole, to);
        return;
      }
      this.#header = new Uint8Array(9 + 255);
      this.#headerLength = 0;
    }
    // A header that spans packets is rare: put it together first.
    const header = this.#header;
    let at = from;
    while (at < to) {
      const whole = this.#headerLength >= 9 ? 9 + (header[8] ?? 0) : 9;
      if (this.#headerLength >= 9 && this.#headerLength >= whole) break;
      header[this.#headerLength++] = data[at++] ?? 0;
    }
    if (this.#headerLength >= 9 && this.#headerLength >= 9 + (header[8] ?? 0)) {
      this.#header = undefined;
      this.#openUnit(header, 0, at, to);
    }
  }

  #openUnit(header: Uint8Array, at: number, from: number, to: number): void {
    if (header[at] !== 0 || header[at + 1] !== 0 || header[at + 2] !== 1) {
      this.malformed = true;
      this.#offsets.pop();
      return;
    }
    this.#open = true;
    this.#announced = ((header[at + 4] ?? 0) << 8) | (header[at + 5] ?? 0);
    // The announced length counts from behind itself.
    this.#received = 3 + (header[at + 8] ?? 0) + to - from;
    this.#headerLengths.push(9 + (header[at + 8] ?? 0));
    this.bytes += to - from;
    const flags = (header[at + 7] ?? 0) >> 6;
    let dts = flags === 3 ? this.#timeline.unwrap(timestamp(header, at + 14)) : undefined;
    const pts = flags >= 2 ? this.#timeline.unwrap(timestamp(header, at + 9)) : undefined;
    dts ??= pts;
    this.#pts.push(pts);
    this.#dts.push(dts);
    if (this.#scanner) {
      this.#scanner.begin(true);
      this.#scanner.push(this.#data, from, to);
    } else if (this.declared === "private") this.#pictures.push(this.#vpxPicture(from, to));
    else this.#pictures.push(1);
  }

  #finishUnit(): void {
    if (this.#header) {
      // The header never became whole.
      this.#header = undefined;
      this.#offsets.pop();
      this.malformed = true;
    }
    if (!this.#open) return;
    this.#open = false;
    if (!this.#scanner) return;
    this.#scanner.end();
    if (this.#scanner.startsWithin) this.#startsWithin.add(this.#pictures.length);
    this.#pictures.push(this.#scanner.pictures);
  }

  /** FFmpeg writes each VP8 or VP9 packet as one unit, without saying what it is. */
  #vpxPicture(from: number, to: number): number {
    const data = this.#data;
    if (this.#vpx === "neither") return 0;
    let frame = this.#vpx === "vp9" ? undefined : parseVp8Frame(data, from, to);
    if (this.#vpx === undefined) {
      // Both begin with a key frame that carries a start code: nothing else is taken for them.
      if (frame?.key) this.#vpx = "vp8";
      else {
        frame = parseVp9Frame(data, from, to);
        this.#vpx = frame?.key ? "vp9" : "neither";
        if (this.#vpx === "neither") return 0;
      }
      this.#vpxFormat = frame;
      this.#vpxKeyframeFirst = true;
    } else if (this.#vpx === "vp9") frame = parseVp9Frame(data, from, to);
    if (!frame) return 0;
    this.#fingerprint.picture(data, from, to);
    if (frame.key && (frame.width !== this.#vpxFormat?.width || frame.height !== this.#vpxFormat.height)) {
      this.#vpxSizeChanged = true;
    }
    return frame.shown || this.#vpx === "vp9" ? 1 : 0;
  }

  /** Everything has been fed: looks closer where a unit may hold more than one picture. */
  finish(grid: PacketGrid): void {
    const incomplete = this.#open && this.#announced > 0 && this.#received < this.#announced;
    if (incomplete) this.truncated = true;
    this.#finishUnit();
    if (!this.#reader || !this.#scanner) return;
    if (this.#reader.fields) {
      // Fields make pairs in decoding order, so nothing short of all slices in order will do.
      this.#newReader();
      this.#rescan(grid, undefined);
      return;
    }
    const units = this.#pictures.length;
    const suspects = unusualGaps(this.#dts);
    for (const unit of this.#startsWithin) suspects[unit] = 1;
    // Where every unit holds several pictures no gap is unusual, so look into two. The first one is left out: it is the
    // largest, and if it alone held more, the gap behind it would tell.
    const several = units < 3 || this.#count(1, grid) > 1 || this.#count(units - 1, grid) > 1;
    if (this.#reader.codec === "hevc") {
      // What a leading picture is worth depends on the pictures before it: look at all or at none.
      if (!several && suspects.indexOf(1) === units - 1) return;
      this.#newReader();
    }
    this.#rescan(grid, several || this.#reader.codec === "hevc" ? undefined : suspects);
  }

  #rescan(grid: PacketGrid, only: Uint8Array | undefined): void {
    for (let unit = 0; unit < this.#pictures.length; unit++) {
      if (!only || only[unit]) this.#pictures[unit] = this.#count(unit, grid);
    }
  }

  /** Reads one unit to its end. */
  #count(unit: number, grid: PacketGrid): number {
    const scanner = this.#scanner;
    const data = this.#data;
    if (!scanner) return 0;
    scanner.begin(false);
    const from = this.#offsets[unit] ?? data.length;
    const to = this.#offsets[unit + 1] ?? data.length;
    let skip = this.#headerLengths[unit] ?? 0;
    for (let at = from; at + PACKET <= to; at += grid.stride) {
      if (data[at] !== SYNC) {
        at = nextSync(data, at, grid.stride) - grid.stride;
        continue;
      }
      if ((((data[at + 1] ?? 0) & 31) << 8) + (data[at + 2] ?? 0) !== this.pid) continue;
      let payload = payloadStart(data, at);
      if (payload < 0) continue;
      if (skip > 0) {
        const skipped = Math.min(skip, at + PACKET - payload);
        skip -= skipped;
        payload += skipped;
      }
      scanner.push(data, payload, at + PACKET);
    }
    scanner.end();
    return scanner.pictures;
  }

  get frames(): number {
    let frames = 0;
    for (const pictures of this.#pictures) frames += pictures;
    return frames;
  }

  get jumps(): boolean {
    for (let i = 1; i < this.#dts.length; i++) {
      const before = this.#dts[i - 1];
      const here = this.#dts[i];
      if (before !== undefined && here !== undefined && isJump(before, here)) return true;
    }
    return false;
  }

  track(): { readonly video: VideoTrack; readonly problems: readonly MediaProblem[] } {
    const problems: MediaProblem[] = [];
    const frames = this.frames;
    let first: number | undefined;
    let last: number | undefined;
    let lastUnit = -1;
    let untimed = 0;
    for (let unit = 0; unit < this.#pictures.length; unit++) {
      if (!this.#pictures[unit]) continue;
      const pts = this.#pts[unit];
      if (pts === undefined) untimed++;
      else {
        if (first === undefined || pts < first) first = pts;
        if (last === undefined || pts > last) {
          last = pts;
          lastUnit = unit;
        }
      }
    }
    // Only the first picture of a unit has a time; those behind it follow at the usual distance.
    const behind = (this.#pictures[lastUnit] ?? 1) - 1;
    if (first !== undefined && last !== undefined && behind > 0 && frames > behind + 1) {
      last += (behind * (last - first)) / (frames - 1 - behind);
    }
    if (untimed > 0) problems.push("no-timestamps");
    if (this.jumps) problems.push("time-jump");
    if (this.truncated) problems.push("truncated");
    if (this.malformed) problems.push("malformed");
    const format = this.#reader?.format;
    if (this.#reader?.sizeChanged || this.#vpxSizeChanged) problems.push("size-change");
    if (this.#reader && frames > 0 && !format) problems.push("no-parameters");
    const codec = this.#vpx === "vp8" || this.#vpx === "vp9" ? this.#vpx : this.declared;
    return {
      video: {
        codec: codec === "private" ? "unknown" : codec,
        width: format?.width ?? this.#vpxFormat?.width ?? 0,
        height: format?.height ?? this.#vpxFormat?.height ?? 0,
        frames,
        ...spanOf(first, last, frames),
        chroma: format?.chroma,
        bitDepth: format?.bitDepth,
        profile: format?.profile,
        interlaced: format?.interlaced ?? false,
        keyframeFirst: this.#reader?.keyframeFirst ?? this.#vpxKeyframeFirst,
        bytes: this.bytes,
        fingerprint: this.#fingerprint.value,
      },
      problems,
    };
  }
}

/** Only the times of an audio stream are of interest. */
class AudioStream {
  readonly pid: number;
  readonly codec: AudioTrack["codec"];
  readonly #timeline = new Timeline();
  #first: number | undefined;
  #last: number | undefined;
  #announced = 0;
  #received = 0;

  constructor(stream: DeclaredStream) {
    this.pid = stream.pid;
    this.codec = stream.audio ?? "unknown";
  }

  get truncated(): boolean {
    return this.#announced > 0 && this.#received < this.#announced;
  }

  start(data: Uint8Array, from: number, to: number): void {
    this.#announced = 0;
    if (to - from < 14 || data[from] !== 0 || data[from + 1] !== 0 || data[from + 2] !== 1) return;
    this.#announced = ((data[from + 4] ?? 0) << 8) | (data[from + 5] ?? 0);
    this.#received = to - from - 6;
    if ((data[from + 7] ?? 0) >> 6 < 2) return;
    const pts = this.#timeline.unwrap(timestamp(data, from + 9));
    this.#first = this.#first === undefined ? pts : Math.min(this.#first, pts);
    this.#last = this.#last === undefined ? pts : Math.max(this.#last, pts);
  }

  more(from: number, to: number): void {
    this.#received += to - from;
  }

  track(): AudioTrack {
    const { firstPts, lastPts } = spanOf(this.#first, this.#last, 0);
    return { codec: this.codec, firstPts, lastPts };
  }
}

/** A 33-bit timestamp in the five bytes of a PES header. */
function timestamp(data: Uint8Array, at: number): number {
  const high = ((data[at] ?? 0) >> 1) & 7;
  const middle = (((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0)) >> 1;
  const low = (((data[at + 3] ?? 0) << 8) | (data[at + 4] ?? 0)) >> 1;
  return high * 0x4000_0000 + middle * 0x8000 + low;
}

/** Where the payload of the packet starts, or -1 without any. */
function payloadStart(data: Uint8Array, at: number): number {
  const control = (data[at + 3] ?? 0) & 0x30;
  if (control === 0x10) return at + 4;
  if (control !== 0x30) return -1;
  const start = at + 5 + (data[at + 4] ?? 0);
  return start < at + PACKET ? start : -1;
}

/** The next place at which packets go on: a sync byte, and another one packet later or the end of the data. */
function nextSync(data: Uint8Array, from: number, stride: number): number {
  for (let at = data.indexOf(SYNC, from + 1); at >= 0 && at + PACKET <= data.length; at = data.indexOf(SYNC, at + 1)) {
    if (at + stride >= data.length || data[at + stride] === SYNC) return at;
  }
  return data.length;
}

function readTables(data: Uint8Array, grid: PacketGrid): TableReader {
  const tables = new TableReader();
  let resyncs = 0;
  for (let at = grid.start; at + PACKET <= data.length && !tables.complete; at += grid.stride) {
    if (data[at] !== SYNC) {
      if (++resyncs > MAX_RESYNCS) break;
      at = nextSync(data, at, grid.stride) - grid.stride;
      continue;
    }
    const flags = data[at + 1] ?? 0;
    const pid = ((flags & 31) << 8) | (data[at + 2] ?? 0);
    const payload = payloadStart(data, at);
    if (payload >= 0) tables.packet(pid, data, payload, at + PACKET, (flags & 0x40) !== 0);
  }
  return tables;
}

/** Without a programme table: the first stream whose packets carry the stream id of video. */
function guessVideo(data: Uint8Array, grid: PacketGrid): { pid: number; video: MediaVideoCodec } | undefined {
  for (let at = grid.start; at + PACKET <= data.length; at += grid.stride) {
    const flags = data[at + 1] ?? 0;
    if (data[at] !== SYNC || (flags & 0x40) === 0) continue;
    const from = payloadStart(data, at);
    if (from < 0 || data[from] !== 0 || data[from + 1] !== 0 || data[from + 2] !== 1) continue;
    if (((data[from + 3] ?? 0) & 0xf0) !== 0xe0) continue;
    const payload = from + 9 + (data[from + 8] ?? 0);
    // The first NAL unit tells them apart: HEVC begins with a delimiter (35) or a parameter set (32 to 34).
    let nal = payload;
    while (nal < at + PACKET && data[nal] === 0) nal++;
    const hevc = ((data[nal + 1] ?? 0) >> 1) & 63;
    const isHevc = data[nal] === 1 && hevc >= 32 && hevc <= 35 && data[nal + 2] === 1;
    return { pid: ((flags & 31) << 8) | (data[at + 2] ?? 0), video: isHevc ? "hevc" : "h264" };
  }
  return undefined;
}

export function probeMpegts(data: Uint8Array, grid: PacketGrid): MediaFile | UnreadableFile {
  const problems = new Set<MediaProblem>();
  const { streams, programs } = readTables(data, grid).tables();
  const videos: VideoStream[] = [];
  const audios: AudioStream[] = [];
  // By packet id: 0 nobody, n > 0 the video n - 1, n < 0 the audio -n - 1. One look-up for each packet.
  const owners = new Int8Array(8192);
  for (const stream of streams) {
    if ((stream.kind === "video" || stream.kind === "private") && videos.length < MAX_VIDEOS) {
      videos.push(new VideoStream(stream, data));
      owners[stream.pid] = videos.length;
    } else if (stream.kind === "audio" && audios.length < MAX_VIDEOS) {
      audios.push(new AudioStream(stream));
      owners[stream.pid] = -audios.length;
    }
  }
  if (streams.length === 0) {
    problems.add("no-pmt");
    const guess = guessVideo(data, grid);
    if (guess) {
      videos.push(new VideoStream(guess, data));
      owners[guess.pid] = 1;
    }
  }
  if (programs > 1) problems.add("several-programs");
  walk(data, grid, owners, videos, audios, problems);
  for (const stream of videos) stream.finish(grid);
  if (audios.some((stream) => stream.truncated)) problems.add("sound-truncated");

  const real = videos.filter((stream) => stream.declared !== "private" || stream.track().video.codec !== "unknown");
  if (real.filter((stream) => stream.frames > 0).length > 1) problems.add("several-videos");
  if (real.length < videos.length) problems.add("unknown-streams");
  const chosen = real.find((stream) => stream.frames > 0) ?? real[0];
  const track = chosen?.track();
  for (const problem of track?.problems ?? []) problems.add(problem);
  return {
    kind: "media",
    container: "mpegts",
    video: track?.video,
    audio: audios[0]?.track(),
    problems: [...problems],
  };
}

/** Visits every packet once and hands payloads to whom they belong. */
function walk(
  data: Uint8Array,
  grid: PacketGrid,
  owners: Int8Array,
  videos: readonly VideoStream[],
  audios: readonly AudioStream[],
  problems: Set<MediaProblem>,
): void {
  const counters = new Int8Array(videos.length).fill(-1);
  const stride = grid.stride;
  let resyncs = 0;
  let at = grid.start;
  for (; at + PACKET <= data.length; at += stride) {
    if (data[at] !== SYNC) {
      problems.add("lost-sync");
      if (++resyncs > MAX_RESYNCS) break;
      at = nextSync(data, at, stride) - stride;
      continue;
    }
    const flags = data[at + 1] ?? 0;
    const pid = ((flags & 31) << 8) | (data[at + 2] ?? 0);
    const owner = owners[pid] ?? 0;
    if (owner === 0) continue;
    if (flags & 0x80) problems.add("transport-error");
    const control = data[at + 3] ?? 0;
    const from = payloadStart(data, at);
    const to = at + PACKET;
    if (owner < 0) {
      const audio = audios[-owner - 1];
      if (from < 0 || !audio) continue;
      if (flags & 0x40) audio.start(data, from, to);
      else audio.more(from, to);
      continue;
    }
    const video = videos[owner - 1];
    if (!video || (control & 0x10) === 0) continue;
    if (control & 0xc0) {
      problems.add("scrambled");
      continue;
    }
    const before = counters[owner - 1] ?? -1;
    const counter = control & 15;
    counters[owner - 1] = counter;
    if (before >= 0 && counter !== ((before + 1) & 15)) {
      const announced = (control & 0x20) !== 0 && (data[at + 4] ?? 0) > 0 && ((data[at + 5] ?? 0) & 0x80) !== 0;
      if (!announced) problems.add("continuity");
      // The same packet sent twice, as the standard allows: the copy carries nothing new.
      if (!announced && counter === before) continue;
    }
    if (from < 0) continue;
    if (flags & 0x40) video.start(at, from, to);
    else video.more(from, to);
  }
  if (at < data.length) problems.add("truncated");
}
