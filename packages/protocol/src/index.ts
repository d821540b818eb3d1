export { decodeBase64 } from "./base64.ts";
export { bytesToHex, hexToBytes, minBytes } from "./bytes.ts";
export {
  capabilitiesOfJob,
  capabilitiesToWire,
  Capability,
  capabilityNames,
  capabilitySet,
  type CapabilitySet,
  capabilitySetFromWords,
  capabilityWords,
  DEFAULT_CAPABILITIES,
  isSubset,
  LIVEPEER_VERSION,
} from "./capabilities.ts";
export { DOWNLOAD_TIMEOUT_MS, headersTimeoutMs, segmentTimeoutMs, SESSION_IDLE_MS } from "./deadlines.ts";
export * from "./gen/lp_rpc_pb.ts";
export {
  decodeGrpcFrame,
  decodeGrpcMessage,
  encodeGrpcFrame,
  encodeGrpcMessage,
  GRPC_PREFIX_BYTES,
  type GrpcFrame,
  grpcMessageReader,
  type GrpcUnreadable,
  GrpcStatus,
} from "./grpc-frame.ts";
export {
  encodeResultParts,
  multipartBoundary,
  type MultipartLimits,
  type MultipartPart,
  parseMultipart,
  type ResultPart,
} from "./multipart.ts";
export {
  type Ability,
  announced,
  compareVersions,
  isAsAble,
  misfit,
  type Need,
  needFromWire,
  needKey,
  needOf,
  plainVersion,
  needToWire,
} from "./need.ts";
export {
  type Container,
  type H264Profile,
  plainProfile,
  type Profile,
  profileFromWire,
  profilesOfSegment,
  profileToWire,
  setProfiles,
  type VideoCodec as ProfileCodec,
} from "./profile.ts";
export * from "./rig-report.ts";
export {
  DEFAULT_SEGMENT_DURATION_MS,
  INVALID_VIDEO,
  isNonRetryable,
  HTTP2_CONNECTION_MEMORY_MB,
  MAX_SEGMENT_BYTES,
  MAX_SEGMENT_DURATION_MS,
  MIN_RENDITION_BYTES,
  registerText,
  RESULT_AUTHORIZATION,
  segmentText,
  TRANSCODING_ERROR_TYPE,
  URI_BODY_TYPE,
} from "./wire-text.ts";
export {
  type AddressProblem,
  addressProblemText,
  checksumAddress,
  DEFAULT_RIG,
  formatRig,
  isAddressProblem,
  isRigName,
  type OpenSecret,
  parseAddress,
  parseOpenSecret,
  type RigName,
  type SecretProblem,
  type WorkerAddress,
} from "./worker-name.ts";
export { probeMedia } from "./media/probe.ts";
export {
  type AudioTrack,
  type MediaAudioCodec,
  type MediaContainer,
  type MediaFile,
  type MediaProbe,
  type MediaProblem,
  type MediaVideoCodec,
  PTS_PER_SECOND,
  PTS_WRAP,
  type UnreadableFile,
  type VideoTrack,
} from "./media/types.ts";
export * from "./http-api/admin.ts";
export * from "./http-api/alerts.ts";
export * from "./http-api/common.ts";
export * from "./http-api/events.ts";
export * from "./http-api/payouts.ts";
export * from "./http-api/pool.ts";
export * from "./http-api/problem.ts";
export * from "./http-api/routes.ts";
export * from "./http-api/sentences.ts";
export * from "./http-api/settings.ts";
export * from "./http-api/solvency.ts";
export * from "./http-api/status.ts";
export * from "./http-api/terms.ts";
export * from "./http-api/why.ts";
export * from "./http-api/workers.ts";
