import { z } from "zod";
import {
  ageSchema,
  codedSchema,
  countSchema,
  histogramSchema,
  notConfiguredSchema,
  pageSchema,
  pixelsSchema,
  ppmSchema,
  reasonSchema,
  rigNameSchema,
  sumsSchema,
  timeSchema,
  weiSchema,
  windowNameSchema,
  windowsSchema,
  workerAddressSchema,
} from "./common.ts";
import { rigDeviceSchema, rigReportSchema } from "../rig-report.ts";
import { nextPayoutSchema } from "./pool.ts";

/** `online`: takes work. `draining`: connected, gets no new work. `offline`: not connected. */
export const rigStateSchema = z.enum(["online", "draining", "offline"]);
export type RigState = z.infer<typeof rigStateSchema>;

/** `new` and `trusted` work, `probation` gets a small share, `barred` gets nothing but a rare retrial. */
export const standingSchema = z.enum(["new", "trusted", "probation", "barred"]);

/** One machine, as lists show it. */
export const rigSummarySchema = z.object({
  worker: workerAddressSchema,
  rig: rigNameSchema,
  name: z.string().describe("`<address>.<rig>`"),
  label: z.string().nullable().describe("what its worker calls it, in plain text; null when it has no such name"),
  state: rigStateSchema,
  stateReason: z.string().describe("why it is in this state, for people"),
  stateReasonCoded: codedSchema,
  standing: standingSchema.nullable().describe("null for a rig of long ago that is not remembered"),
  standingReason: z.string().nullable(),
  standingReasonCoded: codedSchema.nullable(),
  device: z
    .string()
    .nullable()
    .describe("what it works with, by its own account, as `2 × NVIDIA L4`; null when its software does not say"),
  software: z.string().nullable().describe("version of its software, by its own account"),
  capacity: countSchema.describe("streams that it takes at once; 0 when offline"),
  streams: countSchema.describe("streams that have a place on it"),
  jobsInFlight: countSchema,
  successPpm: ppmSchema.nullable().describe("recent share of attempts that went well; newer ones weigh more"),
  realTimeRatio: z
    .number()
    .nullable()
    .describe("measured: seconds of video per second of work in the last 24 h; more is faster; null without work"),
  firstSeenAt: timeSchema.nullable(),
  lastSeenAt: timeSchema.nullable(),
  lastJobAt: timeSchema.nullable(),
  jobs24h: countSchema,
  earned24hWei: weiSchema.describe("the share of fees of 24 h, as `earnedWei` of the windows"),
  spark: z.array(countSchema).describe("jobs of each of the last 24 hours, oldest first"),
});
export type RigSummary = z.infer<typeof rigSummarySchema>;

/** One worker, as lists show it. */
export const workerSummarySchema = z.object({
  worker: workerAddressSchema,
  state: rigStateSchema.describe("the best of its rigs"),
  rigsOnline: countSchema,
  rigs: countSchema,
  streams: countSchema,
  jobsInFlight: countSchema,
  firstSeenAt: timeSchema.nullable(),
  lastSeenAt: timeSchema.nullable(),
  lastJobAt: timeSchema.nullable(),
  jobs24h: countSchema,
  earned24hWei: weiSchema.describe("the share of fees of 24 h, as `earnedWei` of the windows"),
  successPpm: ppmSchema.nullable().describe("jobs / (jobs + failed attempts) of 24 h; null without work"),
  realTimeRatio: z.number().nullable().describe("of 24 h; null without work"),
  spark: z.array(countSchema).describe("jobs of each of the last 24 hours, oldest first"),
});
export type WorkerSummary = z.infer<typeof workerSummarySchema>;

/** `GET /v1/workers?state=&sort=&search=&limit=&cursor=` */
export const workersAnswerSchema = pageSchema(workerSummarySchema).extend({
  ...ageSchema.shape,
  total: countSchema.describe("how many fit the filters, all pages together"),
});
export type WorkersAnswer = z.infer<typeof workersAnswerSchema>;

/** `GET /v1/rigs?state=&standing=&sort=&search=&limit=&cursor=`: every rig of the pool. */
export const rigsAnswerSchema = pageSchema(rigSummarySchema).extend({
  ...ageSchema.shape,
  total: countSchema.describe("how many fit the filters, all pages together"),
});
export type RigsAnswer = z.infer<typeof rigsAnswerSchema>;

/** Where a worker's money is. earned = held + owed + paying + paid. */
export const balanceSchema = ageSchema.extend({
  earnedWei: weiSchema.describe("in all: heldWei + owedWei + payingWei + paidWei"),
  heldWei: weiSchema.describe("waiting out the hold time, for checks"),
  owedWei: weiSchema.describe("paid with the next payout once it reaches the minimum"),
  payingWei: weiSchema.describe("in a payout that is under way"),
  paidWei: weiSchema,
  unpaidWei: weiSchema.describe("heldWei + owedWei + payingWei"),
  oldestHeldReleaseAt: timeSchema.nullable().describe("when the oldest held credit becomes owed"),
});
export type Balance = z.infer<typeof balanceSchema>;

/** What the next payout means for one worker. */
export const workerNextPayoutSchema = nextPayoutSchema.omit({ workers: true, totalWei: true }).extend({
  minimumWei: weiSchema.describe("for this worker: the pool's, or its own higher one"),
  progressPpm: ppmSchema.describe("owed / minimum; over 1 000 000 when it is over the minimum"),
  estimateWei: weiSchema.describe(
    "what the next payout would be as far as is known now: owed, and held that is owed by then",
  ),
});
export type WorkerNextPayout = z.infer<typeof workerNextPayoutSchema>;

/** `GET /v1/workers/{address}`. An address that never worked is answered too: `known` is false and all is zero. */
export const workerAnswerSchema = ageSchema.extend({
  worker: workerAddressSchema,
  known: z.boolean().describe("it has worked here, or has tried to, or the operator knows it"),
  nextAction: z.string().nullable().describe("what to do next when there is something to do, for people"),
  nextActionCoded: codedSchema.nullable(),
  state: rigStateSchema,
  banned: z.string().nullable().describe("why it may not work here; null when it may"),
  locked: z.boolean().describe("only issued credentials may use the address"),
  payTo: workerAddressSchema.describe("where its money goes"),
  firstSeenAt: timeSchema.nullable(),
  lastSeenAt: timeSchema.nullable(),
  lastJobAt: timeSchema.nullable(),
  totals: z
    .object({ jobs: z.string().regex(/^\d+$/), pixels: pixelsSchema, earnedWei: weiSchema })
    .describe("since it joined"),
  balance: balanceSchema.nullable().describe("null while the ledger is not available"),
  nextPayout: z.union([notConfiguredSchema, workerNextPayoutSchema]),
  unpaidReasons: z.array(reasonSchema).describe("why not paid yet, most important first; empty when nothing is unpaid"),
  windows: windowsSchema,
  rigs: z.array(rigSummarySchema).describe("working ones first, those of long ago last"),
});
export type WorkerAnswer = z.infer<typeof workerAnswerSchema>;

/** `GET /v1/workers/{address}/rigs` */
export const workerRigsAnswerSchema = ageSchema.extend({ items: z.array(rigSummarySchema) });
export type WorkerRigsAnswer = z.infer<typeof workerRigsAnswerSchema>;

/** One routing decision as it looked from one rig. */
export const decisionSchema = z.object({
  at: timeSchema,
  ageMs: countSchema,
  rig: rigNameSchema,
  chosen: z.boolean(),
  reason: z.string().describe("for people; names of other rigs may occur in it"),
  code: reasonSchema.shape.code,
  facts: reasonSchema.shape.facts,
  times: z.number().int().min(1).describe("decisions of the same kind that this line stands for"),
});
export type Decision = z.infer<typeof decisionSchema>;

/** `GET /v1/workers/{address}/rigs/{name}` */
export const rigAnswerSchema = ageSchema.extend({
  ...rigSummarySchema.shape,
  standingSince: timeSchema.nullable(),
  connections: z.array(
    z.object({
      since: timeSchema,
      software: z.string().nullable(),
      capacity: countSchema,
      streams: countSchema,
      jobsInFlight: countSchema,
      draining: z.boolean(),
      avoided: z.boolean().describe("left alone for the moment: it said that it was busy, or let a task run late"),
      lastHeardAt: timeSchema.nullable().describe("last sign of work; null before the first"),
    }),
  ),
  windows: windowsSchema,
  latency: z
    .object({ "24h": histogramSchema, "7d": histogramSchema })
    .describe("time from task to valid result, by how often"),
  speeds: z
    .array(
      z.object({
        kind: z.string().describe("kind of work: codec and size of the source, number and pixels of the renditions"),
        realTimeRatio: z.number().min(0),
        results: countSchema.describe("results that it was measured on"),
      }),
    )
    .describe("speed by kind of work; more is faster; the most recent last"),
  claims: z.object({
    measuredPixels24h: pixelsSchema,
    claimedPixels24h: pixelsSchema,
    differed: countSchema.describe("results whose claim differed from what was measured"),
    lied: countSchema.describe("of them: grossly; they cost trust"),
  }),
  accepted: countSchema.describe("results accepted since the pool remembers it"),
  failed: countSchema.describe("attempts that failed by its fault since the pool remembers it"),
  decisions: z.array(decisionSchema).describe("of the last hour, newest first"),
  capabilities: z
    .array(z.string())
    .describe("what its registration says that it can do, by the network's names; empty when offline"),
  machine: z
    .object({
      reportedAt: timeSchema.describe("when it last said so"),
      software: rigReportSchema.shape.software,
      devices: z.array(rigDeviceSchema.omit({ id: true }).extend({ count: countSchema.describe("of this model") })),
    })
    .nullable()
    .describe("what the rig is, by its own account; kept when it leaves; null when its software does not say"),
  preflight: z
    .object({
      at: timeSchema,
      passed: z.boolean(),
      checks: z.array(
        z.object({
          name: z.string(),
          nameCoded: codedSchema,
          passed: z.boolean(),
          detail: z.string(),
          detailCoded: codedSchema,
          action: z.string().nullable().describe("what its operator can do; null when there is nothing to do"),
        }),
      ),
    })
    .nullable()
    .describe("what the rig found when it tried itself out; null when its software does not say"),
});
export type RigAnswer = z.infer<typeof rigAnswerSchema>;

/** One credited segment. */
export const jobSchema = z.object({
  job: z.string(),
  at: timeSchema,
  rig: rigNameSchema,
  seq: z.string().nullable().describe("number of the segment in its stream"),
  sourceMs: countSchema.describe("duration of the segment"),
  workMs: countSchema.describe("from task to valid result"),
  renditions: z.array(
    z.object({
      width: countSchema,
      height: countSchema,
      frames: countSchema,
      pixels: pixelsSchema,
      claimedPixels: pixelsSchema.nullable(),
    }),
  ),
  pixels: pixelsSchema,
  price: z.object({ pricePerUnitWei: weiSchema, pixelsPerUnit: z.string().regex(/^\d+$/) }),
  feeWei: weiSchema,
  commissionWei: weiSchema,
  earnedWei: weiSchema,
  attempts: countSchema.describe("attempts that the segment had, this one included"),
  hedged: z.boolean().describe("this attempt stood in for one that was late"),
});
export type Job = z.infer<typeof jobSchema>;

/** `GET /v1/workers/{address}/jobs?rig=&limit=&cursor=`: newest first, of the last 48 hours; statements have them all. */
export const jobsAnswerSchema = pageSchema(jobSchema).extend({
  since: timeSchema.describe("jobs before this time are in the statements only"),
});
export type JobsAnswer = z.infer<typeof jobsAnswerSchema>;

/** `GET /v1/workers/{address}/earnings?window=&step=`, and `GET /v1/earnings` of the whole pool. */
export const earningsAnswerSchema = z.object({
  window: windowNameSchema,
  step: z.enum(["minute", "hour", "day"]),
  from: timeSchema,
  to: timeSchema,
  sums: sumsSchema,
  points: z
    .array(
      z.object({
        at: timeSchema.describe("begin of the minute, hour or day (UTC)"),
        jobs: countSchema,
        lostJobs: countSchema,
        failedAttempts: countSchema,
        pixels: pixelsSchema,
        feeWei: weiSchema,
        earnedWei: weiSchema,
        realTimeRatio: z.number().nullable(),
      }),
    )
    .describe("one a step without gaps, oldest first; the last one is not over yet"),
});
export type EarningsAnswer = z.infer<typeof earningsAnswerSchema>;

/** `GET /v1/leaderboard?by=&window=&limit=&cursor=`; `better` says which way is good. */
export const leaderboardAnswerSchema = pageSchema(
  z.object({
    rank: z.number().int().min(1),
    worker: workerAddressSchema,
    rigsOnline: countSchema,
    sums: sumsSchema,
  }),
).extend({
  ...ageSchema.shape,
  window: windowNameSchema,
  by: z.enum(["earned", "jobs", "pixels", "success", "speed"]),
  better: z.literal("more").describe("rank 1 has the largest value"),
  total: countSchema,
});
export type LeaderboardAnswer = z.infer<typeof leaderboardAnswerSchema>;
