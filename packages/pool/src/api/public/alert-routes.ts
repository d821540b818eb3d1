import type { Server } from "node:http";
import {
  alertLinkQuerySchema,
  alertsAnswerSchema,
  problemSchema,
  subscribedAnswerSchema,
  subscribeToWorkerSchema,
  workerAlertSchema,
} from "@openpool/protocol";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { AlertError } from "../../alerts/alerts.ts";
import { readAddress } from "./context.ts";
import type { AlertsPort } from "./ports.ts";
import { sendProblem } from "./reply.ts";

const page = (text: string, form = ""): string => `<!doctype html><html lang="en"><meta charset="utf-8">
<title>Alerts</title><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<p>${text}</p>${form}
`;
const LINKS = {
  confirm: {
    summary: "Confirm a subscription",
    ask: "Do you want to get these alerts?",
    button: "Yes, send them",
    done: "Done: alerts will come here.",
  },
  unsubscribe: {
    summary: "End a subscription",
    ask: "No more alerts from this subscription?",
    button: "Send no more",
    done: "Done: no more will come.",
  },
} as const;

/** What was asked for is counted by the day; what a worker has ends when somebody ends it, which nobody can foretell. */
const TOO_MANY_RETRY_S = 86_400;

const tags = ["alerts"];
const problem = (what: string) => problemSchema.describe(what);
const linked = {
  tags,
  querystring: alertLinkQuerySchema,
  produces: ["text/html"],
  response: { 200: z.string().describe("a page that says so"), 400: problem("the link is not complete, or too old") },
};

/**
 * Subscribing to alerts, and the links in messages. Following a link only asks; the button does it, since mail scanners
 * follow every link. Nothing here goes by cookies, so no other site can do it in a reader's name.
 */
export async function alertRoutes(plain: FastifyInstance<Server>, alerts: AlertsPort): Promise<void> {
  const app = plain.withTypeProvider<ZodTypeProvider>();
  // The buttons' forms, and the one click of mail programs (RFC 8058): what they say is in the address.
  app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, _body, done) =>
    done(null, undefined),
  );
  app.setErrorHandler((error, _request, reply) => {
    // The server knows what to say of all others.
    if (!(error instanceof AlertError)) throw error;
    const text = error.message.replace(/^\[[^\]]*\] /, "");
    const { code } = error.info;
    if (code === "alerts/too-many") {
      return sendProblem(reply.header("retry-after", TOO_MANY_RETRY_S), "api/too-many-requests", text);
    }
    return sendProblem(reply, code === "alerts/off" ? "api/not-configured" : "api/bad-request", text);
  });

  app.get(
    "/v1/alerts",
    {
      schema: {
        tags,
        summary: "What can be told about a worker, and over what",
        querystring: z.strictObject({}),
        response: { 200: alertsAnswerSchema },
      },
    },
    async () => ({ channels: [...alerts.channels], kinds: workerAlertSchema.options }),
  );
  app.post(
    "/v1/alerts",
    {
      schema: {
        tags,
        summary: "Subscribe to alerts about a worker",
        description:
          "Needs no account. The channel gets one message with a link first, and nothing more before that is followed.",
        body: subscribeToWorkerSchema,
        response: {
          202: subscribedAnswerSchema,
          400: problem("the pool has no such channel, or the target is none"),
          404: problem("this pool sends no alerts"),
        },
      },
      bodyLimit: 4 * 1_024,
      // Few enough that no stranger can fill the list of those that wait for a confirmation.
      config: { rateLimit: { max: 30, timeWindow: 86_400_000 } },
    },
    async ({ body }, reply) => {
      const asked = { ...body, worker: readAddress(body.worker), owned: false };
      const { state, webhookSecret = null } = await alerts.subscribe(asked);
      return reply.code(202).header("cache-control", "no-store").send({ state, webhookSecret });
    },
  );
  for (const action of ["confirm", "unsubscribe"] as const) {
    const { summary, ask, button, done } = LINKS[action];
    const html = (reply: FastifyReply): FastifyReply =>
      reply.type("text/html; charset=utf-8").header("cache-control", "no-store");
    app.get(
      `/v1/alerts/${action}`,
      { schema: { ...linked, summary: `${summary}: the page of a message's link, which changes nothing` } },
      async ({ query: { token } }, reply) => {
        await alerts.linked(action, token);
        html(reply);
        // The token's letters are of the base64url alphabet, or it would not have been found.
        return page(
          ask,
          `<form method="post" action="/v1/alerts/${action}?token=${token}"><button>${button}</button></form>`,
        );
      },
    );
    app.post(
      `/v1/alerts/${action}`,
      { schema: { ...linked, summary: `${summary}: what the button of that page does` } },
      async ({ query: { token } }, reply) => {
        await alerts.follow(action, token);
        html(reply);
        return page(done);
      },
    );
  }
}
