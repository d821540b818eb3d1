import { PoolError } from "@openpool/base";
import fastify, { type FastifyError, type FastifyInstance } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AlertError, type SubscribeRequest } from "../../alerts/alerts.ts";
import type { Subscription } from "../../alerts/types.ts";
import { alertRoutes } from "./alert-routes.ts";
import type { AlertsPort } from "./ports.ts";
import { sendProblem } from "./reply.ts";

const ada = "0xA1a1A1A1A1A1a1A1A1a1a1a1a1A1A1a1A1A1a1a1".toLowerCase();
let subscribed: SubscribeRequest[] = [];
let followed: string[] = [];
const alerts: AlertsPort = {
  channels: ["email"],
  async subscribe(request) {
    if (request.target === "full") throw new AlertError({ code: "alerts/too-many" }, "That is enough for today.");
    if (request.target === "bad") throw new AlertError({ code: "alerts/bad-target" }, "That is no e-mail address.");
    subscribed.push(request);
    return { state: "pending", webhookSecret: undefined };
  },
  async linked(_action, token) {
    if (token !== "good") throw new AlertError({ code: "alerts/bad-link" }, "This link is not complete.");
    return {} as Subscription;
  },
  async follow(action, token) {
    await this.linked(action, token);
    followed.push(action);
  },
};
let app: FastifyInstance;
beforeEach(() => {
  subscribed = [];
  followed = [];
  app = fastify();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  // As the server does.
  app.setErrorHandler((error: FastifyError, _request, reply) =>
    sendProblem(
      reply,
      error instanceof PoolError || error.validation ? "api/bad-request" : "api/failed",
      error.message,
    ),
  );
  app.register((scope) => alertRoutes(scope, alerts));
});
afterEach(() => app.close());

const ask = { worker: ada, channel: "email", target: "ada@example.com", kinds: ["payout-paid"] };

test("a stranger subscribes, never as the worker itself", async () => {
  const answer = await app.inject({
    method: "POST",
    url: "/v1/alerts",
    payload: { ...ask, thresholds: { noWorkHours: 2 } },
  });
  expect([answer.statusCode, answer.json()]).toEqual([202, { state: "pending", webhookSecret: null }]);
  expect(subscribed).toMatchObject([{ owned: false, thresholds: { noWorkHours: 2 }, target: "ada@example.com" }]);
});

test.each([
  ["an unknown kind", { ...ask, kinds: ["halt"] }],
  ["no kind", { ...ask, kinds: [] }],
  ["more than was asked for", { ...ask, owned: true }],
  ["a wrong address", { ...ask, worker: "0x12" }],
  ["a bad target", { ...ask, target: "bad" }],
  ["a threshold without end", { ...ask, thresholds: { noWorkHours: 1e9 } }],
])("refuses %s", async (_name, payload) => {
  expect((await app.inject({ method: "POST", url: "/v1/alerts", payload })).statusCode).toBe(400);
  expect(subscribed).toEqual([]);
});

test("who has asked often enough for a day is told so", async () => {
  const answer = await app.inject({ method: "POST", url: "/v1/alerts", payload: { ...ask, target: "full" } });
  expect([answer.statusCode, answer.headers["retry-after"]]).toEqual([429, "86400"]);
  expect(answer.json()).toMatchObject({ code: "api/too-many-requests" });
});

test("a link only asks, its button does it, and so does the one click of a mail program", async () => {
  const asked = await app.inject({ method: "GET", url: "/v1/alerts/unsubscribe?token=good" });
  expect(asked.body).toContain('<form method="post" action="/v1/alerts/unsubscribe?token=good">');
  expect(followed).toEqual([]);
  const done = await app.inject({
    method: "POST",
    url: "/v1/alerts/unsubscribe?token=good",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    payload: "List-Unsubscribe=One-Click",
  });
  expect([done.statusCode, followed]).toEqual([200, ["unsubscribe"]]);
});

test("a token of somebody else's making shows and does nothing", async () => {
  const answer = await app.inject({
    method: "GET",
    url: `/v1/alerts/confirm?token=${encodeURIComponent('"><script>')}`,
  });
  expect(answer.statusCode).toBe(400);
  expect(answer.body).not.toContain("<script>");
});
