import { z } from "zod";
import { ageSchema, countSchema, ppmSchema, reasonSchema, timeSchema } from "./common.ts";
import { healthSchema } from "./pool.ts";

/** Of which reason a sentence is, and what it is made of: for programs, and for who says it in another language. */
const saidBy = { code: reasonSchema.shape.code, facts: reasonSchema.shape.facts };

/** A part of the pool. */
export const componentSchema = z.object({
  name: z.enum(["gateways", "workers", "event-log", "ledger", "payouts", "upstreams"]),
  health: z.union([healthSchema, z.literal("not-configured")]),
  detail: z.string().describe("what is so, in a sentence"),
  ...saidBy,
});
export type Component = z.infer<typeof componentSchema>;

/** Something that went wrong, or was done on purpose. `endedAt: null` is now. */
export const incidentSchema = z.object({
  id: z.string(),
  kind: z.enum(["restart", "crash", "log-unwritable", "payouts-halted", "payouts-paused", "no-rigs", "upstream-lost"]),
  startedAt: timeSchema,
  endedAt: timeSchema.nullable().describe("null while it goes on"),
  sentence: z.string(),
  ...saidBy,
});
export type Incident = z.infer<typeof incidentSchema>;

/** `GET /v1/status` */
export const statusAnswerSchema = ageSchema.extend({
  health: healthSchema,
  sentence: z.string(),
  ...saidBy,
  components: z.array(componentSchema),
  incidents: z.array(incidentSchema).describe("of the last 90 days, newest first"),
  days: z
    .array(
      z.object({
        day: timeSchema,
        jobs: countSchema,
        lostJobs: countSchema,
        answeredPpm: ppmSchema.nullable().describe("jobs / (jobs + lostJobs); null without work"),
      }),
    )
    .describe("the last 90 days that had work, oldest first"),
});
export type StatusAnswer = z.infer<typeof statusAnswerSchema>;
