import { z } from "zod";
import { countSchema, pixelsSchema, rigNameSchema, timeSchema, weiSchema, workerAddressSchema } from "./common.ts";
import { poolLiveSchema } from "./pool.ts";

/**
 * `GET /v1/events` and `GET /v1/events?worker=0x…`: Server-Sent Events. The id of every message is a position in the
 * event log; a browser that reconnects sends the last one as `Last-Event-ID` and misses nothing. Event names and data:
 *
 * - `live` (every second while somebody listens): {@link liveMessageSchema}. It has no id.
 * - `facts`: {@link factsMessageSchema}, whenever something happened.
 * - `reset`: `{}`: too much was missed to tell it all. Read the pages again; the stream goes on from now.
 */
export const liveMessageSchema = z.object({ live: poolLiveSchema });
export type LiveMessage = z.infer<typeof liveMessageSchema>;

/** One fact, with what of it is public. Readers ignore types that they do not know. */
export const factSchema = z.object({
  position: z.string().regex(/^\d+$/),
  at: timeSchema,
  type: z.string().describe("as in docs/events.md"),
  worker: workerAddressSchema.nullable(),
  rig: rigNameSchema.nullable(),
  data: z.record(z.string(), z.unknown()).describe("the public part; amounts and pixels are decimal strings"),
});
export type Fact = z.infer<typeof factSchema>;

/**
 * What happened since the message before. Segments are counted; with `?worker=` those of the worker are also listed as
 * facts of type `job.credited`.
 */
export const factsMessageSchema = z.object({
  to: z.string().regex(/^\d+$/).describe("position of the last event that is in it; also the message's id"),
  jobs: countSchema,
  lostJobs: countSchema,
  pixels: pixelsSchema,
  feeWei: weiSchema,
  earnedWei: weiSchema,
  facts: z.array(factSchema).describe("everything but counted segments, oldest first"),
  left: countSchema.describe("facts that were left out because there were too many"),
});
export type FactsMessage = z.infer<typeof factsMessageSchema>;
