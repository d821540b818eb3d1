import { Readable } from "node:stream";
import type { WorkerAddress } from "@openpool/protocol";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { statementCsvHead, statementCsvLine, statementJson } from "../ledger/statement.ts";
import { termsJson } from "../ledger/terms.ts";
import type { StatementRange } from "../store/ledger-store.ts";
import { addressSchema, type RouteTools } from "./route-tools.ts";
import type { LedgerPort } from "./types.ts";

const time = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

const schemas = {
  statement: z.strictObject({
    from: time.optional(),
    to: time.optional(),
    format: z.enum(["csv", "json"]).default("json"),
  }),
  terms: z.strictObject({ terms: z.unknown(), effectiveAt: time, dryRun: z.boolean().default(false) }),
  adjust: z.strictObject({
    worker: addressSchema,
    amountWei: z
      .string()
      .regex(/^-?\d{1,78}$/)
      .transform(BigInt),
    reason: z.string().min(1).max(500),
    corrects: z.string().max(100).optional(),
    key: z
      .string()
      .regex(/^[\w.:-]{1,100}$/)
      .optional(),
  }),
  check: z.strictObject({ whole: z.boolean().default(true), everyTransaction: z.boolean().default(false) }),
  month: z.strictObject({
    month: z
      .string()
      .regex(/^\d{4}-\d{2}$/)
      .optional(),
  }),
  rebuild: z.strictObject({ verify: z.boolean() }),
};

/** Rows of a statement are read in pages of this many: a statement of a year never lies in memory at once. */
const PAGE = 1_000;

/** Routes of the books, the terms and statements on the admin port. */
export function addLedgerRoutes(app: FastifyInstance, ledger: LedgerPort, { json, parse }: RouteTools): void {
  app.get("/terms", (_request, reply) => {
    const { current, versions } = ledger.terms();
    return json(reply, { current: current.version, versions: versions.map(termsJson) });
  });
  app.post("/terms", async (request, reply) => {
    const { terms, effectiveAt, dryRun } = parse(schemas.terms, request.body);
    const made = await ledger.announceTerms(terms, effectiveAt, dryRun ? "only-try" : "for-all");
    return json(reply.code(dryRun ? 200 : 201), termsJson(made));
  });

  app.get("/ledger", async (_request, reply) => {
    const last = ledger.lastCheck();
    return json(reply, {
      progress: ledger.progress(),
      totals: await ledger.totals(),
      halts: await ledger.halts(),
      lastCheck: last && { ...last, at: new Date(last.atMs).toISOString() },
      closedPeriods: await ledger.closedPeriods(),
      rebuild: ledger.rebuildState(),
    });
  });
  app.get("/ledger/accounts", async (_request, reply) => json(reply, Object.fromEntries(await ledger.accounts())));
  app.get("/ledger/balances", async (_request, reply) =>
    json(
      reply,
      [...(await ledger.balances())].map(([worker, balance]) => ({ worker, ...balance })),
    ),
  );
  app.get<{ Params: { worker: string } }>("/ledger/statements/:worker", async (request, reply) => {
    const worker = parse(addressSchema, request.params.worker);
    const { from, to, format } = parse(schemas.statement, request.query);
    const range = { fromMs: from, toMs: to };
    const text = format === "csv" ? csvLines(ledger, worker, range) : jsonText(ledger, worker, range);
    return reply
      .type(format === "csv" ? "text/csv; charset=utf-8; header=present" : "application/json; charset=utf-8")
      .send(Readable.from(text, { objectMode: false }));
  });
  app.post("/ledger/adjust", async (request, reply) =>
    json(reply.code(201), await ledger.adjust(parse(schemas.adjust, request.body))),
  );
  app.post("/ledger/check", async (request, reply) => {
    const { whole, everyTransaction } = parse(schemas.check, request.body ?? {});
    return json(reply, await ledger.check(whole, everyTransaction));
  });
  app.post("/ledger/rebuild", async (request, reply) =>
    json(reply.code(202), ledger.startRebuild(parse(schemas.rebuild, request.body).verify)),
  );
  app.get("/ledger/rebuild", (_request, reply) => json(reply, ledger.rebuildState()));
  app.post("/ledger/export", async (request, reply) =>
    json(reply, { months: await ledger.exportMonths(parse(schemas.month, request.body).month) }),
  );
  app.post("/ledger/prune", async (request, reply) =>
    json(reply, { months: await ledger.pruneMonths(parse(schemas.month, request.body).month) }),
  );
  app.post("/ledger/close", async (_request, reply) => json(reply, { closed: await ledger.closeMonths() }));
}

async function* pages(
  ledger: LedgerPort,
  worker: WorkerAddress,
  range: StatementRange,
): AsyncGenerator<Awaited<ReturnType<LedgerPort["statement"]>>["rows"]> {
  let next: string | undefined;
  do {
    const page = await ledger.statement(worker, range, next, PAGE);
    if (page.rows.length > 0) yield page.rows;
    next = page.next;
  } while (next !== undefined);
}

async function* csvLines(ledger: LedgerPort, worker: WorkerAddress, range: StatementRange): AsyncGenerator<string> {
  yield statementCsvHead();
  for await (const rows of pages(ledger, worker, range)) yield rows.map(statementCsvLine).join("");
}

/** One object. What it comes to is summed from the very rows that it has: more are booked while it is read. */
async function* jsonText(ledger: LedgerPort, worker: WorkerAddress, range: StatementRange): AsyncGenerator<string> {
  let { openingWei: closingWei } = await ledger.statementSums(worker, range);
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  const head = { worker, from: iso(range.fromMs), to: iso(range.toMs), opening_wei: closingWei.toString() };
  yield `${JSON.stringify(head).slice(0, -1)},"rows":[`;
  let first = true;
  for await (const rows of pages(ledger, worker, range)) {
    yield rows.map((row, i) => `${first && i === 0 ? "" : ","}\n${JSON.stringify(statementJson(row))}`).join("");
    closingWei = rows.reduce((sum, { amountWei }) => sum + amountWei, closingWei);
    first = false;
  }
  yield `\n],"closing_wei":"${closingWei}"}\n`;
}
