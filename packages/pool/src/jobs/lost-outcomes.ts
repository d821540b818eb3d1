import { INVALID_VIDEO, isNonRetryable } from "@openpool/protocol";
import type { JobFailure } from "../dispatch/types.ts";
import type { JobOutcome } from "./job.ts";

/** A check has no gateway to answer. */
export function lostCheck(reason: string): JobOutcome {
  return { kind: "failed", text: INVALID_VIDEO, reason };
}

/** The text that costs a gateway least: it must be one that is not retried, or an off-chain gateway loses the stream. */
export function failureOutcome(failure: JobFailure): JobOutcome {
  switch (failure.kind) {
    case "bad-input":
      return {
        kind: "failed",
        text: isNonRetryable(failure.text) ? failure.text : INVALID_VIDEO,
        reason: `two workers failed alike: ${failure.text}`,
      };
    case "no-capable-worker":
      return {
        kind: "failed",
        text: INVALID_VIDEO,
        reason: "no connected worker has the capabilities, or a version that is new enough",
      };
    case "deadline":
      return {
        kind: "failed",
        text: INVALID_VIDEO,
        reason:
          failure.attempts === 0
            ? "no worker had room before the deadline"
            : `not done in time after ${failure.attempts} attempts`,
      };
  }
}
