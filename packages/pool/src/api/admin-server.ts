import type { Server } from "node:http";
import { isIP } from "node:net";
import { Readable } from "node:stream";
import { errorText, type Logger, PoolError } from "@openpool/base";
import { isRigName } from "@openpool/protocol";
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { z } from "zod";
import type { EventQuery } from "../store/types.ts";
import { sameSecret } from "./admin-file.ts";
import { adminDisk, adminGateways, adminOverview, auditAnswer, auditData } from "./admin-overview.ts";
import { alertRoutes } from "./admin-alerts.ts";
import { balanceJson, bigintsAsText, eventLine } from "./admin-json.ts";
import { servePages } from "./admin-pages.ts";
import { addLedgerRoutes } from "./ledger-routes.ts";
import { addSchemesRoutes } from "./schemes-routes.ts";
import { payoutRoutes } from "./payout-routes.ts";
import { addressSchema } from "./route-tools.ts";
import { type HttpHandler, openHttpHandler } from "./http-handler.ts";
import { isUnavailable } from "./public/context.ts";
import { findDashboard } from "./public/dashboard-dir.ts";
import type { AdminPort } from "./types.ts";

const rig = z.string().refine(isRigName, "must be 1 to 32 letters, digits, - or _, and start with a letter or digit");
const bool = z.enum(["0", "1", "true", "false"]).transform((text) => text === "1" || text === "true");

const bodies = {
  addWorker: z.strictObject({ address: addressSchema, rig: rig.optional() }),
  setWorker: z.strictObject({
    locked: z.boolean().optional(),
    banned: z.string().min(1).max(500).nullable().optional(),
    note: z.string().max(2_000).nullable().optional(),
  }),
};
const eventsQuery = z.strictObject({
  after: z
    .string()
    .regex(/^\d{1,18}$/)
    .transform(BigInt)
    .optional(),
  since: z.iso
    .datetime({ offset: true })
    .transform((text) => Date.parse(text))
    .optional(),
  type: z.union([z.string(), z.array(z.string())]).optional(),
  limit: z.coerce.number().int().min(1).max(1_000_000).optional(),
  follow: bool.default(false),
});

const auditQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  cursor: z
    .string()
    .regex(/^\d{1,18}$/)
    .optional(),
});

/** Events are read in pages of this many, so that a long history never lies in memory at once. */
const EVENT_PAGE = 500;

export interface AdminHandlerOptions {
  /** Allows writing. */
  readonly token: string;
  /** The host that the admin port listens on: a name that callers may use besides IP addresses and local names. */
  readonly host: string;
}

/**
 * The admin port: health, metrics and status for everyone who reaches it, changes for who holds the token. It sends no
 * CORS headers and answers only to host names that a stranger's web page cannot have, so a browser on this machine is no
 * way in.
 */
export function openAdminHandler(
  options: AdminHandlerOptions,
  dependencies: { readonly port: AdminPort; readonly logger: Logger },
): Promise<HttpHandler> {
  const { app, close } = createApp(options, dependencies);
  return openHttpHandler(app, close);
}

function createApp(
  options: AdminHandlerOptions,
  { port, logger }: { readonly port: AdminPort; readonly logger: Logger },
): { readonly app: FastifyInstance<Server>; close(): Promise<void> } {
  const app = fastify({ logger: false, bodyLimit: 64 * 1024, forceCloseConnections: true, requestTimeout: 30_000 });
  const closing = new AbortController();
  guard(app, options);
  routes(app, port, closing.signal, logger);
  const dir = findDashboard();
  if (dir !== undefined) servePages(app, dir);
  let closed: Promise<void> | undefined;
  return {
    app,
    close() {
      closing.abort();
      return (closed ??= app.close());
    },
  };
}

/** Who may speak to us, and who may change things. */
function guard(app: FastifyInstance<Server>, options: AdminHandlerOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.headers({ "cache-control": "no-store", "x-content-type-options": "nosniff" });
    if (!isOwnHost(request.headers.host, options.host)) {
      return refuse(reply, 421, "admin/foreign-host", "this host name is not ours: use an IP address or localhost");
    }
    if (request.method === "GET" || request.method === "HEAD") return;
    const [scheme, given] = (request.headers.authorization ?? "").split(" ");
    if (scheme?.toLowerCase() !== "bearer" || given === undefined || !sameSecret(given, options.token)) {
      reply.header("www-authenticate", "Bearer");
      return refuse(
        reply,
        401,
        "admin/token-needed",
        "changes need `Authorization: Bearer` with the pool's admin token",
      );
    }
  });
}

/**
 * A web page can make a browser call any port of its user's machine under a name of the page's own (DNS rebinding). It
 * cannot do so under an IP address, `localhost`, or a name without a dot, which is what local networks use.
 */
function isOwnHost(header: string | undefined, listenHost: string): boolean {
  const name = (header ?? "").replace(/:\d+$/, "").toLowerCase();
  if (name === "") return false;
  if (isIP(name.replace(/^\[(.*)\]$/, "$1")) > 0) return true;
  return !name.includes(".") || name.endsWith(".localhost") || name === listenHost.toLowerCase();
}

function refuse(reply: FastifyReply, status: number, code: string, message: string): FastifyReply {
  return reply.code(status).send({ code, message });
}

function json(reply: FastifyReply, value: unknown): FastifyReply {
  return reply.type("application/json; charset=utf-8").send(`${JSON.stringify(value, bigintsAsText)}\n`);
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const text = parsed.error.issues
    .map((issue) => [issue.path.join("."), issue.message].filter(Boolean).join(" "))
    .join("; ");
  throw new BadRequest(text);
}

class BadRequest extends Error {}

function routes(app: FastifyInstance<Server>, port: AdminPort, closing: AbortSignal, logger: Logger): void {
  app.setErrorHandler((error: unknown, request, reply) => {
    if (error instanceof BadRequest) return refuse(reply, 400, "admin/bad-request", error.message);
    if (error instanceof PoolError) {
      const code = String(error.info.code);
      const message = error.message.replace(/^\[[^\]]*\] /, "");
      const status = isUnavailable(error) ? 503 : /\/(unknown|not-found|no-such)/.test(code) ? 404 : 422;
      return refuse(reply, status, code, message);
    }
    // Fastify's own refusals (body too large, not JSON) carry their status.
    const status =
      typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 500;
    if (status < 500) return refuse(reply, status, "admin/bad-request", errorText(error));
    logger.error("an admin request failed", { method: request.method, path: request.url, error });
    return refuse(reply, 500, "admin/failed", "the pool could not do it; its log says why");
  });
  app.setNotFoundHandler((request, reply) =>
    refuse(reply, 404, "admin/not-found", `nothing is served at ${request.method} ${request.url.split("?")[0]}`),
  );

  const health = (reasons: readonly string[], reply: FastifyReply): FastifyReply =>
    json(reply.code(reasons.length === 0 ? 200 : 503), { ok: reasons.length === 0, reasons });
  app.get("/healthz", (_request, reply) => health(port.unhealthy(), reply));
  app.get("/readyz", (_request, reply) => health(port.unready(), reply));
  app.get("/metrics", async (_request, reply) =>
    reply.type("text/plain; version=0.0.4; charset=utf-8").send(await port.metrics()),
  );
  // A write that leaves no trace is not made: the trace comes first.
  app.addHook("preHandler", async (request) => {
    if (request.method === "GET" || request.method === "HEAD") return;
    await port.record?.(auditData(request.method, request.url.split("?", 1)[0] ?? "", request.body));
  });
  app.get("/admin/v1/overview", async (_request, reply) => json(reply, await adminOverview(port, Date)));
  app.get("/admin/v1/audit", async (request, reply) =>
    json(reply, await auditAnswer(port, parse(auditQuery, request.query))),
  );
  app.get("/admin/v1/gateways", (_request, reply) => json(reply, adminGateways(port)));
  app.get("/admin/v1/disk", async (_request, reply) => json(reply, await adminDisk(port)));
  app.get("/status", (_request, reply) => json(reply, port.status()));
  app.get("/balances", async (_request, reply) => json(reply, (await port.balances()).map(balanceJson)));
  if (port.ledger) addLedgerRoutes(app, port.ledger, { json, parse });
  if (port.schemes) addSchemesRoutes(app, port.schemes, { json, parse });
  app.get("/rigs", (_request, reply) => json(reply, port.status().rigs));
  app.get("/upstreams", (_request, reply) => json(reply, port.status().upstreams));
  app.get("/workers", async (_request, reply) => json(reply, await port.workers()));
  app.get("/events", (request, reply) => {
    const query = parse(eventsQuery, request.query);
    // Behind an unfinished answer an endless one never comes to its turn, and would never be told that its reader left.
    if (query.follow && reply.raw.socket === null) throw new BadRequest("following needs a connection of its own");
    const types = query.type === undefined ? undefined : [query.type].flat().flatMap((text) => text.split(","));
    const end = AbortSignal.any([closing, goneSignal(reply)]);
    // Who follows learns at once that it works, and not with the first event.
    if (query.follow) setImmediate(() => reply.raw.flushHeaders());
    const lines = eventLines({ after: query.after, since: query.since, types }, query, port, end);
    return reply.type("application/x-ndjson; charset=utf-8").send(Readable.from(lines, { objectMode: false }));
  });
  app.get<{ Params: { name: string } }>("/rigs/:name/decisions", (request, reply) =>
    json(reply, port.decisions(request.params.name)),
  );

  payoutRoutes(app, port.payouts, { parse, json });

  if (port.alerts) alertRoutes(app, port.alerts, parse);
  app.post("/workers", async (request, reply) => {
    const body = parse(bodies.addWorker, request.body);
    return json(reply.code(201), await port.addWorker(body.address, body.rig));
  });
  app.patch<{ Params: { address: string } }>("/workers/:address", async (request, reply) => {
    const worker = parse(addressSchema, request.params.address);
    const { locked, banned, note } = parse(bodies.setWorker, request.body);
    const change = {
      ...(locked === undefined ? {} : { locked }),
      ...(banned === undefined ? {} : { banned }),
      ...(note === undefined ? {} : { note }),
    };
    return json(reply, await port.setWorker(worker, change));
  });
  app.delete<{ Params: { id: string } }>("/credentials/:id", async (request, reply) => {
    await port.revokeCredential(request.params.id);
    return reply.code(204).send();
  });
  app.post<{ Params: { name: string } }>("/rigs/:name/drain", async (request, reply) => {
    await port.drainRig(request.params.name);
    return reply.code(204).send();
  });
  app.post<{ Params: { name: string } }>("/upstreams/:name/drain", async (request, reply) => {
    await port.setUpstreamDrained(request.params.name, true);
    return reply.code(204).send();
  });
  app.post<{ Params: { name: string } }>("/upstreams/:name/undrain", async (request, reply) => {
    await port.setUpstreamDrained(request.params.name, false);
    return reply.code(204).send();
  });
  app.post<{ Params: { name: string } }>("/rigs/:name/undrain", async (request, reply) => {
    await port.undrainRig(request.params.name);
    return reply.code(204).send();
  });
}

/** Aborted when the answer is over or its reader has gone. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

/** Events as lines, page by page, each read from behind the last line; following goes on with what is appended. */
async function* eventLines(
  from: Omit<EventQuery, "limit">,
  how: { readonly limit?: number | undefined; readonly follow: boolean },
  port: AdminPort,
  end: AbortSignal,
): AsyncGenerator<string> {
  let news = false;
  let wake = (): void => {};
  const stopListening = how.follow
    ? port.onEvents(() => {
        news = true;
        wake();
      })
    : () => {};
  const onEnd = (): void => wake();
  end.addEventListener("abort", onEnd);
  try {
    let { after } = from;
    let left = how.limit ?? Number.POSITIVE_INFINITY;
    while (!end.aborted && left > 0) {
      news = false;
      const wanted = Math.min(EVENT_PAGE, left);
      const page = await port.events({ ...from, after, limit: wanted });
      if (page.length > 0) yield page.map(eventLine).join("");
      after = page.at(-1)?.position ?? after;
      left -= page.length;
      if (page.length === wanted || news) continue;
      if (!how.follow) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        // It may have happened while the page was written.
        if (news || end.aborted) resolve();
      });
    }
  } finally {
    end.removeEventListener("abort", onEnd);
    stopListening();
  }
}
