import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import compress from "@fastify/compress";
import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import fastifyStatic from "@fastify/static";
import { addressGroup, type Clock, errorText, type Logger } from "@openpool/base";
import fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { validatorCompiler } from "fastify-type-provider-zod";
import type { TlsIdentity } from "../../front/certificate.ts";
import type { PublicApiSettings } from "../../options.ts";
import { type HttpHandler, openHttpHandler } from "../http-handler.ts";
import { alertRoutes } from "./alert-routes.ts";
import { answerSerializer } from "./answer-serializer.ts";
import { createContext, isUnavailable, liveJson } from "./context.ts";
import type { FileLimits } from "./csv-file.ts";
import { findDashboard } from "./dashboard-dir.ts";
import { escapeHtml } from "./escape-html.ts";
import { EventHub } from "./event-hub.ts";
import { describeApi } from "./openapi.ts";
import { isLoopback } from "./own-pages.ts";
import type { PublicPort } from "./ports.ts";
import { ApiError, type ProblemCode } from "./problem.ts";
import { sendProblem } from "./reply.ts";
import { routes } from "./routes.ts";
import { settingsRoutes } from "./settings-routes.ts";

export interface PublicApiOptions {
  /** Serve HTTPS with this; undefined: plain HTTP. */
  readonly identity: TlsIdentity | undefined;
  /** Believe `X-Forwarded-For` and `-Proto`: a proxy of the operator's own stands in front. */
  readonly trustProxy: boolean;
  /** Requests that one address may make in a minute. */
  readonly requestsPerMinute: number;
  /** Statements and other files that one address may ask for in a minute. */
  readonly statementsPerMinute: number;
  readonly files: FileLimits;
  /** Event streams that one address may have open. */
  readonly streamsPerAddress: number;
  /** The built pages; undefined: a short page says where the API is. */
  readonly dashboardDir: string | undefined;
}

export const defaultPublicApiOptions = {
  requestsPerMinute: 1_200,
  statementsPerMinute: 60,
  // Each has one question at a time to the database, whose connections the pages share.
  files: { perAddress: 4, inAll: 16, idleMs: 60_000 },
  streamsPerAddress: 50,
} as const;

/**
 * How a pool serves its pages: plain HTTP where only this machine reaches them or a proxy does TLS, HTTPS elsewhere,
 * since browsers keep the clipboard and wallets from pages that came over the network in the clear.
 */
export function publicApiOptions(settings: PublicApiSettings, identity: TlsIdentity): PublicApiOptions {
  return {
    ...defaultPublicApiOptions,
    identity: settings.trustProxy || isLoopback(settings.listen.host) ? undefined : identity,
    trustProxy: settings.trustProxy,
    dashboardDir: findDashboard(),
  };
}

export interface PublicApiDeps {
  readonly port: PublicPort;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** What everybody may read: the HTTP API, its description, and the pages. Nothing can be changed here. */
export async function openPublicApi(options: PublicApiOptions, deps: PublicApiDeps): Promise<HttpHandler> {
  const { app, close } = await createApp(options, deps);
  return openHttpHandler(app, close);
}

async function createApp(
  options: PublicApiOptions,
  { port, logger, clock }: PublicApiDeps,
): Promise<{ readonly app: FastifyInstance<Server>; close(): Promise<void> }> {
  const common = {
    logger: false as const,
    // One proxy: what it adds is believed, and not what a stranger wrote in front of that.
    trustProxy: options.trustProxy && ((_: string, hop: number) => hop === 0),
    bodyLimit: 1_024,
    forceCloseConnections: true,
    requestTimeout: 30_000,
    // A page that is left open costs a socket and nothing else.
    keepAliveTimeout: 75_000,
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: true },
  };
  const { identity } = options;
  // Both servers are used alike; the types of Fastify tell them apart.
  const app: FastifyInstance<Server> =
    identity === undefined
      ? fastify(common)
      : (fastify({
          ...common,
          https: { cert: identity.certPem, key: identity.keyPem },
        }) as unknown as FastifyInstance<Server>);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(answerSerializer);

  answerProblems(app, logger);
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'"],
        // Charts and menus place things by style attributes; scripts are what must not be injected.
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", "data:", "https:"],
        fontSrc: ["'self'"],
        connectSrc: ["'self'"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    // A certificate of our own would lock readers out for good; an operator with a real one has a proxy that says it.
    hsts: false,
    crossOriginResourcePolicy: { policy: "cross-origin" },
    crossOriginEmbedderPolicy: false,
    referrerPolicy: { policy: "no-referrer" },
  });
  await app.register(cors, {
    origin: "*",
    methods: ["GET", "HEAD"],
    allowedHeaders: ["If-None-Match", "Last-Event-ID", "Accept"],
    exposedHeaders: [
      "ETag",
      "RateLimit-Limit",
      "RateLimit-Remaining",
      "RateLimit-Reset",
      "Retry-After",
      "Content-Disposition",
    ],
    maxAge: 86_400,
  });
  await app.register(rateLimit, {
    global: true,
    max: options.requestsPerMinute,
    timeWindow: 60_000,
    enableDraftSpec: true,
    cache: 20_000,
    // An IPv6 site has a whole /64 to choose from.
    keyGenerator: (request) => addressGroup(request.ip),
    errorResponseBuilder: (_request, limits) =>
      Object.assign(new Error(`Wait ${limits.after}: this address has asked ${limits.max} times already.`), {
        statusCode: 429,
        problem: "api/too-many-requests" satisfies ProblemCode,
      }),
  });
  addEtags(app);
  await app.register(compress, { global: true, threshold: 1_024, encodings: ["br", "gzip"] });

  const context = createContext(port, clock);
  void context.warm();
  const hub = new EventHub({
    logger,
    clock,
    events: (query) => port.events(query),
    onEvents: (callback) => port.onEvents(callback),
    head: () => port.rollups.head(),
    live: () => liveJson(context),
  });
  await describeApi(app, port.facts);
  await app.register(async (scope) => {
    const { streamsPerAddress, statementsPerMinute, files } = options;
    await routes(scope, { context, hub, logger, streamsPerAddress, statementsPerMinute, files });
  });
  const { alerts, settings } = port;
  if (settings) await app.register(async (scope) => settingsRoutes(scope, settings, clock));
  if (alerts) await app.register((scope) => alertRoutes(scope, alerts));
  await servePages(app, options.dashboardDir, port.facts.identity.name);

  let closed: Promise<void> | undefined;
  return {
    app,
    close() {
      hub.close();
      return (closed ??= app.close());
    },
  };
}

interface ValidationIssue {
  readonly instancePath: string;
  readonly message?: string;
}

function answerProblems(app: FastifyInstance<Server>, logger: Logger): void {
  app.setErrorHandler((error: unknown, request, reply) => {
    if (error instanceof ApiError) {
      const issues = error.info.code === "api/bad-request" ? [...error.info.issues] : undefined;
      return sendProblem(reply, error.info.code, error.message.replace(/^\[[^\]]*\] /, ""), issues);
    }
    const facts = typeof error === "object" && error !== null ? (error as Record<string, unknown>) : {};
    if (facts["problem"] === "api/too-many-requests") {
      return sendProblem(reply, "api/too-many-requests", errorText(error));
    }
    if (Array.isArray(facts["validation"])) {
      const where = facts["validationContext"] === "params" ? "path" : String(facts["validationContext"] ?? "query");
      const issues = (facts["validation"] as ValidationIssue[]).map((one) => ({
        where: one.instancePath.replace(/^\//, "") || where,
        problem: one.message ?? "is not valid",
      }));
      const text = issues.map((one) => `${one.where}: ${one.problem}`).join("; ");
      return sendProblem(reply, "api/bad-request", `${text}.`, issues);
    }
    const status = Number(facts["statusCode"]);
    if (status >= 400 && status < 500) {
      // Fastify would close the connection over a body that is too large while it comes in: its sender would see a reset.
      reply.removeHeader("connection");
      return sendProblem(reply, "api/bad-request", errorText(error), []);
    }
    if (isUnavailable(error)) {
      reply.header("retry-after", "2");
      return sendProblem(
        reply,
        "api/unavailable",
        "The pool is being restarted, or its database does not answer; try again in a moment.",
      );
    }
    logger.error("a request to the public API failed", {
      path: request.url.split("?", 1)[0],
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    return sendProblem(reply, "api/failed", "The pool could not answer this; its log says why.");
  });
}

/**
 * Every answer has a tag, so that a page that asks again is told in a few bytes that nothing changed. How old an answer
 * is does not make it another one.
 */
function addEtags(app: FastifyInstance<Server>): void {
  const lasting = new WeakMap<FastifyRequest, string>();
  app.addHook("preSerialization", async (request, _reply, payload) => {
    lasting.set(request, JSON.stringify(withoutNow(payload)));
    return payload;
  });
  app.addHook("onSend", async (request, reply, payload) => {
    if (reply.statusCode !== 200 || typeof payload !== "string") return payload;
    if (request.method !== "GET" && request.method !== "HEAD") return payload;
    if (reply.getHeader("cache-control") === undefined) reply.header("cache-control", "no-cache");
    const tag = `W/"${createHash("sha1")
      .update(lasting.get(request) ?? payload)
      .digest("base64url")}"`;
    reply.header("etag", tag);
    const given = request.headers["if-none-match"];
    if (given === undefined || !given.split(",").some((one) => one.trim() === tag || one.trim() === "*"))
      return payload;
    reply.code(304);
    reply.removeHeader("content-type");
    reply.removeHeader("content-length");
    return null;
  });
}

/** Without what only says when the answer was made. A copy: a replacer of `JSON.stringify` takes several times as long. */
function withoutNow(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutNow);
  const from = value as Readonly<Record<string, unknown>>;
  const kept: Record<string, unknown> = {};
  for (const key of Object.keys(from)) if (!isNow(from, key)) kept[key] = withoutNow(from[key]);
  return kept;
}

function isNow(of: Readonly<Record<string, unknown>>, key: string): boolean {
  switch (key) {
    case "asOf":
    case "ageMs":
      return true;
    // Windows end now, and the list of jobs goes back so far from now.
    case "to":
      return "from" in of && isTime(of[key]);
    case "since":
      return "items" in of && isTime(of[key]);
    // Of what is connected.
    case "lastSeenAt":
      return "state" in of && of["state"] !== "offline";
    default:
      return false;
  }
}

function isTime(value: unknown): boolean {
  return typeof value === "string" && /^\d{4}-\d{2}-\d{2}T.*Z$/.test(value);
}

const NO_PAGES = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Open Pool</title>
<meta name="viewport" content="width=device-width">
<h1>Open Pool</h1><p>The pages of this pool are not built. Everything that they show is in the API:
<a href="/v1/docs">its description</a>, <a href="/v1/pool">the pool</a>, <a href="/v1/status">its state</a>.</p>
`;

/**
 * The built pages: every path without a file is one of theirs, and the program in the page knows which. Their title is the
 * pool's name from the first byte on, for whoever shows a link to them, and for the page itself until it has asked.
 */
async function servePages(app: FastifyInstance<Server>, dir: string | undefined, poolName: string): Promise<void> {
  const title = `<title>${escapeHtml(poolName)}</title>`;
  const built = dir === undefined ? undefined : readFileSync(join(dir, "index.html"), "utf8");
  const index = built?.replace(/<title>[^<]*<\/title>/, () => title);
  if (dir !== undefined) {
    await app.register(fastifyStatic, {
      root: dir,
      index: false,
      wildcard: false,
      dotfiles: "ignore",
      preCompressed: true,
      cacheControl: false,
      // Built files are named by what is in them.
      setHeaders: (response, path) => {
        response.setHeader(
          "cache-control",
          /[\\/]assets[\\/]/.test(path) ? "public, max-age=31536000, immutable" : "no-cache",
        );
      },
    });
  }
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "/";
    if (request.method !== "GET" && request.method !== "HEAD") {
      return sendProblem(reply.header("allow", "GET, HEAD"), "api/not-allowed", "Nothing can be changed here.");
    }
    // Files of the pages are there or not.
    const isPage =
      !path.startsWith("/assets/") &&
      !path.startsWith("/v1/") &&
      path !== "/v1" &&
      !/\.[a-z0-9]{1,8}$/i.test(path.split("/").at(-1) ?? "");
    // A rig's page ends in its name, which may look like a file's.
    if (!isPage && !path.startsWith("/w/")) {
      return sendProblem(reply, "api/not-found", "Nothing is served at this path; /v1/docs says what is.");
    }
    if (index === undefined && path !== "/") {
      return sendProblem(reply, "api/not-found", "The pages of this pool are not built; /v1/docs describes the API.");
    }
    return reply
      .type("text/html; charset=utf-8")
      .header("cache-control", "no-cache")
      .send(index ?? NO_PAGES);
  });
}
