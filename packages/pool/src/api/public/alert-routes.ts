import type { Server } from "node:http";
import { subscribeSchema, workerAlertSchema } from "@openpool/protocol";
import type { FastifyInstance, FastifyReply } from "fastify";
import { z } from "zod";
import { AlertError } from "../../alerts/alerts.ts";
import { readAddress } from "./context.ts";
import type { AlertsPort } from "./ports.ts";
import { sendProblem } from "./reply.ts";

/** `POST /v1/alerts` */
const subscribeBody = subscribeSchema.extend({ worker: z.string().max(64) });
const linkSchema = z.strictObject({ token: z.string().max(200) });

const page = (text: string, form = ""): string => `<!doctype html><html lang="en"><meta charset="utf-8">
<title>Alerts</title><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<p>${text}</p>${form}
`;
const WORDS = {
  confirm: { ask: "Do you want to get these alerts?", button: "Yes, send them", done: "Done: alerts will come here." },
  unsubscribe: {
    ask: "No more alerts from this subscription?",
    button: "Send no more",
    done: "Done: no more will come.",
  },
} as const;

/**
 * Subscribing to alerts, and the links in messages. Following a link only asks; the button does it, since mail scanners
 * follow every link. Nothing here goes by cookies, so no other site can do it in a reader's name.
 */
export function alertRoutes(app: FastifyInstance<Server>, alerts: AlertsPort): void {
  // The buttons' forms, and the one click of mail programs (RFC 8058): what they say is in the address.
  app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, _body, done) =>
    done(null, undefined),
  );
  const refused = (reply: FastifyReply, error: unknown): FastifyReply => {
    if (error instanceof z.ZodError) {
      const issues = error.issues.map((one) => ({ where: one.path.join("."), problem: one.message }));
      return sendProblem(reply, "api/bad-request", "The request has parts that make no sense.", issues);
    }
    if (!(error instanceof AlertError)) throw error;
    const text = error.message.replace(/^\[[^\]]*\] /, "");
    const code = error.info.code;
    if (code === "alerts/too-many") return sendProblem(reply, "api/too-many-requests", text);
    return sendProblem(reply, code === "alerts/off" ? "api/not-configured" : "api/bad-request", text);
  };
  const hidden = { schema: { hide: true } };

  app.get("/v1/alerts", hidden, async () => ({ channels: alerts.channels, kinds: workerAlertSchema.options }));
  app.post(
    "/v1/alerts",
    { ...hidden, config: { rateLimit: { max: 10, timeWindow: 60_000 } } },
    async (request, reply) => {
      try {
        const { worker, ...rest } = subscribeBody.parse(request.body);
        const thresholds = Object.fromEntries(
          Object.entries(rest.thresholds ?? {}).filter(([, value]) => value !== undefined),
        );
        const done = await alerts.subscribe({ ...rest, thresholds, worker: readAddress(worker), owned: false });
        return await reply.code(202).header("cache-control", "no-store").send(done);
      } catch (error) {
        return refused(reply, error);
      }
    },
  );
  for (const action of ["confirm", "unsubscribe"] as const) {
    const { ask, button, done } = WORDS[action];
    app.get(`/v1/alerts/${action}`, hidden, async (request, reply) => {
      try {
        const { token } = linkSchema.parse(request.query);
        await alerts.linked(action, token);
        // The token's letters are of the base64url alphabet, or it would not have been found.
        const form = `<form method="post" action="/v1/alerts/${action}?token=${token}"><button>${button}</button></form>`;
        return await reply.type("text/html; charset=utf-8").header("cache-control", "no-store").send(page(ask, form));
      } catch (error) {
        return refused(reply, error);
      }
    });
    app.post(`/v1/alerts/${action}`, hidden, async (request, reply) => {
      try {
        const { token } = linkSchema.parse(request.query);
        await alerts.follow(action, token);
        return await reply.type("text/html; charset=utf-8").header("cache-control", "no-store").send(page(done));
      } catch (error) {
        return refused(reply, error);
      }
    });
  }
}
