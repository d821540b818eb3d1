import { z } from "zod";
import {
  ageSchema,
  codedSchema,
  countSchema,
  notConfiguredSchema,
  ppmSchema,
  reasonSchema,
  signedWeiSchema,
  timeSchema,
  weiSchema,
  windowsSchema,
} from "./common.ts";
import { deviceKindSchema } from "../rig-report.ts";
import { payoutRunSchema } from "./payouts.ts";
import { termsSchema } from "./terms.ts";

/** `ok`: everything works. `degraded`: work goes on, something else does not. `down`: no work is taken. */
export const healthSchema = z.enum(["ok", "degraded", "down"]);
export type Health = z.infer<typeof healthSchema>;

/** Who runs the pool, as the operator says it. All of it is plain text from the operator. */
export const poolIdentitySchema = z.object({
  name: z.string(),
  logoUrl: z.string().nullable().describe("an https: URL, or a path on this server"),
  contacts: z
    .array(
      z.object({
        label: z.string().describe("what it is, as `Discord` or `E-mail`"),
        url: z.string().describe("https: or mailto:"),
      }),
    )
    .describe("how to reach the operator; may be empty"),
  hardware: z.string().nullable().describe("what a rig must have, in the operator's words"),
  notice: z.string().nullable().describe("what the operator wants everybody to read now"),
  sourceUrl: z
    .string()
    .nullable()
    .describe("where Open Pool is cloned from, as the operator says: https:; null when nothing is said"),
});
export type PoolIdentity = z.infer<typeof poolIdentitySchema>;

/** What is going on now, from memory. */
export const poolLiveSchema = ageSchema.extend({
  workersOnline: countSchema,
  rigsOnline: countSchema,
  rigsKnown: countSchema.describe("online ones and those that are remembered"),
  devices: z
    .array(
      z.object({
        device: z.string().describe("the model, by the account of those who have it"),
        kind: deviceKindSchema,
        rigs: countSchema.describe("that have at least one"),
        count: countSchema.describe("of the devices themselves"),
      }),
    )
    .describe("of online rigs, those of most rigs first; rigs that say nothing are not in it"),
  capacity: countSchema.describe("sessions (streams) that the connected rigs take at once"),
  sessionsHeld: countSchema.describe("places on rigs that are taken"),
  streams: countSchema.describe("streams that gateways send now"),
  jobsInFlight: countSchema.describe("segments being worked on at this moment"),
  latencyMs: z
    .object({ p50: z.number().min(0), p99: z.number().min(0) })
    .nullable()
    .describe("of the last answered segments, from request to answer; null before the first"),
});
export type PoolLive = z.infer<typeof poolLiveSchema>;

/** The payout that comes next. */
export const nextPayoutSchema = z.object({
  configured: z.literal(true),
  at: timeSchema.nullable().describe("null when payouts happen by hand, or are paused"),
  paused: z.string().nullable().describe("why payouts are paused or halted; null when they are not"),
  pausedCoded: codedSchema.nullable(),
  minimumWei: weiSchema.describe("a worker is paid once it is owed this much"),
  workers: countSchema.describe("who would be paid if it were now"),
  totalWei: weiSchema.describe("what would be paid if it were now"),
});
export type NextPayout = z.infer<typeof nextPayoutSchema>;

/** `GET /v1/pool` */
export const poolAnswerSchema = z.object({
  identity: poolIdentitySchema,
  version: z.string().describe("of the pool's program"),
  startedAt: timeSchema,
  network: z.string().describe("`offchain`, or the chain that pays"),
  explorer: z
    .string()
    .nullable()
    .describe(
      "URL of a block explorer of the chain that the pool pays on; append /tx/HASH or /address/ADDRESS; null when it has none",
    ),
  serviceUri: z.string().describe("where gateways and workers connect: https://HOST:PORT"),
  join: z.object({
    open: z.boolean().describe("a payout address is enough to join"),
    registered: z.boolean().describe("credentials issued by the operator work"),
    passwordNeeded: z.boolean().describe("open joining needs the pool's password too"),
  }),
  price: z.object({ pricePerUnitWei: weiSchema, pixelsPerUnit: z.string().regex(/^\d+$/) }),
  terms: termsSchema.describe("the terms in force"),
  live: poolLiveSchema,
  windows: windowsSchema,
  nextPayout: z.union([notConfiguredSchema, nextPayoutSchema]),
  lastPayouts: z.array(payoutRunSchema).describe("newest first, a few; empty when payouts are not configured"),
  money: z.object({
    luckPpm: ppmSchema.nullable().describe("received / expected income of 30 days; null when income is not known"),
    reserveWei: signedWeiSchema.nullable().describe("what covers debts to workers; null when it is not known"),
  }),
  status: z.object({ health: healthSchema, reasons: z.array(reasonSchema) }),
});
export type PoolAnswer = z.infer<typeof poolAnswerSchema>;
