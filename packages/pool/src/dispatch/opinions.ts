import { classifyWorkerError, likeness } from "./failure-text.ts";
import type { Failure, Job, Rig } from "./model.ts";
import type { JobFailure } from "./types.ts";

/** What an answer that is no good says, about its rig and about the job. */
export function failureOf(rig: Rig, kind: "worker-error" | "invalid-result", text: string): Failure {
  const errorClass = kind === "worker-error" ? classifyWorkerError(text) : undefined;
  const noFault = errorClass === "busy" || errorClass === "stopped" || errorClass === "unable";
  return {
    rig,
    kind,
    text,
    like: likeness(text),
    errorClass,
    opinion: errorClass === undefined || errorClass === "input" || errorClass === "unclear",
    weight: noFault ? 0 : errorClass === "download" ? 0.5 : 1,
  };
}

/** Nobody failed: the connection ended. */
export function lossOf(rig: Rig): Failure {
  return {
    rig,
    kind: "disconnected",
    text: "disconnected",
    like: "",
    errorClass: undefined,
    opinion: false,
    weight: 0,
  };
}

/** The rig has failed this job by something that may be its own fault. */
export function hasFailed(job: Job, rig: Rig): boolean {
  return job.failures.some((failure) => failure.rig === rig && failure.weight > 0);
}

/**
 * The text that ends the job as bad input, if this failure and earlier ones say so together. `others` are the rigs that
 * could still be asked.
 */
export function verdictOf(job: Job, last: Failure, others: readonly Rig[]): string | undefined {
  if (!last.opinion) return undefined;
  const agreeing = job.failures.filter((other) => other !== last && other.opinion && alike(other, last));
  if (agreeing.length === 0) return undefined;
  const all = [last, ...agreeing];
  const said = all.find((failure) => failure.errorClass === "input") ?? last;
  if (others.length === 0) return said.text;
  const rigs = new Set(all.map((failure) => failure.rig));
  // Broken results look alike: only an error that a worker itself reports is worth as much as a second opinion.
  if (rigs.size < (all.every((failure) => failure.kind === "invalid-result") ? 3 : 2)) return undefined;
  const workers = new Set(Array.from(rigs, (rig) => rig.name.worker));
  if (workers.size === 1 && others.some((rig) => !workers.has(rig.name.worker))) return undefined;
  // Strangers may be wrong together, or in league: somebody trusted is asked if there is one.
  const trusted = [...rigs].some((rig) => rig.reputation.standing === "trusted");
  if (!trusted && others.some((rig) => rig.reputation.standing === "trusted")) return undefined;
  return said.text;
}

/** What to say of a job that could not be saved. */
export function lastWordOn(job: Job): JobFailure {
  const opinions = job.failures.filter((failure) => failure.opinion);
  const rigs = new Set(opinions.map((failure) => failure.rig));
  const said =
    opinions.find((failure) => failure.errorClass === "input") ?? (rigs.size > 1 ? opinions.at(-1) : undefined);
  return said === undefined ? { kind: "deadline", attempts: job.started } : { kind: "bad-input", text: said.text };
}

/** They name the same trouble: in the same words, or both blame the input, or one does and the other's result shows it. */
function alike(a: Failure, b: Failure): boolean {
  const blames = (failure: Failure): boolean => failure.errorClass === "input";
  const broken = (failure: Failure): boolean => failure.kind === "invalid-result";
  if (blames(a) && (blames(b) || broken(b))) return true;
  if (blames(b) && broken(a)) return true;
  return a.kind === b.kind && a.like === b.like;
}
