import { z } from "zod";
import {
  codedSchema,
  countSchema,
  notConfiguredSchema,
  pageSchema,
  timeSchema,
  txHashSchema,
  weiSchema,
  workerAddressSchema,
} from "./common.ts";

/** What is paid in. Amounts of a token are in its smallest unit. */
export const assetSchema = z.object({
  symbol: z.string(),
  token: z.string().nullable().describe("the contract of the ERC-20; null for ETH"),
  decimals: z
    .number()
    .int()
    .min(0)
    .max(77)
    .nullable()
    .describe("18 for ETH; null when the pool does not know the token's"),
});
export type Asset = z.infer<typeof assetSchema>;

/**
 * `planned` → `approved` → `sending` → `final`; or `abandoned`, with everything owed again. `sending` lasts until every
 * line is final or returned.
 */
export const payoutRunStateSchema = z.enum(["planned", "approved", "sending", "final", "abandoned"]);

/**
 * `planned` (amount set aside) → `sent` (transaction out) → `confirmed` (in a block) → `final` (cannot be undone any
 * more). `returned`: it could not be paid and is owed again, `reason` says why.
 */
export const payoutLineStateSchema = z.enum(["planned", "sent", "confirmed", "final", "returned"]);

/** One payout run: many workers paid together. */
export const payoutRunSchema = z.object({
  id: z.string(),
  state: payoutRunStateSchema,
  waitsFor: z.string().nullable().describe("why it does not go on by itself, as an approval; null when it does"),
  waitsForCoded: codedSchema.nullable(),
  createdAt: timeSchema,
  finishedAt: timeSchema.nullable(),
  asset: assetSchema,
  assetAmount: z
    .string()
    .regex(/^\d+$/)
    .nullable()
    .describe("sum of the lines, in the smallest unit of the asset; null when they are paid in several"),
  workers: countSchema,
  totalWei: weiSchema.describe("sum of the lines, worth in wei"),
  paidWei: weiSchema.describe("of it: final"),
  gasWei: weiSchema.nullable().describe("what the transactions cost; null before the first is in a block"),
  transactions: z.array(txHashSchema),
});
export type PayoutRun = z.infer<typeof payoutRunSchema>;

/** One worker's part of a run. */
export const payoutLineSchema = z.object({
  id: z.string(),
  run: z.string(),
  worker: workerAddressSchema,
  payTo: workerAddressSchema.describe("where the money goes; the worker's own address unless it chose another"),
  amountWei: weiSchema.describe("worth, as it left the worker's balance"),
  asset: assetSchema,
  assetAmount: z.string().regex(/^\d+$/).describe("what is transferred, in the smallest unit of the asset"),
  state: payoutLineStateSchema,
  plannedAt: timeSchema,
  sentAt: timeSchema.nullable(),
  finalAt: timeSchema.nullable(),
  transaction: txHashSchema.nullable(),
  block: z.string().regex(/^\d+$/).nullable(),
  gasWei: weiSchema.nullable().describe("this line's share of the gas; null while it is not known"),
  fiat: z
    .object({
      currency: z.string().describe("ISO 4217, as USD"),
      amount: z.string().regex(/^\d+(\.\d+)?$/),
      source: z.string().describe("where the price came from"),
    })
    .nullable()
    .describe("worth at the time of the payout; for information, no amount is computed from it"),
  reason: z.string().nullable().describe("why it waits or was returned"),
  reasonCoded: codedSchema.nullable(),
});
export type PayoutLine = z.infer<typeof payoutLineSchema>;

/** `GET /v1/payouts`: runs, newest first. Without payouts it says so. */
export const payoutsAnswerSchema = z.union([
  notConfiguredSchema,
  pageSchema(payoutRunSchema).extend({
    configured: z.literal(true),
    explorer: z.string().nullable().describe("URL of a block explorer; append /tx/HASH or /address/ADDRESS"),
    payer: workerAddressSchema.nullable().describe("the account that pays"),
  }),
]);
export type PayoutsAnswer = z.infer<typeof payoutsAnswerSchema>;

/** `GET /v1/payouts/{id}`: one run with its lines. */
export const payoutRunAnswerSchema = z.object({
  run: payoutRunSchema,
  explorer: z.string().nullable(),
  lines: pageSchema(payoutLineSchema),
});
export type PayoutRunAnswer = z.infer<typeof payoutRunAnswerSchema>;

/** `GET /v1/workers/{address}/payouts`: the payouts of one worker, newest first. */
export const workerPayoutsAnswerSchema = z.union([
  notConfiguredSchema,
  pageSchema(payoutLineSchema).extend({
    configured: z.literal(true),
    explorer: z.string().nullable(),
    count: countSchema.describe("final payouts in all"),
    paidWei: weiSchema.describe("sum of all final payouts"),
  }),
]);
export type WorkerPayoutsAnswer = z.infer<typeof workerPayoutsAnswerSchema>;

const EXPLORERS: Readonly<Record<number, string>> = {
  1: "https://etherscan.io",
  42_161: "https://arbiscan.io",
  421_614: "https://sepolia.arbiscan.io",
  11_155_111: "https://sepolia.etherscan.io",
};

/** Where a chain is looked into: append `/tx/HASH` or `/address/ADDRESS`. Undefined: nobody offers that, as of a local one. */
export function explorerOf(chainId: number): string | undefined {
  return EXPLORERS[chainId];
}
