import { z } from "zod";

/** What every answer is made of. Fields are never renamed; new ones may come, and readers ignore what they do not know. */

/** An amount in wei that is never negative: a decimal string, since JSON numbers round above 2^53. */
export const weiSchema = z
  .string()
  .regex(/^\d{1,78}$/)
  .describe("wei, as a decimal string");

/** An amount in wei that may be negative, as a posting or a difference. */
export const signedWeiSchema = z
  .string()
  .regex(/^-?\d{1,78}$/)
  .describe("wei, as a decimal string; may be negative");

/** Output pixels as the pool measured them: a decimal string. */
export const pixelsSchema = z
  .string()
  .regex(/^\d{1,78}$/)
  .describe("output pixels, as a decimal string");

/** RFC 3339, UTC, milliseconds. */
export const timeSchema = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  .describe("RFC 3339, UTC, milliseconds");

/** Parts per million, 0 to 1 000 000: 25 % is 250000. */
export const ppmSchema = z.number().int().min(0).describe("parts per million: 250000 is 25 %");

export const countSchema = z.number().int().min(0);

/** A payout address in EIP-55 form: who a worker is. */
export const workerAddressSchema = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .describe("payout address in EIP-55 form: the worker");

/** The name of a machine of a worker, unique within it. The full name of a rig is `<address>.<name>`. */
export const rigNameSchema = z
  .string()
  .regex(/^[0-9A-Za-z][\w-]{0,31}$/)
  .describe("the name of a machine, unique within its worker");

export const txHashSchema = z
  .string()
  .regex(/^0x[0-9a-f]{64}$/)
  .describe("transaction hash");

/** How old numbers are that come from memory instead of the books. */
export const ageSchema = z.object({
  asOf: timeSchema.describe("when these numbers were taken"),
  ageMs: countSchema.describe("how old they were when this answer was made, in milliseconds"),
});
export type Age = z.infer<typeof ageSchema>;

/** The last page has `next: null`; otherwise give it back as `cursor` with the same other parameters. */
export const pageSchema = <T extends z.ZodType>(
  item: T,
): z.ZodObject<{ items: z.ZodArray<T>; next: z.ZodNullable<z.ZodString> }> =>
  z.object({
    items: z.array(item),
    next: z.string().nullable().describe("give it back as `cursor` to read on; null on the last page"),
  });

/** The time spans that pages offer. `from` and `to` of a sum say what was really added up. */
export const windowNameSchema = z.enum(["1h", "24h", "7d", "30d"]);
export type WindowName = z.infer<typeof windowNameSchema>;

/**
 * Sums of a time span. `1h` is made of minutes, `24h` and `7d` of hours, `30d` of days, the current one included, so it
 * begins with a whole minute, hour or day.
 */
export const sumsSchema = z.object({
  from: timeSchema,
  to: timeSchema,
  jobs: countSchema.describe("segments that were answered and credited"),
  lostJobs: countSchema.describe("segments that nobody could save; counted for the pool only, 0 for workers and rigs"),
  rescuedJobs: countSchema.describe("of `jobs`: those that had more than one attempt, so that somebody stepped in"),
  failedAttempts: countSchema.describe("attempts that ended without a valid result, by whoever's fault"),
  pixels: pixelsSchema.describe("as measured by the pool"),
  claimedPixels: pixelsSchema.describe("as the workers claimed, for the same jobs"),
  feeWei: weiSchema.describe("what gateways were charged"),
  commissionWei: weiSchema.describe("what of it the pool keeps"),
  earnedWei: weiSchema.describe(
    "the workers' share of it: exactly feeWei - commissionWei; credited so under the scheme unit, the books say what was",
  ),
  sourceMs: countSchema.describe("video transcoded, in milliseconds"),
  workMs: countSchema.describe(
    "time that the rigs took for it, in milliseconds; sourceMs / workMs is the real-time ratio",
  ),
  successPpm: ppmSchema.nullable().describe("jobs / (jobs + failedAttempts); null without either"),
  realTimeRatio: z
    .number()
    .min(0)
    .nullable()
    .describe("seconds of video per second of work; more is faster; null without work"),
});
export type Sums = z.infer<typeof sumsSchema>;

export const windowsSchema = z.object({ "1h": sumsSchema, "24h": sumsSchema, "7d": sumsSchema, "30d": sumsSchema });
export type Windows = z.infer<typeof windowsSchema>;

/** `bounds[i]` is the upper bound of `counts[i]` in milliseconds; the last count is of everything above. */
export const histogramSchema = z.object({
  boundsMs: z.array(z.number().int().positive()),
  counts: z.array(countSchema).describe("one more than boundsMs: the last one is of everything above"),
});
export type Histogram = z.infer<typeof histogramSchema>;

/** A reason: `code` never changes and is for programs, `sentence` is for people, `action` says what to do if anything. */
export const reasonSchema = z.object({
  code: z.string().regex(/^[a-z][a-z-]*$/),
  sentence: z.string(),
  action: z.string().nullable().describe("what the reader can do about it; null when there is nothing to do"),
  facts: z
    .record(z.string(), z.union([z.string(), z.number()]))
    .describe(
      "what the sentence is made of, by name: amounts (…Wei) exact, as decimal strings, spans (…Ms) to the minute, moments (…At), counts, words; empty when it is made of nothing",
    ),
});
export type Reason = z.infer<typeof reasonSchema>;

/**
 * A sentence that stands in a field of its own, for whoever writes it in other words: beside `x` there is `xCoded`, as
 * the reason with this code and these facts.
 */
export const codedSchema = reasonSchema.pick({ code: true, facts: true });
export type Coded = z.infer<typeof codedSchema>;

/** Something that this pool may not have: with `why` it says so instead of inventing numbers. */
export const notConfiguredSchema = z.object({
  configured: z.literal(false),
  why: z.string().describe("a sentence for people"),
  whyCoded: codedSchema,
});
export type NotConfigured = z.infer<typeof notConfiguredSchema>;
