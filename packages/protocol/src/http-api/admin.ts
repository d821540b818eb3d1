import { z } from "zod";
import { ageSchema, countSchema, pageSchema, pixelsSchema, reasonSchema, timeSchema, weiSchema } from "./common.ts";
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

/** `GET /admin/v1/gateways`: who sends segments, heard of last first. Only here: nobody else may know. */
export const adminGatewaysSchema = z.object({
  since: timeSchema.describe("the counts begin with this process of the pool"),
  items: z.array(
    z.object({
      sender: z
        .string()
        .describe("a gateway's Ethereum address, else the host it comes from; `upstream:NAME` for an orchestrator"),
      streams: countSchema.describe("that had a segment in the last 70 s"),
      answered: countSchema,
      lost: countSchema,
      abandoned: countSchema,
      sourceMs: countSchema.describe("of video, answered"),
      pixels: pixelsSchema,
      feeWei: weiSchema.describe("what the answered segments come to"),
      lastSeenAt: timeSchema,
    }),
  ),
});
export type AdminGateways = z.infer<typeof adminGatewaysSchema>;

/** `GET /admin/v1/disk` */
export const adminDiskSchema = z.object({
  dataDir: z.string(),
  freeBytes: z.number().nullable(),
  sizeBytes: z.number().nullable(),
  partitions: z.array(z.object({ month: z.string(), bytes: z.number() })).describe("of the event log, newest first"),
});
export type AdminDisk = z.infer<typeof adminDiskSchema>;

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
