import { z } from "zod";
import {
  ageSchema,
  codedSchema,
  countSchema,
  reasonSchema,
  rigNameSchema,
  timeSchema,
  workerAddressSchema,
} from "./common.ts";
import { decisionSchema, rigStateSchema, standingSchema } from "./workers.ts";

/** Why one rig has the work it has. */
export const rigWhySchema = z.object({
  rig: rigNameSchema,
  state: rigStateSchema,
  standing: standingSchema.nullable(),
  standingReason: z.string().nullable(),
  standingReasonCoded: codedSchema.nullable(),
  standingSince: timeSchema.nullable(),
  capacity: countSchema,
  streams: countSchema,
  freeAhead: countSchema.describe("rigs of others with a free place that a new stream would rather go to"),
  chosenLastHour: countSchema.describe("routing decisions, give or take five minutes"),
  passedOverLastHour: countSchema,
  reasons: z.array(reasonSchema).describe("most important first"),
});
export type RigWhy = z.infer<typeof rigWhySchema>;

/** `GET /v1/workers/{address}/why`: why this much work, and why not paid yet. */
export const whyAnswerSchema = ageSchema.extend({
  worker: workerAddressSchema,
  idle: z.boolean().describe("none of its rigs has work at this moment"),
  sentence: z.string().describe("the short answer, for people"),
  sentenceCoded: codedSchema,
  reasons: z.array(reasonSchema).describe("for the worker as a whole, most important first"),
  demand: z.object({
    streams: countSchema.describe("streams that gateways send to the pool now"),
    jobsInFlight: countSchema,
    jobsLastHour: countSchema,
    waiting: countSchema.describe("segments that wait for a place on a rig"),
  }),
  supply: z.object({
    rigsOnline: countSchema,
    capacity: countSchema.describe("streams that all rigs together take"),
    free: countSchema.describe("places that are free now"),
    freeRigs: countSchema.describe("rigs that have one"),
    freeAhead: countSchema.describe(
      "of them: rigs of others that a new stream would rather go to than to the best of this worker",
    ),
  }),
  own: z.object({
    rigsOnline: countSchema,
    capacity: countSchema,
    streams: countSchema.describe("streams that this worker's rigs have"),
    jobsLastHour: countSchema,
  }),
  rigs: z.array(rigWhySchema),
  decisions: z.array(decisionSchema).describe("the last ones about its rigs, newest first"),
  unpaid: z.array(reasonSchema).describe("why not paid yet, most important first; empty when nothing is unpaid"),
});
export type WhyAnswer = z.infer<typeof whyAnswerSchema>;
