/**
 * Texts with meaning on the wire: peers compare the whole string, so none may be prefixed, wrapped or translated.
 */

/** Bodies of `/segment` refusals and `TranscodeResult.error`, as a stock orchestrator words them. */
export const segmentText = {
  segEncoding: "ErrorSegEncoding",
  outputFormat: "unrecognized profile output format",
  encoderProfile: "unrecognized encoder profile",
  videoCodec: "unrecognized video codec",
  duration: "invalid duration",
  capabilities: "incompatible capabilities",
  missingToken: "missing auth token",
  invalidToken: "invalid auth token",
  expiredToken: "expired auth token",
  capped: "OrchestratorCapped",
  busy: "OrchestratorBusy",
  internal: "Internal Server Error",
  badRequest: "BadRequest",
  forbidden: "Forbidden",
  noTranscoders: "no transcoders available",
  noCapableTranscoder: "no transcoders can provide requested capabilities",
  tookTooLong: "Remote transcoder took too long",
} as const;

/**
 * Errors that a gateway neither retries nor holds against the session: the segment is lost (the publisher gets 422 with
 * the text), the stream goes on. Everything else costs an unmodified off-chain gateway its stream.
 */
const nonRetryable: ReadonlySet<string> = new Set([
  "Unsupported input pixel format",
  "Unsupported input codec",
  "Encoded frames runaway",
  "Encoder not found",
  "Invalid argument",
  "TranscoderUnrecognizedFormat",
  "TranscoderIncompatibleDevices",
  "Error initializing filtergraph",
  "No keyframes in input",
  "Decoder not found",
  "Muxer not found",
  "TranscoderInvalidResolution",
  "TranscoderUnrecognizedProfile",
  "Too many outputs",
  "Unrecoverable state, restart process",
  "Demuxer not found",
  "Option not found",
  "TranscoderInvalidVideo",
  "TranscoderInvalidGOP",
]);

export function isNonRetryable(text: string): boolean {
  return nonRetryable.has(text);
}

/** What a segment that cannot be saved is answered with: true of broken input, and the one text that never costs a session. */
export const INVALID_VIDEO = "TranscoderInvalidVideo";

/** Ends of a RegisterTranscoder stream. A stock transcoder that reads one of the two fatal texts stops for good. */
export const registerText = {
  /** Fatal: the transcoder stops retrying until its operator restarts it. */
  invalidSecret: "invalid secret",
  /** Fatal, like the above. */
  zeroCapacity: "zero capacity",
} as const;

export const RESULT_AUTHORIZATION = "Livepeer-Transcoder-1.0";
export const TRANSCODING_ERROR_TYPE = "livepeer/transcoding-error";
export const URI_BODY_TYPE = "application/vnd+livepeer.uri";

/** One byte more in a segment or a rendition is an error: 300 s at 8 Mbit/s. */
export const MAX_SEGMENT_BYTES = 300_000_000;
/**
 * What Node's HTTP/2 may hold for one connection, in megabytes (its `maxSessionMemory`): dozens of segments or results go
 * over one at once. With its default of 10 it resets a stream whose headers come while more than that waits to be sent,
 * with ENHANCE_YOUR_CALM, and the segment is lost.
 */
export const HTTP2_CONNECTION_MEMORY_MB = 4_000;
export const MAX_SEGMENT_DURATION_MS = 300_000;
/** A rendition with fewer bytes is no rendition (`ZeroSegments`). */
export const MIN_RENDITION_BYTES = 25;
export const DEFAULT_SEGMENT_DURATION_MS = 2_000;
