import type { Server } from "node:http";
import { Readable } from "node:stream";
import { addressGroup, type Logger } from "@openpool/base";
import {
  addressParamSchema,
  earningsAnswerSchema,
  earningsQuerySchema,
  eventsQuerySchema,
  jobsAnswerSchema,
  jobsQuerySchema,
  leaderboardAnswerSchema,
  leaderboardQuerySchema,
  pageQuerySchema,
  payoutRunAnswerSchema,
  payoutsAnswerSchema,
  poolAnswerSchema,
  poolEarningsQuerySchema,
  problemSchema,
  rigAnswerSchema,
  rigParamsSchema,
  rigsAnswerSchema,
  rigsQuerySchema,
  solvencyAnswerSchema,
  statusAnswerSchema,
  termsAnswerSchema,
  whyAnswerSchema,
  workerAnswerSchema,
  workerPayoutsAnswerSchema,
  workerRigsAnswerSchema,
  workersAnswerSchema,
  workersQuerySchema,
} from "@openpool/protocol";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { PoolAnswers } from "./answer-pool.ts";
import { leaderboardAnswer, rigsAnswer, workersAnswer } from "./answer-lists.ts";
import { earningsAnswer, jobsAnswer, rigAnswer, rigsOfWorker, whyAnswer, workerAnswer } from "./answer-workers.ts";
import { type Context, readAddress } from "./context.ts";
import { CsvFiles, type FileLimits, RETRY_AFTER_S } from "./csv-file.ts";
import { csvRoutes } from "./csv-routes.ts";
import type { EventHub } from "./event-hub.ts";
import { problems } from "./problem.ts";
import { sendProblem } from "./reply.ts";

export interface RoutesDeps {
  readonly context: Context;
  readonly hub: EventHub;
  readonly logger: Logger;
  readonly streamsPerAddress: number;
  readonly statementsPerMinute: number;
  readonly files: FileLimits;
}

const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  // Proxies would collect the words otherwise.
  "x-accel-buffering": "no",
} as const;

const noQuery = z.strictObject({});
const noParams = z.object({});
const bad = problemSchema.describe("the request makes no sense; `code` and `detail` say why");
const missing = problemSchema.describe("there is no such thing");
const problemsSchema = z.object({
  items: z.array(z.object({ code: z.string(), status: z.number().int(), title: z.string() })),
});
const runParams = z.object({
  id: z
    .string()
    .regex(/^[\w-]{1,64}$/)
    .describe("of the run"),
});

type Tag = "pool" | "workers" | "worker" | "payouts" | "events" | "errors";

/** What a reading takes and answers. `orNone`: there may be no such thing. */
function reading<Answer extends z.ZodType, Query extends z.ZodType, Params extends z.ZodType>(
  tag: Tag,
  summary: string,
  answer: Answer,
  query: Query,
  params: Params,
  orNone?: "or none",
): {
  schema: {
    tags: Tag[];
    summary: string;
    querystring: Query;
    params: Params;
    response: { 200: Answer; 400: typeof bad };
  };
} {
  const response = { 200: answer, 400: bad, ...(orNone && { 404: missing }) };
  return { schema: { tags: [tag], summary, querystring: query, params, response } };
}

/** Every route of `/v1`. The schemas check what comes in and what goes out, and describe it. */
export async function routes(
  plain: FastifyInstance<Server>,
  { context, hub, logger, streamsPerAddress, statementsPerMinute, files }: RoutesDeps,
): Promise<void> {
  const app = plain.withTypeProvider<ZodTypeProvider>();
  const pool = new PoolAnswers(context);
  const { port } = context;

  app.get("/v1/pool", reading("pool", "What the pool is and what goes on", poolAnswerSchema, noQuery, noParams), () =>
    pool.pool(),
  );
  app.get(
    "/v1/earnings",
    reading(
      "pool",
      "What the whole pool charged and workers earned, over time",
      earningsAnswerSchema,
      poolEarningsQuerySchema,
      noParams,
    ),
    ({ query }) => earningsAnswer(context, {}, query),
  );
  app.get(
    "/v1/terms",
    reading("pool", "What is promised to workers, now, before and later", termsAnswerSchema, noQuery, noParams),
    async () => pool.terms(),
  );
  app.get(
    "/v1/solvency",
    reading(
      "pool",
      "Where every wei credited to workers is, and whether it is covered",
      solvencyAnswerSchema,
      noQuery,
      noParams,
      "or none",
    ),
    () => pool.solvency(),
  );
  app.get(
    "/v1/status",
    reading("pool", "Whether everything works, and what went wrong lately", statusAnswerSchema, noQuery, noParams),
    () => pool.status(),
  );

  app.get(
    "/v1/workers",
    reading(
      "workers",
      "Every worker that ever worked, or is connected; offline ones last",
      workersAnswerSchema,
      workersQuerySchema,
      noParams,
    ),
    ({ query }) => workersAnswer(context, query),
  );
  app.get(
    "/v1/rigs",
    reading(
      "workers",
      "Every rig that ever worked, or is connected; offline ones last",
      rigsAnswerSchema,
      rigsQuerySchema,
      noParams,
    ),
    ({ query }) => rigsAnswer(context, query),
  );
  app.get(
    "/v1/leaderboard",
    reading(
      "workers",
      "Workers by what they did; rank 1 is the best",
      leaderboardAnswerSchema,
      leaderboardQuerySchema,
      noParams,
    ),
    ({ query }) => leaderboardAnswer(context, query),
  );
  app.get(
    "/v1/workers/:address",
    reading(
      "worker",
      "One worker: is it working, what did it earn, when is it paid",
      workerAnswerSchema,
      noQuery,
      addressParamSchema,
    ),
    ({ params }) => workerAnswer(context, readAddress(params.address)),
  );
  app.get(
    "/v1/workers/:address/rigs",
    reading("worker", "Its rigs, working ones first", workerRigsAnswerSchema, noQuery, addressParamSchema),
    async ({ params }) => {
      const worker = readAddress(params.address);
      const items = await rigsOfWorker(context, worker, await port.rollups.known(worker));
      return { ...context.age(context.live().atMs), items };
    },
  );
  app.get(
    "/v1/workers/:address/rigs/:name",
    reading(
      "worker",
      "One rig: state, speed, success, claims, decisions about it",
      rigAnswerSchema,
      noQuery,
      rigParamsSchema,
      "or none",
    ),
    ({ params }) => rigAnswer(context, readAddress(params.address), params.name),
  );
  app.get(
    "/v1/workers/:address/why",
    reading("worker", "Why this much work, and why not paid yet", whyAnswerSchema, noQuery, addressParamSchema),
    ({ params }) => whyAnswer(context, readAddress(params.address)),
  );
  app.get(
    "/v1/workers/:address/jobs",
    reading(
      "worker",
      "Its segments of the last 48 hours, newest first",
      jobsAnswerSchema,
      jobsQuerySchema,
      addressParamSchema,
    ),
    ({ params, query }) => jobsAnswer(context, readAddress(params.address), query),
  );
  app.get(
    "/v1/workers/:address/earnings",
    reading(
      "worker",
      "What it earned over time, or one of its rigs",
      earningsAnswerSchema,
      earningsQuerySchema,
      addressParamSchema,
    ),
    ({ params, query }) => earningsAnswer(context, { worker: readAddress(params.address), rig: query.rig }, query),
  );
  app.get(
    "/v1/workers/:address/payouts",
    reading("worker", "Its payouts, newest first", workerPayoutsAnswerSchema, pageQuerySchema, addressParamSchema),
    ({ params, query }) => pool.workerPayouts(readAddress(params.address), query),
  );
  app.get(
    "/v1/payouts",
    reading("payouts", "Payout runs, newest first", payoutsAnswerSchema, pageQuerySchema, noParams),
    ({ query }) => pool.payouts(query),
  );
  app.get(
    "/v1/payouts/:id",
    reading("payouts", "One payout run and its lines", payoutRunAnswerSchema, pageQuerySchema, runParams, "or none"),
    ({ params, query }) => pool.payoutRun(params.id, query),
  );

  csvRoutes(plain, { context, pool, files: new CsvFiles(files), filesPerMinute: statementsPerMinute });

  const streams = new Map<string, number>();
  app.get(
    "/v1/events",
    {
      schema: {
        tags: ["events"],
        summary: "What happens, as Server-Sent Events; resumable by Last-Event-ID",
        description:
          "Messages: `live` (every second, without an id), `facts` (what happened since the last one; its id is a position of the event log), `reset` (too much was missed: read the pages again).",
        querystring: eventsQuerySchema,
        produces: ["text/event-stream"],
        response: { 200: z.string().describe("a stream of events"), 400: bad },
      },
    },
    async (request, reply) => {
      const worker = request.query.worker === undefined ? undefined : readAddress(request.query.worker);
      const last = request.headers["last-event-id"] ?? request.query.after;
      const after = typeof last === "string" && /^\d{1,18}$/.test(last) ? BigInt(last) : undefined;
      // The headers of a stream, without one.
      if (request.method === "HEAD") {
        return reply.headers(STREAM_HEADERS).send(Readable.from([]) as never);
      }
      const { raw } = reply;
      // Behind an unfinished answer an endless one never comes to its turn, and would never be told that its reader left.
      if (raw.socket === null || raw.destroyed) {
        return sendProblem(reply, "api/bad-request", "A stream needs a connection of its own.") as never;
      }
      const group = addressGroup(request.ip);
      const open = streams.get(group) ?? 0;
      if (open >= streamsPerAddress) {
        const detail = `One address may have ${streamsPerAddress} open.`;
        return sendProblem(reply.header("retry-after", RETRY_AFTER_S), "api/too-many-streams", detail) as never;
      }
      streams.set(group, open + 1);
      reply.hijack();
      raw.once("close", () => {
        const left = (streams.get(group) ?? 1) - 1;
        if (left > 0) streams.set(group, left);
        else streams.delete(group);
      });
      const headers = Object.fromEntries(
        Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined),
      ) as Record<string, string>;
      raw.writeHead(200, { ...headers, ...STREAM_HEADERS });
      raw.socket.setNoDelay(true);
      hub.serve(raw, worker, after).catch((error: unknown) => {
        logger.error("an event stream failed", { error: String(error) });
        raw.destroy();
      });
      return reply as never;
    },
  );

  app.get(
    "/v1/problems",
    reading("errors", "Every kind of error that this API answers with", problemsSchema, noQuery, noParams),
    async () => ({
      items: Object.entries(problems).map(([code, { status, title }]) => ({ code, status, title })),
    }),
  );
}
