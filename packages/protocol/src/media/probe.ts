import { looksLikeMp4, probeMp4 } from "./mp4.ts";
import { findPackets, probeMpegts } from "./mpegts.ts";
import type { MediaProbe, UnreadableFile } from "./types.ts";

/**
 * Measures what a file really holds from its bytes: container, codec, size, pictures, times. For MPEG-TS and MP4; reads
 * headers only, in time linear in the length and in memory that hostile bytes cannot inflate. Never throws.
 */
export function probeMedia(data: Uint8Array): MediaProbe {
  try {
    if (looksLikeMp4(data)) return probeMp4(data);
    const grid = findPackets(data);
    return grid ? probeMpegts(data, grid) : unreadable(data);
  } catch (cause) {
    // No input is known to come here. Whatever does is not worth a pool that falls over.
    return { kind: "unreadable", why: `the probe failed: ${String(cause)}`, foreign: true };
  }
}

/** Starts of files that FFmpeg may well read though this probe does not. */
const foreignStarts: readonly { readonly at: number; readonly bytes: readonly number[]; readonly name: string }[] = [
  { at: 0, bytes: [0x1a, 0x45, 0xdf, 0xa3], name: "Matroska or WebM" },
  { at: 0, bytes: [0x46, 0x4c, 0x56, 0x01], name: "FLV" },
  { at: 0, bytes: [0x52, 0x49, 0x46, 0x46], name: "AVI or WAV" },
  { at: 0, bytes: [0x4f, 0x67, 0x67, 0x53], name: "Ogg" },
  { at: 0, bytes: [0x30, 0x26, 0xb2, 0x75], name: "ASF" },
  { at: 0, bytes: [0x49, 0x44, 0x33], name: "MP3" },
  { at: 0, bytes: [0x44, 0x4b, 0x49, 0x46], name: "IVF" },
  { at: 0, bytes: [0x06, 0x0e, 0x2b, 0x34], name: "MXF" },
  { at: 0, bytes: [0, 0, 1], name: "an elementary or programme stream" },
  { at: 0, bytes: [0, 0, 0, 1], name: "an elementary stream" },
];

function unreadable(data: Uint8Array): UnreadableFile {
  if (data.length === 0) return { kind: "unreadable", why: "it is empty", foreign: false };
  const foreign = foreignStarts.find(({ at, bytes }) => bytes.every((byte, i) => data[at + i] === byte));
  if (foreign) return { kind: "unreadable", why: `it looks like ${foreign.name}`, foreign: true };
  const head = data.subarray(0, 256);
  const printable = head.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
  if (printable) {
    const text = String.fromCharCode(...head.subarray(0, 40)).replace(/\s+/g, " ");
    const what = /^\s*</.test(text) ? "HTML or XML" : "text";
    return { kind: "unreadable", why: `it is ${what}: ${JSON.stringify(text)}`, foreign: false };
  }
  return { kind: "unreadable", why: "it is neither MPEG-TS nor MP4", foreign: false };
}
