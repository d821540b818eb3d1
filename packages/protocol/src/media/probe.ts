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
const foreignStarts: readonly { readonly bytes: readonly number[]; readonly name: string }[] = [
  { bytes: [0x1a, 0x45, 0xdf, 0xa3], name: "Matroska or WebM" },
  { bytes: [0x46, 0x4c, 0x56, 0x01], name: "FLV" },
  { bytes: [0x52, 0x49, 0x46, 0x46], name: "AVI or WAV" },
  { bytes: [0x4f, 0x67, 0x67, 0x53], name: "Ogg" },
  { bytes: [0x30, 0x26, 0xb2, 0x75], name: "ASF" },
  { bytes: [0x49, 0x44, 0x33], name: "MP3" },
  { bytes: [0x44, 0x4b, 0x49, 0x46], name: "IVF" },
  { bytes: [0x06, 0x0e, 0x2b, 0x34], name: "MXF" },
  { bytes: [0xff, 0xd8, 0xff], name: "JPEG" },
  { bytes: [0x89, 0x50, 0x4e, 0x47], name: "PNG" },
  { bytes: [0x47, 0x49, 0x46, 0x38], name: "GIF" },
  { bytes: [0x59, 0x55, 0x56, 0x34], name: "raw video" },
  { bytes: [0x2e, 0x52, 0x4d, 0x46], name: "RealMedia" },
  { bytes: [0x6e, 0x75, 0x74, 0x2f], name: "NUT" },
  { bytes: [0, 0, 1], name: "an elementary or programme stream" },
  { bytes: [0, 0, 0, 1], name: "an elementary stream" },
];

function unreadable(data: Uint8Array): UnreadableFile {
  if (data.length === 0) return { kind: "unreadable", why: "it is empty", foreign: false };
  const foreign = foreignStarts.find(({ bytes }) => bytes.every((byte, i) => data[i] === byte));
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
