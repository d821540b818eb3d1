import type { MediaAudioCodec, MediaVideoCodec } from "./types.ts";

/** What the programme tables say about one elementary stream. */
export interface DeclaredStream {
  readonly pid: number;
  /** `private`: no codec is named; VP8 and VP9 come like this from FFmpeg. */
  readonly kind: "video" | "audio" | "private" | "other";
  readonly video: MediaVideoCodec | undefined;
  readonly audio: MediaAudioCodec | undefined;
}

export interface ProgramTables {
  readonly streams: readonly DeclaredStream[];
  readonly programs: number;
  /** Every programme that was announced has been described. */
  readonly complete: boolean;
}

const MAX_PROGRAMS = 64;
const MAX_STREAMS = 64;
const MAX_SECTION = 4_096;

const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;

/** Puts together one section that may span packets. */
class SectionBuffer {
  readonly #bytes = new Uint8Array(MAX_SECTION);
  #length = -1;

  /** Adds a packet's payload; returns the section once it is whole. */
  add(data: Uint8Array, from: number, to: number, unitStart: boolean): Uint8Array | undefined {
    let at = from;
    if (unitStart) {
      at += 1 + byte(data, from);
      this.#length = 0;
    }
    if (this.#length < 0) return undefined;
    for (; at < to && this.#length < MAX_SECTION; at++) this.#bytes[this.#length++] = byte(data, at);
    if (this.#length < 3) return undefined;
    const whole = 3 + (((byte(this.#bytes, 1) & 15) << 8) | byte(this.#bytes, 2));
    if (whole > MAX_SECTION || this.#length < whole) return undefined;
    this.#length = -1;
    return this.#bytes.subarray(0, whole);
  }
}

/** Collects PAT and PMT from transport packets, in any order and however often they come. */
export class TableReader {
  readonly #pat = new SectionBuffer();
  readonly #pmts = new Map<number, { readonly section: SectionBuffer; done: boolean }>();
  readonly #streams = new Map<number, DeclaredStream>();
  #patSeen = false;

  get complete(): boolean {
    if (!this.#patSeen) return false;
    for (const pmt of this.#pmts.values()) if (!pmt.done) return false;
    return true;
  }

  tables(): ProgramTables {
    let programs = 0;
    for (const pmt of this.#pmts.values()) if (pmt.done) programs++;
    return { streams: [...this.#streams.values()], programs, complete: this.complete };
  }

  packet(pid: number, data: Uint8Array, from: number, to: number, unitStart: boolean): void {
    if (pid === 0) {
      const section = this.#pat.add(data, from, to, unitStart);
      if (section) this.#readPat(section);
      return;
    }
    const pmt = this.#pmts.get(pid);
    if (!pmt || pmt.done) return;
    const section = pmt.section.add(data, from, to, unitStart);
    if (section && byte(section, 0) === 2 && this.#readPmt(section)) pmt.done = true;
  }

  #readPat(section: Uint8Array): void {
    if (byte(section, 0) !== 0) return;
    this.#patSeen = true;
    for (let at = 8; at + 4 <= section.length - 4; at += 4) {
      const program = (byte(section, at) << 8) | byte(section, at + 1);
      const pid = ((byte(section, at + 2) & 31) << 8) | byte(section, at + 3);
      if (program === 0 || this.#pmts.has(pid) || this.#pmts.size >= MAX_PROGRAMS) continue;
      this.#pmts.set(pid, { section: new SectionBuffer(), done: false });
    }
  }

  #readPmt(section: Uint8Array): boolean {
    const end = section.length - 4;
    let at = 12 + (((byte(section, 10) & 15) << 8) | byte(section, 11));
    while (at + 5 <= end) {
      const pid = ((byte(section, at + 1) & 31) << 8) | byte(section, at + 2);
      const infoLength = ((byte(section, at + 3) & 15) << 8) | byte(section, at + 4);
      const infoEnd = Math.min(at + 5 + infoLength, end);
      if (!this.#streams.has(pid) && this.#streams.size < MAX_STREAMS) {
        this.#streams.set(pid, declared(pid, byte(section, at), section, at + 5, infoEnd));
      }
      at += 5 + infoLength;
    }
    return true;
  }
}

const videoTypes: ReadonlyMap<number, MediaVideoCodec> = new Map([
  [0x01, "unknown"],
  [0x02, "unknown"],
  [0x10, "unknown"],
  [0x1b, "h264"],
  [0x21, "unknown"],
  [0x24, "hevc"],
  [0x33, "unknown"],
  [0x42, "unknown"],
  [0xd1, "unknown"],
  [0xd2, "unknown"],
  [0xea, "unknown"],
]);

const audioTypes: ReadonlyMap<number, MediaAudioCodec> = new Map([
  [0x03, "mp3"],
  [0x04, "mp3"],
  [0x0f, "aac"],
  [0x11, "aac"],
  [0x81, "ac3"],
  [0x84, "eac3"],
  [0x87, "eac3"],
  [0x82, "unknown"],
  [0x83, "unknown"],
]);

/** Sections, object carousels, timed metadata, splice points, subtitles: never a picture. */
const dataTypes: ReadonlySet<number> = new Set([0x05, 0x0b, 0x0c, 0x0d, 0x15, 0x16, 0x17, 0x86, 0x90]);

const registrations: ReadonlyMap<string, Partial<Pick<DeclaredStream, "video" | "audio">>> = new Map([
  ["HEVC", { video: "hevc" }],
  ["VC-1", { video: "unknown" }],
  ["AV01", { video: "unknown" }],
  ["drac", { video: "unknown" }],
  ["Opus", { audio: "opus" }],
  ["AC-3", { audio: "ac3" }],
  ["EAC3", { audio: "eac3" }],
  ["DTS1", { audio: "unknown" }],
  ["DTS2", { audio: "unknown" }],
  ["DTS3", { audio: "unknown" }],
  ["BSSD", { audio: "unknown" }],
]);

function declared(pid: number, type: number, section: Uint8Array, from: number, to: number): DeclaredStream {
  const video = videoTypes.get(type);
  if (video) return { pid, kind: "video", video, audio: undefined };
  const audio = audioTypes.get(type);
  if (audio) return { pid, kind: "audio", video: undefined, audio };
  if (dataTypes.has(type)) return { pid, kind: "other", video: undefined, audio: undefined };
  let described = false;
  for (let at = from; at + 2 <= to; at += 2 + byte(section, at + 1)) {
    const tag = byte(section, at);
    if (tag === 0x05) {
      const name = String.fromCharCode(...section.subarray(at + 2, Math.min(at + 6, to)));
      const known = registrations.get(name);
      if (known?.video) return { pid, kind: "video", video: known.video, audio: undefined };
      if (known?.audio) return { pid, kind: "audio", video: undefined, audio: known.audio };
      described = true;
    }
    if (tag === 0x6a) return { pid, kind: "audio", video: undefined, audio: "ac3" };
    if (tag === 0x7a) return { pid, kind: "audio", video: undefined, audio: "eac3" };
    // Teletext, subtitles: data that looks like nothing else.
    if (tag === 0x56 || tag === 0x59) described = true;
  }
  return { pid, kind: described ? "other" : "private", video: undefined, audio: undefined };
}
