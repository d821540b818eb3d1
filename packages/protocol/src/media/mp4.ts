import { type Box, BoxReader, boxType, i32, readBox, u16, u32, u64 } from "./boxes.ts";
import { H264Reader } from "./h264.ts";
import { HevcReader } from "./hevc.ts";
import {
  type FragmentDefaults,
  type FragmentState,
  type SampleBudget,
  type TakeSample,
  walkFragment,
  walkSampleTable,
} from "./mp4-samples.ts";
import { Fingerprint, NAL_OTHER, NAL_PICTURE, type NalReader } from "./nal.ts";
import { isJump, spanOf } from "./timeline.ts";
import {
  type AudioTrack,
  type MediaAudioCodec,
  type MediaFile,
  type MediaProblem,
  type MediaVideoCodec,
  PTS_PER_SECOND,
  type UnreadableFile,
  type VideoTrack,
} from "./types.ts";
import { parseVp8Frame, parseVp9Frame } from "./vpx.ts";

const MAX_TRACKS = 32;

const firstBoxes: ReadonlySet<string> = new Set(["ftyp", "styp", "moov", "moof", "mdat", "sidx", "wide", "pdin"]);

export function looksLikeMp4(data: Uint8Array): boolean {
  if (data.length < 8) return false;
  const type = boxType(data, 4);
  if (firstBoxes.has(type)) return true;
  if (type !== "free" && type !== "skip" && type !== "uuid") return false;
  const first = readBox(data, 0, data.length);
  return first !== undefined && !first.cut && firstBoxes.has(boxType(data, first.end + 4));
}

const videoCodecs: ReadonlyMap<string, MediaVideoCodec> = new Map([
  ["avc1", "h264"],
  ["avc2", "h264"],
  ["avc3", "h264"],
  ["avc4", "h264"],
  ["dva1", "h264"],
  ["dvav", "h264"],
  ["hvc1", "hevc"],
  ["hvc2", "hevc"],
  ["hev1", "hevc"],
  ["hev2", "hevc"],
  ["dvh1", "hevc"],
  ["dvhe", "hevc"],
  ["vp08", "vp8"],
  ["vp09", "vp9"],
]);

const audioCodecs: ReadonlyMap<string, MediaAudioCodec> = new Map([
  ["mp4a", "aac"],
  [".mp3", "mp3"],
  ["ac-3", "ac3"],
  ["ec-3", "eac3"],
  ["Opus", "opus"],
]);

/** The part of a track's own time that is shown, and where it starts. */
interface Edit {
  /** Added to a composition time. */
  readonly offset: number;
  readonly from: number;
  readonly to: number;
}

const WHOLE: Edit = { offset: 0, from: -Infinity, to: Infinity };

class Track {
  readonly id: number;
  readonly timescale: number;
  readonly edit: Edit;
  readonly stbl: Box;
  readonly fragments: FragmentState = { decodeTime: 0, samples: 0 };
  readonly video: MediaVideoCodec | undefined;
  readonly audio: MediaAudioCodec | undefined;
  readonly encrypted: boolean;
  readonly #boxes: BoxReader;
  readonly #data: Uint8Array;
  readonly #entryWidth: number;
  readonly #entryHeight: number;
  readonly #reader: NalReader | undefined;
  readonly #fingerprint = new Fingerprint();
  #lengthBytes = 4;
  #bytes = 0;
  #first: number | undefined;
  #last: number | undefined;
  #lastDecode: number | undefined;
  #oneDuration = 0;
  #frames = 0;
  #jumps = false;
  #outside = false;
  #overlap = false;
  #keyframeFirst: boolean | undefined;
  #width = 0;
  #height = 0;
  #sizeChanged = false;

  constructor(boxes: BoxReader, trak: Box, stbl: Box, timescale: number, movieTimescale: number, handler: string) {
    const { data } = boxes;
    this.#boxes = boxes;
    this.#data = data;
    this.stbl = stbl;
    this.timescale = timescale;
    const tkhd = boxes.child(trak, "tkhd");
    this.id = tkhd ? u32(data, tkhd.start + ((data[tkhd.start] ?? 0) === 1 ? 20 : 12)) : 0;
    this.edit = readEdit(data, boxes.descend(trak, "edts", "elst"), timescale, movieTimescale);
    const stsd = boxes.child(stbl, "stsd");
    const entry = stsd && readBox(data, stsd.start + 8, stsd.end);
    let format = entry?.type ?? "";
    this.encrypted = format === "encv" || format === "enca";
    if (entry && handler === "vide") {
      const extensions: Box = { ...entry, start: Math.min(entry.start + 78, entry.end) };
      if (this.encrypted) {
        const frma = boxes.descend(extensions, "sinf", "frma");
        format = frma ? boxType(data, frma.start) : "";
      }
      this.video = videoCodecs.get(format) ?? "unknown";
      this.#entryWidth = u16(data, entry.start + 24);
      this.#entryHeight = u16(data, entry.start + 26);
      if (this.video === "h264") {
        this.#reader = new H264Reader();
        this.#readAvcConfig(boxes.child(extensions, "avcC"));
      } else if (this.video === "hevc") {
        this.#reader = new HevcReader();
        this.#readHevcConfig(boxes.child(extensions, "hvcC"));
      }
    } else {
      this.#entryWidth = 0;
      this.#entryHeight = 0;
      if (entry && handler === "soun") this.audio = audioCodecs.get(format) ?? "unknown";
    }
  }

  get frames(): number {
    return this.#frames;
  }

  #readAvcConfig(box: Box | undefined): void {
    if (!box) return;
    const data = this.#data;
    this.#lengthBytes = ((data[box.start + 4] ?? 0) & 3) + 1;
    let at = box.start + 5;
    for (const mask of [31, 255]) {
      const count = (data[at++] ?? 0) & mask;
      for (let i = 0; i < count && at + 2 <= box.end; i++) {
        const length = u16(data, at);
        at += 2;
        if (length > 0) this.#reader?.nal(data, at, Math.min(at + length, box.end));
        at += length;
      }
    }
  }

  #readHevcConfig(box: Box | undefined): void {
    if (!box) return;
    const data = this.#data;
    this.#lengthBytes = ((data[box.start + 21] ?? 0) & 3) + 1;
    let at = box.start + 23;
    for (let arrays = data[box.start + 22] ?? 0; arrays > 0 && at + 3 <= box.end; arrays--) {
      const count = u16(data, at + 1);
      at += 3;
      for (let i = 0; i < count && at + 2 <= box.end; i++) {
        const length = u16(data, at);
        at += 2;
        if (length > 0) this.#reader?.nal(data, at, Math.min(at + length, box.end));
        at += length;
      }
    }
  }

  /** Takes the samples of the sample table; false when the table makes no sense. */
  readTable(budget: SampleBudget): boolean {
    return walkSampleTable(this.#boxes, this.stbl, budget, this.#taker(this.edit));
  }

  readFragment(moof: Box, traf: Box, tfhd: Box, defaults: FragmentDefaults, budget: SampleBudget): boolean {
    // Fragments are shown whole: only the offset of the edit list counts for them.
    const edit = { ...WHOLE, offset: this.edit.offset };
    return walkFragment(this.#boxes, moof, traf, tfhd, defaults, this.fragments, budget, this.#taker(edit));
  }

  #taker(edit: Edit): TakeSample {
    return (offset, size, decodeTime, shift, duration) => {
      this.#bytes += size;
      if (this.#bytes > this.#data.length) {
        // More bytes than the file has: samples share them, and counting on would count the same picture twice.
        this.#overlap = true;
        return false;
      }
      if (offset + size > this.#data.length) {
        this.#outside = true;
        return true;
      }
      const pictures = this.#picturesIn(offset, offset + size);
      const time = decodeTime + shift;
      if (pictures === 0 || time < edit.from || time >= edit.to) return true;
      this.#frames += pictures;
      this.#oneDuration = duration;
      const shown = time + edit.offset;
      if (this.#first === undefined || shown < this.#first) this.#first = shown;
      if (this.#last === undefined || shown > this.#last) this.#last = shown;
      if (this.#lastDecode !== undefined && isJump(this.#ticks(this.#lastDecode), this.#ticks(decodeTime))) {
        this.#jumps = true;
      }
      this.#lastDecode = decodeTime;
      return true;
    };
  }

  /** Pictures that a decoder puts out for the sample. */
  #picturesIn(from: number, to: number): number {
    const data = this.#data;
    if (this.#reader) return this.#nalPictures(this.#reader, from, to);
    if (this.video === "vp8" || this.video === "vp9") {
      const frame = this.video === "vp8" ? parseVp8Frame(data, from, to) : parseVp9Frame(data, from, to);
      if (!frame) return 0;
      this.#keyframeFirst ??= frame.key;
      this.#fingerprint.picture(data, from, to);
      if (frame.key) {
        if (this.#width > 0 && (frame.width !== this.#width || frame.height !== this.#height)) this.#sizeChanged = true;
        this.#width ||= frame.width;
        this.#height ||= frame.height;
      }
      return frame.shown || this.video === "vp9" ? 1 : 0;
    }
    return to > from ? 1 : 0;
  }

  #nalPictures(reader: NalReader, from: number, to: number): number {
    const data = this.#data;
    let pictures = 0;
    for (let at = from; at + this.#lengthBytes < to;) {
      let length = 0;
      for (let i = 0; i < this.#lengthBytes; i++) length = length * 256 + (data[at++] ?? 0);
      const end = Math.min(to, at + length);
      if (length > 0) {
        const meaning = reader.nal(data, at, end);
        if (meaning === NAL_PICTURE) {
          pictures++;
          this.#fingerprint.picture(data, at, end);
        }
        // The rest of the sample belongs to the same picture, unless it may be a second field.
        if (meaning !== NAL_OTHER && !reader.fields) break;
      }
      at += length;
    }
    return pictures;
  }

  #ticks(time: number): number {
    return (time * PTS_PER_SECOND) / this.timescale;
  }

  audioTrack(): AudioTrack {
    const first = this.#first === undefined ? undefined : this.#ticks(this.#first);
    const last = this.#last === undefined ? undefined : this.#ticks(this.#last);
    const { firstPts, lastPts } = spanOf(first, last, 0);
    return { codec: this.audio ?? "unknown", firstPts, lastPts };
  }

  videoTrack(): VideoTrack {
    const format = this.#reader?.format;
    const first = this.#first === undefined ? undefined : this.#ticks(this.#first);
    const last = this.#last === undefined ? undefined : this.#ticks(this.#last);
    return {
      codec: this.video ?? "unknown",
      width: format?.width ?? (this.#width || this.#entryWidth),
      height: format?.height ?? (this.#height || this.#entryHeight),
      frames: this.#frames,
      ...spanOf(first, last, this.#frames, this.#frames === 1 ? this.#ticks(this.#oneDuration) : undefined),
      chroma: format?.chroma,
      bitDepth: format?.bitDepth,
      profile: format?.profile,
      interlaced: format?.interlaced ?? false,
      keyframeFirst: this.#reader?.keyframeFirst ?? this.#keyframeFirst ?? false,
      bytes: this.#bytes,
      fingerprint: this.#fingerprint.value,
    };
  }

  problems(): MediaProblem[] {
    const problems: MediaProblem[] = [];
    if (this.#outside || this.#overlap) problems.push("bad-index");
    if (this.encrypted) problems.push("scrambled");
    if (this.#jumps) problems.push("time-jump");
    if (this.#reader?.sizeChanged || this.#sizeChanged) problems.push("size-change");
    if (this.#reader && this.#frames > 0 && !this.#reader.format) problems.push("no-parameters");
    return problems;
  }
}

/** Empty edits delay a track, the first other one says which part of it is shown. */
function readEdit(data: Uint8Array, elst: Box | undefined, timescale: number, movieTimescale: number): Edit {
  if (!elst) return WHOLE;
  const long = (data[elst.start] ?? 0) === 1;
  const width = long ? 20 : 12;
  const count = Math.min(u32(data, elst.start + 4), Math.floor((elst.end - elst.start - 8) / width));
  let delay = 0;
  for (let i = 0; i < count; i++) {
    const at = elst.start + 8 + i * width;
    const length = ((long ? u64(data, at) : u32(data, at)) * timescale) / (movieTimescale || 1);
    const empty = long ? u32(data, at + 8) === 0xffff_ffff : i32(data, at + 4) === -1;
    if (empty) {
      delay += length;
      continue;
    }
    const from = long ? u64(data, at + 8) : i32(data, at + 4);
    return { offset: delay - from, from, to: length > 0 ? from + Math.round(length) : Infinity };
  }
  return { ...WHOLE, offset: delay };
}

export function probeMp4(data: Uint8Array): MediaFile | UnreadableFile {
  const problems = new Set<MediaProblem>();
  const boxes = new BoxReader(data);
  let moov: Box | undefined;
  let fragmented = false;
  let end = 0;
  for (const box of boxes.within(0, data.length)) {
    if (box.type === "moov") moov ??= box;
    if (box.type === "moof") fragmented = true;
    if (box.cut) problems.add("truncated");
    end = box.end;
  }
  if (end < data.length) problems.add("malformed");
  if (!moov) {
    return {
      kind: "unreadable",
      why: "it is an MP4 without an index (moov): cut off, or a fragment",
      foreign: fragmented,
    };
  }
  const tracks = readTracks(boxes, moov);
  const budget: SampleBudget = { left: data.length };
  for (const track of tracks) if (!track.readTable(budget)) problems.add("bad-index");
  if (fragmented && !readFragments(boxes, moov, tracks, budget)) problems.add("bad-index");

  if (boxes.exhausted) problems.add("malformed");
  const videos = tracks.filter((track) => track.video !== undefined);
  if (videos.filter((track) => track.frames > 0).length > 1) problems.add("several-videos");
  const video = videos.find((track) => track.frames > 0) ?? videos[0];
  const audio = tracks.find((track) => track.audio !== undefined);
  for (const track of [video, audio]) for (const problem of track?.problems() ?? []) problems.add(problem);
  return {
    kind: "media",
    container: "mp4",
    video: video?.videoTrack(),
    audio: audio?.audioTrack(),
    problems: [...problems],
  };
}

function readTracks(boxes: BoxReader, moov: Box): Track[] {
  const { data } = boxes;
  const mvhd = boxes.child(moov, "mvhd");
  const movieTimescale = mvhd ? u32(data, mvhd.start + ((data[mvhd.start] ?? 0) === 1 ? 20 : 12)) : 0;
  const tracks: Track[] = [];
  for (const trak of boxes.within(moov.start, moov.end)) {
    if (trak.type !== "trak" || tracks.length >= MAX_TRACKS) continue;
    const mdia = boxes.child(trak, "mdia");
    const stbl = boxes.descend(mdia, "minf", "stbl");
    const mdhd = boxes.child(mdia, "mdhd");
    const hdlr = boxes.child(mdia, "hdlr");
    if (!stbl || !mdhd || !hdlr) continue;
    const timescale = u32(data, mdhd.start + ((data[mdhd.start] ?? 0) === 1 ? 20 : 12));
    if (timescale === 0) continue;
    tracks.push(new Track(boxes, trak, stbl, timescale, movieTimescale, boxType(data, hdlr.start + 8)));
  }
  return tracks;
}

function readFragments(boxes: BoxReader, moov: Box, tracks: readonly Track[], budget: SampleBudget): boolean {
  const { data } = boxes;
  const byId = new Map(tracks.map((track) => [track.id, track]));
  const defaults = new Map<number, FragmentDefaults>();
  const mvex = boxes.child(moov, "mvex");
  if (mvex) {
    for (const trex of boxes.within(mvex.start, mvex.end)) {
      if (trex.type !== "trex" || defaults.size >= MAX_TRACKS) continue;
      defaults.set(u32(data, trex.start + 4), {
        duration: u32(data, trex.start + 12),
        size: u32(data, trex.start + 16),
      });
    }
  }
  let sound = true;
  for (const moof of boxes.within(0, data.length)) {
    if (moof.type !== "moof") continue;
    for (const traf of boxes.within(moof.start, moof.end)) {
      const tfhd = traf.type === "traf" ? boxes.child(traf, "tfhd") : undefined;
      const track = tfhd && byId.get(u32(data, tfhd.start + 4));
      if (!tfhd || !track) continue;
      const its = defaults.get(track.id) ?? { duration: 0, size: 0 };
      if (!track.readFragment(moof, traf, tfhd, its, budget)) sound = false;
    }
  }
  return sound;
}
