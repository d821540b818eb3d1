/**
 * What the error text of a worker says about whose fault it is.
 * - `input`: blames the segment.
 * - `unclear`: any other text; two different workers saying the same make it the input.
 * - `busy`: its queue for the session is full; no fault.
 * - `stopped`: its session ended while the task waited; no fault.
 * - `download`: could not fetch the source, which may be our fault, its network's or its own.
 * - `unable`: it lacks something that the segment asks for.
 * - `machine`: it blames itself: disk, memory, GPU.
 */
export type ErrorClass = "input" | "unclear" | "busy" | "stopped" | "download" | "unable" | "machine";

/** Texts that stock transcoders, LPMS and FFmpeg use for input that cannot be decoded or makes no sense. */
const inputTexts: readonly string[] = [
  "transcoderinvalidvideo",
  "invalid data found when processing input",
  "no keyframes in input",
  "unsupported input pixel format",
  "unsupported input codec",
  "encoded frames runaway",
  "decoder not found",
  "demuxer not found",
  "transcoderinvalidresolution",
  "transcoderunrecognizedformat",
  "moov atom not found",
  "end of file",
  "zeroframes",
  "zero frames",
];

const machineTexts: readonly string[] = [
  "no space left on device",
  "cannot allocate memory",
  "out of memory",
  "too many open files",
  "permission denied",
  "read-only file system",
  "input/output error",
  "unrecoverable state",
  "cuda",
  "nvenc",
  "cuvid",
  "no such device",
  "device or resource busy",
  "signal: killed",
];

const downloadTexts: readonly string[] = [
  "connection refused",
  "connection reset",
  "no route to host",
  "i/o timeout",
  "context deadline exceeded",
  "client.timeout exceeded",
  "no such host",
  "tls handshake",
  "network is unreachable",
  "broken pipe",
];

export function classifyWorkerError(text: string): ErrorClass {
  const lower = text.trim().toLowerCase();
  if (lower === "transcoderbusy") return "busy";
  if (lower === "transcoderstopped") return "stopped";
  if (lower === "incompatible segment capabilities") return "unable";
  // The status line of a refused download, as stock transcoders pass it on; Go's other download errors carry the URL.
  if (/^[1-5]\d\d( |$)/.test(lower) || /^(get|head) "/.test(lower)) return "download";
  if (inputTexts.some((known) => lower.includes(known))) return "input";
  if (machineTexts.some((known) => lower.includes(known))) return "machine";
  if (downloadTexts.some((known) => lower.includes(known))) return "download";
  return "unclear";
}

const MAX_COMPARED = 300;

/** The part of a text that two workers with the same trouble share: no numbers, addresses, paths or quoted names. */
export function likeness(text: string): string {
  return text
    .slice(0, MAX_COMPARED)
    .toLowerCase()
    .replaceAll(/0x[0-9a-f]+/g, "#")
    .replaceAll(/"[^"]*"|'[^']*'/g, "#")
    .replaceAll(/[\w.:-]*[/\\][^\s,;]*/g, "#")
    .replaceAll(/\d+(\.\d+)?/g, "#")
    .replaceAll(/[^a-z#]+/g, " ")
    .trim();
}
