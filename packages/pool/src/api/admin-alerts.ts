import type { Server } from "node:http";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Alerts } from "../alerts/alerts.ts";
import { describeAlert } from "../alerts/message.ts";
import type { Delivery } from "../alerts/types.ts";

/** What the admin port may ask of the alerts. */
export type AlertsAdmin = Pick<Alerts, "deliveries" | "counts" | "replay" | "test">;

const listQuery = z.strictObject({
  state: z.enum(["waiting", "sent", "dead"]).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
const replayBody = z.strictObject({ ids: z.array(z.uuid()).min(1).max(1_000).optional() });

/** Who it went to is not said: a subscriber's address is nobody's business. */
function deliveryJson(delivery: Delivery): object {
  const { id, destination, alert, state, attempts, error } = delivery;
  const time = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(ms).toISOString();
  return {
    id,
    destination,
    kind: alert.kind,
    phase: alert.phase,
    worker: alert.worker ?? undefined,
    rig: alert.rig ?? undefined,
    title: describeAlert(alert).title,
    at: time(alert.atMs),
    state,
    attempts,
    next: state === "waiting" ? time(delivery.nextAtMs) : undefined,
    sentAt: time(delivery.sentAtMs),
    error,
  };
}

/** `GET /alerts`, `POST /alerts/test`, `POST /alerts/replay` of the admin port. */
export function alertRoutes(
  app: FastifyInstance<Server>,
  alerts: AlertsAdmin,
  parse: <T>(schema: z.ZodType<T>, value: unknown) => T,
): void {
  app.get("/alerts", async (request) => {
    const query = parse(listQuery, request.query);
    return { counts: await alerts.counts(), deliveries: (await alerts.deliveries(query)).map(deliveryJson) };
  });
  app.post("/alerts/test", async () => ({ channels: await alerts.test() }));
  app.post("/alerts/replay", async (request) => {
    const { ids } = parse(replayBody, request.body ?? {});
    return { replayed: await alerts.replay(ids) };
  });
}
