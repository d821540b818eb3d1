import type { DecisionReason } from "../../dispatch/decision-text.ts";
import { type ErrorClass, classifyWorkerError } from "../../dispatch/failure-text.ts";

/** Failures that the pool itself puts into words; what else stands behind "the last failure" was said by a rig. */
const OWN_FAILURES = [
  /^disconnected with work in flight$/,
  /^a task could not be handed over$/,
  /^gave no sign of life for \d+ tasks in a row$/,
  /^no answer before the deadline$/,
  /^claimed pixels that were not in the result$/,
  /^it came before its source was complete$/,
];

/** Reasons for a standing that the pool itself puts into words. */
const OWN_REASONS = [
  /^too new to be judged$/,
  /^\d+ good (results|retrials) in a row$/,
  /^slow: [\d.]+ × real time, others do the same work at about [\d.]+ ×$/,
  /^claimed pixels that were not in the result$/,
  /^\d+ grossly false claims, the last: claimed pixels that were not in the result$/,
];

const CLASS_WORDS: Record<ErrorClass, string> = {
  input: "it called the segment bad, and others did not",
  unclear: "an error of its software, or a result that did not pass the check",
  busy: "it was busy",
  stopped: "it had ended the session",
  download: "it could not fetch the segment",
  unable: "it lacks something that the segment asked for",
  machine: "trouble with its own disk, memory or GPU",
};

/**
 * A reason for a rig's standing as everybody may read it: what a program on the rig said, which may hold anything, is
 * replaced by the kind of trouble that it is.
 */
export function publicReason(reason: string): string {
  if (OWN_REASONS.some((one) => one.test(reason))) return reason;
  const [, before, failure] = /^(success down to \d+ %, the last failure: )(.*)$/s.exec(reason) ?? [];
  if (before === undefined || failure === undefined) return "the pool's operator knows why";
  if (OWN_FAILURES.some((one) => one.test(failure))) return reason;
  return before + CLASS_WORDS[classifyWorkerError(failure)];
}

/** The reason of a decision as everybody may read it: a standing's reason may be one of its facts. */
export function publicDecision(reason: DecisionReason): DecisionReason {
  const { why } = reason.facts;
  return typeof why === "string" ? { ...reason, facts: { ...reason.facts, why: publicReason(why) } } : reason;
}
