export {
  type GatewayClient,
  type GatewayDependencies,
  type GatewayOptions,
  openGatewayClient,
  type SegmentToPush,
} from "./gateway-client.ts";
export type { CallOutcome } from "./orchestrator-calls.ts";
export { adviceFor, describeOutcome, type Rendition, type SegmentOutcome, type SegmentTimings } from "./outcome.ts";
export { defaultProfiles, parseProfiles, ProfilesError } from "./profiles.ts";
export { type PushedSegment, pushFile, type PushOptions } from "./push-file.ts";
export {
  segmentFile,
  type SegmentFileOptions,
  type SegmentSource,
  SourceError,
  type SourceSegment,
} from "./segments.ts";
