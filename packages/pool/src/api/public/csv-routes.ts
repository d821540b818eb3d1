import type { Server } from "node:http";
import {
  addressParamSchema,
  earningsQuerySchema,
  type EarningsAnswer,
  type Job,
  jobsQuerySchema,
  type NotConfigured,
  type PayoutLine,
  type PayoutRun,
  poolEarningsQuerySchema,
  problemSchema,
  type RigSummary,
  rigsQuerySchema,
  statementsQuerySchema,
  type WorkerSummary,
  workersQuerySchema,
} from "@openpool/protocol";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { rigRows, workerRows } from "./answer-lists.ts";
import type { PoolAnswers } from "./answer-pool.ts";
import { earningsAnswer, jobsAnswer } from "./answer-workers.ts";
import { type Context, readAddress } from "./context.ts";
import { type Columns, type CsvFiles, pages } from "./csv-file.ts";
import { ApiError } from "./problem.ts";
import { STATEMENT } from "./statements.ts";

const RIGS: Columns<RigSummary> = [
  ["worker", (rig) => rig.worker],
  ["rig", (rig) => rig.rig],
  ["label", (rig) => rig.label],
  ["state", (rig) => rig.state],
  ["standing", (rig) => rig.standing],
  ["device", (rig) => rig.device],
  ["software", (rig) => rig.software],
  ["capacity", (rig) => rig.capacity],
  ["streams", (rig) => rig.streams],
  ["jobs_in_flight", (rig) => rig.jobsInFlight],
  ["jobs_24h", (rig) => rig.jobs24h],
  ["earned_24h_wei", (rig) => rig.earned24hWei],
  ["success_ppm", (rig) => rig.successPpm],
  ["real_time_ratio", (rig) => rig.realTimeRatio],
  ["first_seen", (rig) => rig.firstSeenAt],
  ["last_seen", (rig) => rig.lastSeenAt],
  ["last_job", (rig) => rig.lastJobAt],
];

const WORKERS: Columns<WorkerSummary> = [
  ["worker", (one) => one.worker],
  ["state", (one) => one.state],
  ["rigs_online", (one) => one.rigsOnline],
  ["rigs", (one) => one.rigs],
  ["streams", (one) => one.streams],
  ["jobs_in_flight", (one) => one.jobsInFlight],
  ["jobs_24h", (one) => one.jobs24h],
  ["earned_24h_wei", (one) => one.earned24hWei],
  ["success_ppm", (one) => one.successPpm],
  ["real_time_ratio", (one) => one.realTimeRatio],
  ["first_seen", (one) => one.firstSeenAt],
  ["last_seen", (one) => one.lastSeenAt],
  ["last_job", (one) => one.lastJobAt],
];

const JOBS: Columns<Job> = [
  ["job", (job) => job.job],
  ["time", (job) => job.at],
  ["rig", (job) => job.rig],
  ["segment", (job) => job.seq],
  ["source_ms", (job) => job.sourceMs],
  ["work_ms", (job) => job.workMs],
  ["renditions", (job) => job.renditions.map(({ width, height }) => `${width}x${height}`).join(" ")],
  ["pixels", (job) => job.pixels],
  ["price_per_unit_wei", (job) => job.price.pricePerUnitWei],
  ["pixels_per_unit", (job) => job.price.pixelsPerUnit],
  ["fee_wei", (job) => job.feeWei],
  ["commission_wei", (job) => job.commissionWei],
  ["earned_wei", (job) => job.earnedWei],
  ["attempts", (job) => job.attempts],
];

const EARNINGS: Columns<EarningsAnswer["points"][number]> = [
  ["time", (point) => point.at],
  ["jobs", (point) => point.jobs],
  ["lost_jobs", (point) => point.lostJobs],
  ["failed_attempts", (point) => point.failedAttempts],
  ["pixels", (point) => point.pixels],
  ["fee_wei", (point) => point.feeWei],
  ["earned_wei", (point) => point.earnedWei],
  ["real_time_ratio", (point) => point.realTimeRatio],
];

const RUNS: Columns<PayoutRun> = [
  ["run", (run) => run.id],
  ["state", (run) => run.state],
  ["created", (run) => run.createdAt],
  ["finished", (run) => run.finishedAt],
  ["asset", (run) => run.asset.symbol],
  ["workers", (run) => run.workers],
  ["total_wei", (run) => run.totalWei],
  ["paid_wei", (run) => run.paidWei],
  ["gas_wei", (run) => run.gasWei],
  ["transactions", (run) => run.transactions.join(" ")],
];

const LINES: Columns<PayoutLine> = [
  ["line", (line) => line.id],
  ["run", (line) => line.run],
  ["worker", (line) => line.worker],
  ["pay_to", (line) => line.payTo],
  ["amount_wei", (line) => line.amountWei],
  ["asset", (line) => line.asset.token ?? line.asset.symbol],
  ["asset_amount", (line) => line.assetAmount],
  ["state", (line) => line.state],
  ["planned", (line) => line.plannedAt],
  ["sent", (line) => line.sentAt],
  ["final", (line) => line.finalAt],
  ["transaction", (line) => line.transaction],
  ["block", (line) => line.block],
  ["gas_wei", (line) => line.gasWei],
  ["fiat_currency", (line) => line.fiat?.currency],
  ["fiat_amount", (line) => line.fiat?.amount],
];

const configured = <Answer extends object>(answer: Answer | NotConfigured): Answer => {
  if ("whyCoded" in answer) throw new ApiError({ code: "api/not-configured" }, answer.why);
  return answer;
};

/** Payout runs that are read at once: each is added up out of its lines. */
const RUNS_AT_ONCE = 50;

const whole = { limit: true, cursor: true } as const;
const bad = problemSchema.describe("the request makes no sense; `code` and `detail` say why");
const missing = problemSchema.describe("there is no such thing");

/** The lists of the API as files for spreadsheets: the same filters, and all pages in one. */
export function csvRoutes(
  plain: FastifyInstance<Server>,
  deps: { context: Context; pool: PoolAnswers; files: CsvFiles; filesPerMinute: number },
): void {
  const { context, pool, files, filesPerMinute } = deps;
  const { books } = context.port;
  const app = plain.withTypeProvider<ZodTypeProvider>();
  const file = <Query extends z.ZodType, Params extends z.ZodType>(
    tag: string,
    summary: string,
    querystring: Query,
    params: Params,
  ) => ({
    schema: {
      tags: [tag],
      summary,
      querystring,
      params,
      produces: ["text/csv"],
      response: { 200: z.string().describe("CSV with a header row"), 400: bad, 404: missing },
    },
    // A long one is much work.
    config: { rateLimit: { max: filesPerMinute, timeWindow: 60_000 } },
  });
  const none = z.object({});
  const noQuery = z.strictObject({});

  app.get("/v1/rigs.csv", file("workers", "Every rig, as CSV", rigsQuerySchema.omit(whole), none), (request, reply) =>
    files.send(request, reply, "rigs", RIGS, () => rigRows(context, request.query)),
  );
  app.get(
    "/v1/workers.csv",
    file("workers", "Every worker, as CSV", workersQuerySchema.omit(whole), none),
    (request, reply) => files.send(request, reply, "workers", WORKERS, () => workerRows(context, request.query)),
  );
  app.get(
    "/v1/earnings.csv",
    file("pool", "What the whole pool charged and workers earned, over time, as CSV", poolEarningsQuerySchema, none),
    (request, reply) =>
      files.send(request, reply, "earnings", EARNINGS, async function* () {
        yield (await earningsAnswer(context, {}, request.query)).points;
      }),
  );
  app.get(
    "/v1/workers/:address/earnings.csv",
    file("worker", "What it earned over time, as CSV", earningsQuerySchema, addressParamSchema),
    (request, reply) => {
      const { query } = request;
      const worker = readAddress(request.params.address);
      return files.send(request, reply, `earnings-${worker}`, EARNINGS, async function* () {
        yield (await earningsAnswer(context, { worker, rig: query.rig }, query)).points;
      });
    },
  );
  app.get(
    "/v1/workers/:address/jobs.csv",
    file(
      "worker",
      "Its segments of the last 48 hours, newest first, as CSV",
      jobsQuerySchema.omit(whole),
      addressParamSchema,
    ),
    (request, reply) => {
      const worker = readAddress(request.params.address);
      return files.send(request, reply, `jobs-${worker}`, JOBS, () =>
        pages((cursor, limit) => jobsAnswer(context, worker, { ...request.query, limit, cursor })),
      );
    },
  );
  app.get(
    "/v1/workers/:address/payouts.csv",
    file("worker", "Its payouts, newest first, as CSV", noQuery, addressParamSchema),
    (request, reply) => {
      const worker = readAddress(request.params.address);
      return files.send(request, reply, `payouts-${worker}`, LINES, () =>
        pages(async (cursor, limit) => configured(await pool.workerPayouts(worker, { limit, cursor }))),
      );
    },
  );
  app.get("/v1/payouts.csv", file("payouts", "Payout runs, newest first, as CSV", noQuery, none), (request, reply) =>
    files.send(request, reply, "payouts", RUNS, () =>
      pages(async (cursor, limit) => configured(await pool.payouts({ limit, cursor })), RUNS_AT_ONCE),
    ),
  );
  app.get(
    "/v1/workers/:address/statements.csv",
    file(
      "worker",
      "Every credit and payout, one a row, as CSV; the sum of amount_wei is what is unpaid",
      statementsQuerySchema,
      addressParamSchema,
    ),
    (request, reply) => {
      const worker = readAddress(request.params.address);
      if (!books) throw new ApiError({ code: "api/not-configured" }, "This pool keeps no ledger.");
      const { from, to } = request.query;
      const range = {
        fromMs: from === undefined ? undefined : Date.parse(from),
        // What is booked while it is read belongs to the next one.
        toMs: to === undefined ? context.clock.now() + 1 : Date.parse(to),
      };
      return files.send(request, reply, `statement-${worker}`, STATEMENT, () =>
        pages(async (cursor, limit) => {
          const { rows, next } = await books.statement(worker, range, cursor, limit);
          return { items: rows, next: next ?? null };
        }),
      );
    },
  );
}
