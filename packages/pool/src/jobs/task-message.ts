import { create } from "@bufbuild/protobuf";
import {
  AuthTokenSchema,
  needToWire,
  type NotifySegment,
  NotifySegmentSchema,
  SegDataSchema,
  SegParametersSchema,
  setProfiles,
} from "@openpool/protocol";
import type { AttemptId } from "../dispatch/types.ts";
import type { Work } from "./job.ts";

/** Names that are harmless in a file's name, a command line and a log. */
const HARMLESS_NAME = /^[\w .:+()-]{1,64}$/;

/** The task as an orchestrator sends it. What the worker needs not know is replaced: stream key, token, hash. */
export function taskOf(job: Work, attempt: AttemptId, url: string): NotifySegment {
  const segData = create(SegDataSchema, {
    // A stock transcoder writes files by this name, unchecked.
    manifestId: Buffer.from(job.session),
    seq: job.seq,
    hash: new Uint8Array(32),
    profiles: INVALID,
    duration: job.durationMs,
    capabilities: needToWire(job.need),
    // The worker keys its encoder session by this; the gateway's own token would let it send segments in its name.
    authToken: create(AuthTokenSchema, { sessionId: job.session }),
    calcPerceptualHash: job.perceptualHash,
    ForceSessionReinit: job.forceSessionReinit,
  });
  if (job.clip) {
    segData.segmentParameters = create(SegParametersSchema, {
      from: BigInt(job.clip.fromMs),
      to: BigInt(job.clip.toMs),
    });
  }
  setProfiles(
    segData,
    job.profiles.map((one, i) => (HARMLESS_NAME.test(one.name) ? one : { ...one, name: `profile-${i}` })),
  );
  return create(NotifySegmentSchema, { url, segData, taskId: BigInt(attempt), profiles: INVALID, orchId: "offchain" });
}

const INVALID = Buffer.from("invalid");

/** No url, and nothing but the session: the transcoder frees its encoder. */
export function teardownOf(session: string): NotifySegment {
  return create(NotifySegmentSchema, {
    segData: create(SegDataSchema, { authToken: create(AuthTokenSchema, { sessionId: session }) }),
  });
}
