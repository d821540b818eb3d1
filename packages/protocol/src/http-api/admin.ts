import { z } from "zod";
import { ageSchema, countSchema, pageSchema, reasonSchema, timeSchema } from "./common.ts";
import { healthSchema } from "./pool.ts";

/** Something that the operator should look at. `halt`: something stopped itself and waits for a person. */
export const exceptionSchema = reasonSchema.extend({
  severity: z.enum(["halt", "warning", "note"]),
  since: timeSchema.nullable(),
  subject: z.string().nullable().describe("whom or what it is about: a worker, a rig, a payout run"),
});
export type AdminException = z.infer<typeof exceptionSchema>;

/** `GET /admin/v1/overview` on the admin port: what is wrong first, then how it goes. */
export const adminOverviewSchema = ageSchema.extend({
  health: healthSchema,
  exceptions: z.array(exceptionSchema).describe("worst first; empty when all is well"),
  pool: z.object({
    version: z.string(),
    startedAt: timeSchema,
    serviceUri: z.string(),
    publicUrl: z.string().nullable().describe("HOST:PORT where the public pages listen; null when they are off"),
    dataDir: z.string(),
    database: z.string(),
    sessions: countSchema,
    jobsInFlight: countSchema,
    bytesInFlight: countSchema,
    diskFreeBytes: z.number().nullable(),
  }),
});
export type AdminOverview = z.infer<typeof adminOverviewSchema>;

/** One write through the admin port. It is recorded before it is done; later events say what came of it. */
export const auditLineSchema = z.object({
  position: z.string().regex(/^\d+$/),
  at: timeSchema,
  action: z.string().describe("method and path, as `POST /admin/v1/payouts/plan`"),
  target: z.string().nullable(),
  body: z.record(z.string(), z.unknown()).describe("what was asked for, without secrets"),
});
export type AuditLine = z.infer<typeof auditLineSchema>;

/** `GET /admin/v1/audit?limit=&cursor=`, newest first. */
export const auditAnswerSchema = pageSchema(auditLineSchema);
export type AuditAnswer = z.infer<typeof auditAnswerSchema>;
