import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { ifKnown, type SolvencyReport } from "../income/solvency.ts";
import type { IncomeRecord } from "../store/scheme-store.ts";
import type { RouteTools } from "./route-tools.ts";
import type { SchemesPort } from "./types.ts";

const schemas = {
  list: z.strictObject({ limit: z.coerce.number().int().min(1).max(10_000).default(100) }),
  addIncome: z.strictObject({
    ref: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[\x20-\x7e]+$/, "must be visible ASCII text"),
    wei: z
      .string()
      .regex(/^[1-9]\d{0,30}$/, "must be wei as a decimal string, more than zero")
      .transform(BigInt),
    pot: z.enum(["segment", "uptime"]).optional(),
    note: z.string().max(500).optional(),
  }),
  addHook: z.strictObject({
    source: z
      .string()
      .min(1)
      .max(256 * 1024),
  }),
  release: z.union([
    z.strictObject({ hook: z.string().regex(/^sha256:[0-9a-f]{64}$/) }),
    z.strictObject({ byFee: z.literal(true) }),
  ]),
};

/** A hook is larger than what the other routes take. */
const HOOK_BODY = { bodyLimit: 512 * 1024 };

/** Routes of income, solvency and hooks on the admin port. */
export function addSchemesRoutes(app: FastifyInstance, port: SchemesPort, { json, parse }: RouteTools): void {
  app.get("/solvency", async (_request, reply) => json(reply, solvencyJson(await port.solvency("now"))));

  app.get("/income", async (request, reply) => {
    const { limit } = parse(schemas.list, request.query);
    const { upToDateAtMs, ...status } = port.incomeStatus();
    return json(reply, {
      ...status,
      ...(upToDateAtMs === undefined ? {} : { upToDateAt: new Date(upToDateAtMs).toISOString() }),
      income: (await port.incomes(limit)).map(incomeJson),
    });
  });
  app.post("/income", async (request, reply) => {
    const { ref, wei, pot, note } = parse(schemas.addIncome, request.body);
    await port.addIncome({ ref, wei, pot, note });
    return reply.code(204).send();
  });

  app.get("/hooks", async (_request, reply) =>
    json(
      reply,
      (await port.hooks()).map(({ hash, exports, addedAtMs }) => ({
        hash,
        exports,
        addedAt: new Date(addedAtMs).toISOString(),
      })),
    ),
  );
  app.post("/hooks", HOOK_BODY, async (request, reply) => {
    const { source } = parse(schemas.addHook, request.body);
    return json(reply.code(201), await port.addHook(source));
  });
  app.get("/hooks/jobs", async (request, reply) =>
    json(reply, await port.lastJobs(parse(schemas.list, request.query).limit)),
  );
  app.get("/hooks/held", async (request, reply) =>
    json(reply, await port.heldJobs(parse(schemas.list, request.query).limit)),
  );
  app.post("/hooks/release", async (request, reply) => {
    const how = parse(schemas.release, request.body);
    return json(reply, await port.release("hook" in how ? how : "by-fee"));
  });
}

function incomeJson({ atMs, revertedAtMs, ...rest }: IncomeRecord): Record<string, unknown> {
  return {
    ...rest,
    at: new Date(atMs).toISOString(),
    ...(revertedAtMs === undefined ? {} : { revertedAt: new Date(revertedAtMs).toISOString() }),
  };
}

/** As `openpool solvency --json` prints it: wei and parts per million as decimal strings, null where nobody knows. */
function solvencyJson(report: SolvencyReport): Record<string, unknown> {
  const { books, recent, income, days } = report.facts;
  const chain = ifKnown(report.facts.chain);
  return {
    creditedWei: report.creditedWei,
    heldWei: books.heldWei,
    owedWei: books.owedWei,
    payingWei: books.payingWei,
    paidWei: books.paidWei,
    commissionWei: books.commissionWei,
    feesWei: books.feesWei,
    potsWei: books.potsWei,
    heldByHooksWei: books.unsharedWei,
    recentDays: Math.round(days * 10) / 10,
    recentFeesWei: recent.feesWei,
    recentEarnedWei: recent.earnedWei,
    receivedWei: income?.receivedWei ?? null,
    recentRedeemedWei: income?.recentRedeemedWei ?? null,
    recentKeptWei: income?.recentKeptWei ?? null,
    withdrawnWei: income?.withdrawnWei ?? null,
    unpaidTicketsWei: income?.recentUnpaidWei ?? null,
    luckPpm: report.luckPpm ?? null,
    withdrawableWei: chain?.withdrawableWei ?? null,
    walletWei: chain?.walletWei ?? null,
    payoutBalanceWei: ifKnown(report.facts.payoutBalanceWei) ?? null,
    reserveWei: report.reserveWei ?? null,
    reserveDays: report.reserveDays ?? null,
    wantedReserveWei: report.wantedReserveWei ?? null,
    feeSharePpm: chain?.feeSharePpm ?? null,
    keptPpm: report.keptPpm ?? null,
    maxSharePpm: report.maxSharePpm ?? null,
    promisedPpm: report.promisedPpm ?? null,
    warnings: report.warnings,
    incomeProblem: report.incomeProblem ?? null,
  };
}
