import { z } from "zod";
import {
  ageSchema,
  countSchema,
  notConfiguredSchema,
  ppmSchema,
  signedWeiSchema,
  timeSchema,
  weiSchema,
} from "./common.ts";

/** What was really received, when the pool knows how to look. */
export const incomeSchema = z.object({
  configured: z.literal(true),
  receivedWei: weiSchema.describe("income in all: redeemed tickets and what was entered by hand"),
  received30dWei: weiSchema.describe("tickets redeemed in the last 30 days"),
  expected30dWei: weiSchema.describe("fees charged in the same 30 days"),
  luckPpm: ppmSchema.nullable().describe("received30dWei / expected30dWei; null when nothing was expected"),
  reserveWei: signedWeiSchema
    .nullable()
    .describe("what is there beyond all debts to workers; negative: it is not covered; null when nobody knows"),
  reserveDays: z.number().nullable().describe("days of earnings that the reserve covers; null when it cannot be said"),
  maxSharePpm: ppmSchema
    .nullable()
    .describe("the largest share of a fee that can be promised to workers at today's cuts; null when not known"),
});
export type Income = z.infer<typeof incomeSchema>;

/** `GET /v1/solvency`: where every wei credited to workers is now. credited = held + owed + paying + paid. */
export const solvencyAnswerSchema = z.object({
  books: ageSchema.extend({
    creditedWei: weiSchema.describe("earned by workers in all: heldWei + owedWei + payingWei + paidWei"),
    heldWei: weiSchema.describe("waiting out the hold time"),
    owedWei: weiSchema,
    payingWei: weiSchema.describe("in payouts that are under way"),
    paidWei: weiSchema,
    commissionWei: weiSchema.describe("the pool's own part of all fees"),
    feesWei: weiSchema.describe("charged to gateways in all"),
    entries: countSchema.nullable().describe("entries in the ledger; null when not counted"),
  }),
  check: z.object({
    balanced: z.boolean().nullable().describe("the last check found no difference; null before the first check"),
    checkedAt: timeSchema.nullable(),
    differences: z.array(z.string()).describe("what exactly differs, for people"),
  }),
  income: z.union([notConfiguredSchema, incomeSchema]),
  days: z
    .array(z.object({ day: timeSchema, earnedWei: weiSchema, commissionWei: weiSchema, jobs: countSchema }))
    .describe("the last 30 days, oldest first"),
});
export type SolvencyAnswer = z.infer<typeof solvencyAnswerSchema>;
