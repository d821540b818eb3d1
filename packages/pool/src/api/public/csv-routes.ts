import type { Server } from "node:http";
import { Readable } from "node:stream";
import { csvLine } from "@openpool/base";
import {
  addressParamSchema,
  earningsQuerySchema,
  type EarningsAnswer,
  type Job,
  jobsQuerySchema,
  type PayoutLine,
  type PayoutRun,
  poolEarningsQuerySchema,
  problemSchema,
  type RigSummary,
  rigsQuerySchema,
  type WorkerSummary,
  workersQuerySchema,
} from "@openpool/protocol";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { rigsAnswer, workersAnswer } from "./answer-lists.ts";
import type { PoolAnswers } from "./answer-pool.ts";
import { earningsAnswer, jobsAnswer } from "./answer-workers.ts";
import { type Context, readAddress } from "./context.ts";
import { ApiError } from "./problem.ts";

/** A list as a file ends here; statements have every credit there is. */
const MOST_ROWS = 10_000;

/** Their order is for ever; new ones come at the end. */
type Columns<Row> = readonly (readonly [name: string, cell: (row: Row) => string | number | null | undefined])[];

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

interface Page<Row> {
  readonly items: readonly Row[];
  readonly next: string | null;
}

/** A list page by page, as text: what is long never lies in memory. */
async function* csv<Row>(
  columns: Columns<Row>,
  first: Page<Row>,
  read: (cursor: string) => Promise<Page<Row>>,
): AsyncGenerator<string> {
  yield `${columns.map(([name]) => name).join(",")}\r\n`;
  let rows = 0;
  for (let page: Page<Row> | undefined = first; page !== undefined;) {
    rows += page.items.length;
    yield page.items.map((row) => `${csvLine(columns.map(([, cell]) => cell(row) ?? undefined))}\r\n`).join("");
    page = page.next === null || rows >= MOST_ROWS ? undefined : await read(page.next);
  }
}

/** Sends a list as a file. Its first page is read before: what cannot be read is an error and no empty file. */
async function send<Row>(
  reply: FastifyReply,
  name: string,
  columns: Columns<Row>,
  read: (cursor: string | undefined) => Promise<Page<Row>>,
): Promise<never> {
  const first = await read(undefined);
  void reply
    .header("cache-control", "no-cache")
    .header("content-disposition", `attachment; filename="${name}.csv"`)
    .type("text/csv; charset=utf-8");
  // The schema describes it; a stream is sent as it is.
  return reply.send(Readable.from(csv(columns, first, read), { objectMode: false })) as never;
}

const configured = <Answer extends object>(answer: Answer | { configured: false; why: string }): Answer => {
  if ("why" in answer) throw new ApiError({ code: "api/not-configured" }, answer.why);
  return answer;
};

const whole = { limit: true, cursor: true } as const;
const bad = problemSchema.describe("the request makes no sense; `code` and `detail` say why");
const missing = problemSchema.describe("there is no such thing");

/** The lists of the API as files for spreadsheets: the same filters, and all pages in one. */
export function csvRoutes(
  plain: FastifyInstance<Server>,
  { context, pool, filesPerMinute }: { context: Context; pool: PoolAnswers; filesPerMinute: number },
): void {
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

  app.get("/v1/rigs.csv", file("workers", "Every rig, as CSV", rigsQuerySchema.omit(whole), none), ({ query }, reply) =>
    send(reply, "rigs", RIGS, (cursor) => rigsAnswer(context, { ...query, limit: 500, cursor })),
  );
  app.get(
    "/v1/workers.csv",
    file("workers", "Every worker, as CSV", workersQuerySchema.omit(whole), none),
    ({ query }, reply) =>
      send(reply, "workers", WORKERS, (cursor) => workersAnswer(context, { ...query, limit: 500, cursor })),
  );
  app.get(
    "/v1/earnings.csv",
    file("pool", "What the whole pool charged and workers earned, over time, as CSV", poolEarningsQuerySchema, none),
    ({ query }, reply) =>
      send(reply, "earnings", EARNINGS, async () => ({
        items: (await earningsAnswer(context, {}, query)).points,
        next: null,
      })),
  );
  app.get(
    "/v1/workers/:address/earnings.csv",
    file("worker", "What it earned over time, as CSV", earningsQuerySchema, addressParamSchema),
    ({ params, query }, reply) => {
      const worker = readAddress(params.address);
      return send(reply, `earnings-${worker}`, EARNINGS, async () => ({
        items: (await earningsAnswer(context, { worker, rig: query.rig }, query)).points,
        next: null,
      }));
    },
  );
  app.get(
    "/v1/workers/:address/jobs.csv",
    file(
      "worker",
      `Its segments of the last 48 hours, newest first, at most ${MOST_ROWS}, as CSV`,
      jobsQuerySchema.omit(whole),
      addressParamSchema,
    ),
    ({ params, query }, reply) => {
      const worker = readAddress(params.address);
      return send(reply, `jobs-${worker}`, JOBS, (cursor) =>
        jobsAnswer(context, worker, { ...query, limit: 200, cursor }),
      );
    },
  );
  app.get(
    "/v1/workers/:address/payouts.csv",
    file("worker", "Its payouts, newest first, as CSV", noQuery, addressParamSchema),
    ({ params }, reply) => {
      const worker = readAddress(params.address);
      return send(reply, `payouts-${worker}`, LINES, async (cursor) =>
        configured(await pool.workerPayouts(worker, { limit: 200, cursor })),
      );
    },
  );
  app.get("/v1/payouts.csv", file("payouts", "Payout runs, newest first, as CSV", noQuery, none), (_request, reply) =>
    send(reply, "payouts", RUNS, async (cursor) => configured(await pool.payouts({ limit: 200, cursor }))),
  );
}
