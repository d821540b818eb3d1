import { z } from "zod";
import { rigNameSchema, windowNameSchema } from "./common.ts";
import { rigStateSchema, standingSchema } from "./workers.ts";

/** What may be asked for. Every parameter is bounded; an unknown one is refused. */

const limit = (most: number, usual: number): z.ZodType<number> =>
  z.coerce.number().int().min(1).max(most).default(usual).describe(`items on a page, 1 to ${most}`);
const cursor = z
  .string()
  .max(200)
  .regex(/^[\w-]+$/)
  .optional()
  .describe("`next` of the page before");
const search = z
  .string()
  .max(80)
  .regex(/^[\w.-]+$/)
  .optional()
  .describe("part of an address or of a rig's name, in any case");
const descending = z.enum(["asc", "desc"]).default("desc").describe("rows without a value are always last");

export const addressParamSchema = z.object({
  address: z.string().min(1).max(64).describe("payout address, with or without checksum case"),
});
export const rigParamsSchema = addressParamSchema.extend({ name: rigNameSchema });

export const workersQuerySchema = z.strictObject({
  state: rigStateSchema.optional(),
  search,
  sort: z.enum(["earned", "jobs", "success", "speed", "seen", "worker"]).default("earned"),
  order: descending,
  limit: limit(500, 100),
  cursor,
});
export const rigsQuerySchema = z.strictObject({
  state: rigStateSchema.optional(),
  standing: standingSchema.optional(),
  device: z.string().max(120).optional().describe("a model, as `/v1/pool` names them: rigs that have one"),
  search,
  sort: z.enum(["earned", "jobs", "success", "speed", "streams", "seen", "name"]).default("earned"),
  order: descending,
  limit: limit(500, 100),
  cursor,
});
export const jobsQuerySchema = z.strictObject({ rig: rigNameSchema.optional(), limit: limit(200, 50), cursor });
export const earningsQuerySchema = z.strictObject({
  window: windowNameSchema.default("24h"),
  step: z
    .enum(["minute", "hour", "day"])
    .optional()
    .describe("minutes for 1h and 24h, hours for 24h, 7d and 30d, days for 7d and 30d; a fitting one when absent"),
  rig: rigNameSchema.optional(),
});
export const poolEarningsQuerySchema = earningsQuerySchema.omit({ rig: true });
export const pageQuerySchema = z.strictObject({ limit: limit(200, 50), cursor });
export const leaderboardQuerySchema = z.strictObject({
  by: z.enum(["earned", "jobs", "pixels", "success", "speed"]).default("earned"),
  window: windowNameSchema.default("24h"),
  limit: limit(500, 100),
  cursor,
});
export const statementsQuerySchema = z.strictObject({
  from: z.iso.datetime({ offset: true }).optional().describe("from this time on; the beginning when absent"),
  to: z.iso.datetime({ offset: true }).optional().describe("before this time; now when absent"),
});
export const eventsQuerySchema = z.strictObject({
  worker: z.string().min(1).max(64).optional().describe("list this worker's segments too"),
  after: z
    .string()
    .regex(/^\d{1,18}$/)
    .optional()
    .describe("position to go on from, for clients that cannot send Last-Event-ID"),
});
