import { z } from "zod";
import { countSchema, ppmSchema, timeSchema, weiSchema } from "./common.ts";

/** What is promised to workers. A version never changes; a change is a new version, announced before it takes effect. */
export const termsSchema = z.object({
  version: z.number().int().min(1),
  announcedAt: timeSchema,
  effectiveAt: timeSchema,
  commissionPpm: ppmSchema.describe("what the pool keeps of a fee"),
  scheme: z
    .string()
    .describe("how work is turned into money: `unit`, `segment`, `proportional`, `blend`, `uptime`, `hook`"),
  schemeOptions: z.record(z.string(), z.unknown()).describe("the scheme's parameters; amounts are decimal strings"),
  holdMs: countSchema.describe("a credit is held for checks this long, then owed"),
  minimumPayoutWei: weiSchema,
  schedule: z.string().nullable().describe("when payouts happen, in words; null when by hand"),
  gasBorneBy: z.enum(["pool", "worker"]),
  priceSource: z
    .enum(["upstream", "configured"])
    .describe(
      "where the price of a job comes from: `upstream`, from the orchestrator that the pool works for, where one says it; `configured`, always from the pool's settings",
    ),
  overrides: countSchema.describe("how many workers or groups have terms of their own"),
  sentence: z.string().describe("the terms in one sentence"),
  formula: z.array(z.string()).describe("how an amount is computed, line by line"),
});
export type Terms = z.infer<typeof termsSchema>;

/** `GET /v1/terms` */
export const termsAnswerSchema = z.object({
  current: termsSchema,
  upcoming: z.array(termsSchema).describe("announced, not yet in force; soonest first"),
  history: z.array(termsSchema).describe("no longer in force, newest first"),
});
export type TermsAnswer = z.infer<typeof termsAnswerSchema>;
