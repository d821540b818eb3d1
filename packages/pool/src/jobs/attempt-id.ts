import type { AttemptId } from "../dispatch/types.ts";
import { randomView } from "./random-bytes.ts";

/**
 * A task id on the wire is a positive int64. Its upper 12 bits say which process of the pool gave it out, so that a
 * sibling can relay the result; the other 51 are random: a worker cannot guess another's task.
 */
const GENERATION_SHIFT = 51n;
const GENERATION_MASK = 0xfffn;

export function newAttemptId(generation: number): AttemptId {
  const random = randomView(8).readBigUInt64BE() & ((1n << GENERATION_SHIFT) - 1n);
  // Never 0: a stock worker accepts it, but it is absent on the wire and guessable.
  const id = ((BigInt(generation) & GENERATION_MASK) << GENERATION_SHIFT) | (random || 1n);
  return id.toString() as AttemptId;
}

/** The process that gave out a task id, modulo 4096. */
export function generationOf(taskId: bigint): number {
  return Number((taskId >> GENERATION_SHIFT) & GENERATION_MASK);
}
