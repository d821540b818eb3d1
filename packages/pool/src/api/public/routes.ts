import type { Server } from "node:http";
import { Readable } from "node:stream";
import type { Logger } from "@openpool/base";
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
  statementsQuerySchema,
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
import type { EventHub } from "./event-hub.ts";
import { ApiError, problems } from "./problem.ts";
import { addressGroup, sendProblem } from "./reply.ts";
import { statementCsv } from "./statements.ts";

export interface RoutesDeps {
  readonly context: Context;
  readonly hub: EventHub;
  readonly logger: Logger;
  readonly streamsPerAddress: number;
}

const noQuery = z.strictObject({});
const bad = problemSchema.describe("the request makes no sense; `code` and `detail` say why");
const missing = problemSchema.describe("there is no such thing");
const runParams = z.object({
  id: z
    .string()
    .regex(/^[\w-]{1,64}$/)
    .describe("of the run"),
});

/** Every route of `/v1`. The schemas check what comes in and what goes out, and describe it. */
export async function routes(
  plain: FastifyInstance<Server>,
  { context, hub, logger, streamsPerAddress }: RoutesDeps,
): Promise<void> {
  const app = plain.withTypeProvider<ZodTypeProvider>();
  const pool = new PoolAnswers(context);
  const { port } = context;

  app.get(
    "/v1/pool",
    {
      schema: {
        tags: ["pool"],
        summary: "What the pool is and what goes on",
        querystring: noQuery,
        response: { 200: poolAnswerSchema },
      },
    },
    () => pool.pool(),
  );
  app.get(
    "/v1/earnings",
    {
      schema: {
        tags: ["pool"],
        summary: "What the whole pool charged and workers earned, over time",
        querystring: poolEarningsQuerySchema,
        response: { 200: earningsAnswerSchema, 400: bad },
      },
    },
    (request) => earningsAnswer(context, {}, request.query),
  );
  app.get(
    "/v1/terms",
    {
      schema: {
        tags: ["pool"],
        summary: "What is promised to workers, now, before and later",
        querystring: noQuery,
        response: { 200: termsAnswerSchema },
      },
    },
    async () => pool.terms(),
  );
  app.get(
    "/v1/solvency",
    {
      schema: {
        tags: ["pool"],
        summary: "Where every wei credited to workers is, and whether it is covered",
        querystring: noQuery,
        response: { 200: solvencyAnswerSchema, 404: missing },
      },
    },
    () => pool.solvency(),
  );
  app.get(
    "/v1/status",
    {
      schema: {
        tags: ["pool"],
        summary: "Whether everything works, and what went wrong lately",
        querystring: noQuery,
        response: { 200: statusAnswerSchema },
      },
    },
    () => pool.status(),
  );

  app.get(
    "/v1/workers",
    {
      schema: {
        tags: ["workers"],
        summary: "Every worker that ever worked, or is connected",
        querystring: workersQuerySchema,
        response: { 200: workersAnswerSchema, 400: bad },
      },
    },
    (request) => workersAnswer(context, request.query),
  );
  app.get(
    "/v1/rigs",
    {
      schema: {
        tags: ["workers"],
        summary: "Every rig that ever worked, or is connected",
        querystring: rigsQuerySchema,
        response: { 200: rigsAnswerSchema, 400: bad },
      },
    },
    (request) => rigsAnswer(context, request.query),
  );
  app.get(
    "/v1/leaderboard",
    {
      schema: {
        tags: ["workers"],
        summary: "Workers by what they did; rank 1 is the best",
        querystring: leaderboardQuerySchema,
        response: { 200: leaderboardAnswerSchema, 400: bad },
      },
    },
    (request) => leaderboardAnswer(context, request.query),
  );
  app.get(
    "/v1/workers/:address",
    {
      schema: {
        tags: ["worker"],
        summary: "One worker: is it working, what did it earn, when is it paid",
        params: addressParamSchema,
        querystring: noQuery,
        response: { 200: workerAnswerSchema, 400: bad },
      },
    },
    (request) => workerAnswer(context, readAddress(request.params.address)),
  );
  app.get(
    "/v1/workers/:address/rigs",
    {
      schema: {
        tags: ["worker"],
        summary: "Its rigs, working ones first",
        params: addressParamSchema,
        querystring: noQuery,
        response: { 200: workerRigsAnswerSchema, 400: bad },
      },
    },
    async (request) => {
      const worker = readAddress(request.params.address);
      const items = await rigsOfWorker(context, worker, await port.rollups.known(worker));
      return { ...context.age(context.live().atMs), items };
    },
  );
  app.get(
    "/v1/workers/:address/rigs/:name",
    {
      schema: {
        tags: ["worker"],
        summary: "One rig: state, speed, success, claims, decisions about it",
        params: rigParamsSchema,
        querystring: noQuery,
        response: { 200: rigAnswerSchema, 400: bad, 404: missing },
      },
    },
    (request) => rigAnswer(context, readAddress(request.params.address), request.params.name),
  );
  app.get(
    "/v1/workers/:address/why",
    {
      schema: {
        tags: ["worker"],
        summary: "Why this much work, and why not paid yet",
        params: addressParamSchema,
        querystring: noQuery,
        response: { 200: whyAnswerSchema, 400: bad },
      },
    },
    (request) => whyAnswer(context, readAddress(request.params.address)),
  );
  app.get(
    "/v1/workers/:address/jobs",
    {
      schema: {
        tags: ["worker"],
        summary: "Its segments of the last 48 hours, newest first",
        params: addressParamSchema,
        querystring: jobsQuerySchema,
        response: { 200: jobsAnswerSchema, 400: bad },
      },
    },
    (request) => jobsAnswer(context, readAddress(request.params.address), request.query),
  );
  app.get(
    "/v1/workers/:address/earnings",
    {
      schema: {
        tags: ["worker"],
        summary: "What it earned over time, or one of its rigs",
        params: addressParamSchema,
        querystring: earningsQuerySchema,
        response: { 200: earningsAnswerSchema, 400: bad },
      },
    },
    (request) =>
      earningsAnswer(context, { worker: readAddress(request.params.address), rig: request.query.rig }, request.query),
  );
  app.get(
    "/v1/workers/:address/payouts",
    {
      schema: {
        tags: ["worker"],
        summary: "Its payouts, newest first",
        params: addressParamSchema,
        querystring: pageQuerySchema,
        response: { 200: workerPayoutsAnswerSchema, 400: bad },
      },
    },
    (request) => pool.workerPayouts(readAddress(request.params.address), request.query),
  );
  app.get(
    "/v1/workers/:address/statements.csv",
    {
      schema: {
        tags: ["worker"],
        summary: "Every credit and payout, one a row, as CSV; the sum of amount_wei is what is unpaid",
        params: addressParamSchema,
        querystring: statementsQuerySchema,
        produces: ["text/csv"],
        response: { 200: z.string().describe("CSV with a header row"), 400: bad, 404: missing },
      },
      // A long one is much work.
      config: { rateLimit: { max: 60, timeWindow: 60_000 } },
    },
    (request, reply) => {
      const worker = readAddress(request.params.address);
      if (!port.books) throw new ApiError({ code: "api/not-configured" }, "This pool keeps no ledger.");
      const { from, to } = request.query;
      const range = {
        fromMs: from === undefined ? undefined : Date.parse(from),
        toMs: to === undefined ? undefined : Date.parse(to),
      };
      void reply
        .header("cache-control", "no-cache")
        .header("content-disposition", `attachment; filename="statement-${worker}.csv"`)
        .type("text/csv; charset=utf-8");
      // The schema describes it; a stream is sent as it is.
      return reply.send(
        Readable.from(statementCsv(port.books, worker, range), { objectMode: false }) as never,
      ) as never;
    },
  );

  app.get(
    "/v1/payouts",
    {
      schema: {
        tags: ["payouts"],
        summary: "Payout runs, newest first",
        querystring: pageQuerySchema,
        response: { 200: payoutsAnswerSchema, 400: bad },
      },
    },
    (request) => pool.payouts(request.query),
  );
  app.get(
    "/v1/payouts/:id",
    {
      schema: {
        tags: ["payouts"],
        summary: "One payout run and its lines",
        params: runParams,
        querystring: pageQuerySchema,
        response: { 200: payoutRunAnswerSchema, 400: bad, 404: missing },
      },
    },
    (request) => pool.payoutRun(request.params.id, request.query),
  );

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
      const group = addressGroup(request.ip);
      const open = streams.get(group) ?? 0;
      if (open >= streamsPerAddress) {
        return sendProblem(reply, "api/too-many-streams", `One address may have ${streamsPerAddress} open.`) as never;
      }
      streams.set(group, open + 1);
      reply.hijack();
      const { raw } = reply;
      raw.once("close", () => {
        const left = (streams.get(group) ?? 1) - 1;
        if (left > 0) streams.set(group, left);
        else streams.delete(group);
      });
      const headers = Object.fromEntries(
        Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined),
      ) as Record<string, string>;
      raw.writeHead(200, {
        ...headers,
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        // Proxies would collect the words otherwise.
        "x-accel-buffering": "no",
      });
      raw.socket?.setNoDelay(true);
      hub.serve(raw, worker, after).catch((error: unknown) => {
        logger.error("an event stream failed", { error: String(error) });
        raw.destroy();
      });
      return reply as never;
    },
  );

  app.get(
    "/v1/problems",
    {
      schema: {
        tags: ["errors"],
        summary: "Every kind of error that this API answers with",
        querystring: noQuery,
        response: {
          200: z.object({
            items: z.array(z.object({ code: z.string(), status: z.number().int(), title: z.string() })),
          }),
        },
      },
    },
    async () => ({
      items: Object.entries(problems).map(([code, { status, title }]) => ({ code, status, title })),
    }),
  );
}
