import type { Facts, Reason, ReasonCode } from "@openpool/protocol";
import type { DecisionReason } from "../../dispatch/decision-text.ts";
import { classifyWorkerError } from "../../dispatch/failure-text.ts";
import { asFact, reasonOfFacts } from "./amounts.ts";

type Own = readonly (readonly [pattern: RegExp, code: ReasonCode])[];

/** Reasons for a standing that the pool itself puts into words, and what their numbers are called. */
const OWN_REASONS: Own = [
  [/^too new to be judged$/, "standing-new"],
  [/^(?<results>\d+) good results$/, "standing-good"],
  [/^(?<results>\d+) good results in a row$/, "standing-good-in-a-row"],
  [/^(?<results>\d+) good retrials in a row$/, "standing-retrials"],
  [/^slow: (?<speed>[\d.]+) × real time, others do the same work at about (?<usual>[\d.]+) ×$/, "standing-slow"],
  [/^claimed pixels that were not in the result$/, "standing-false-claim"],
  [
    /^(?<claims>\d+) grossly false claims, the last: claimed pixels that were not in the result$/,
    "standing-false-claims",
  ],
];

/** Failures of which the same is so; what else stands behind "the last failure" was said by a rig. */
const OWN_FAILURES: Own = [
  [/^disconnected with work in flight$/, "failure-disconnected"],
  [/^a task could not be handed over$/, "failure-not-handed-over"],
  [/^gave no sign of life for (?<tasks>\d+) tasks in a row$/, "failure-silent"],
  [/^no answer before the deadline$/, "failure-late"],
  [/^claimed pixels that were not in the result$/, "failure-false-claim"],
  [/^it came before its source was complete$/, "failure-too-early"],
];

/** Reasons are the same few, of thousands of rigs. */
const MOST_REMEMBERED = 1_000;
const remembered = new Map<string, Reason>();

/**
 * A reason for a rig's standing as everybody may read it: what a program on the rig said, which may hold anything, is
 * replaced by the kind of trouble that it is.
 */
export function publicReason(reason: string): Reason {
  const known = remembered.get(reason);
  if (known !== undefined) return known;
  if (remembered.size >= MOST_REMEMBERED) remembered.clear();
  const made = readReason(reason);
  remembered.set(reason, made);
  return made;
}

function readReason(reason: string): Reason {
  const own = readOwn(OWN_REASONS, reason);
  if (own !== undefined) return own;
  const [, percent, failure] = /^success down to (\d+) %, the last failure: (.*)$/s.exec(reason) ?? [];
  if (percent === undefined || failure === undefined) return reasonOfFacts("standing-not-told", {});
  const why = readOwn(OWN_FAILURES, failure) ?? reasonOfFacts(`failure-${classifyWorkerError(failure)}`, {});
  return reasonOfFacts("standing-failing", { percent, ...asFact("failure", why) });
}

function readOwn(own: Own, reason: string): Reason | undefined {
  for (const [pattern, code] of own) {
    const found = pattern.exec(reason);
    if (found) return reasonOfFacts(code, { ...found.groups });
  }
  return undefined;
}

/** The reason of a decision as everybody may read it: a standing's reason may be one of its facts. */
export function publicDecision(reason: DecisionReason): DecisionReason {
  const { why } = reason.facts;
  if (typeof why !== "string") return reason;
  const facts: Facts = { ...reason.facts, ...asFact("why", publicReason(why)) };
  return { ...reason, facts };
}
