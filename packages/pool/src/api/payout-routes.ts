import { PoolError } from "@openpool/base";
import type { FastifyInstance } from "fastify";
import type { Server } from "node:http";
import { z } from "zod";
import { withoutRaw } from "../payouts/export.ts";
import type { Hex, PayoutPort } from "../payouts/types.ts";
import type { RouteTools } from "./route-tools.ts";
import { workerOf } from "./typed-names.ts";

const text = (most: number) => z.string().min(1).max(most);
const wei = z
  .string()
  .regex(/^\d{1,78}$/)
  .transform(BigInt);
const hex = (pattern: RegExp) =>
  z
    .string()
    .regex(pattern)
    .transform((value): Hex => `0x${value.slice(2).toLowerCase()}`);
const limitSchema = z.strictObject({ limit: z.coerce.number().int().min(1).max(10_000).default(100) });
const bodies = {
  plan: z.strictObject({ dryRun: z.boolean().default(false) }),
  approve: z.strictObject({ by: text(200) }),
  pause: z.strictObject({ reason: text(500) }),
  resume: z.strictObject({
    foreign: z.union([z.literal("all"), z.array(hex(/^0x[0-9a-fA-F]{64}$/)).max(10_000)]).optional(),
    // By address, or by transaction and place in its batch.
    paidFor: z.record(z.string().regex(/^0x([0-9a-fA-F]{40}|[0-9a-fA-F]{64}\/\d{1,6})$/), z.string()).optional(),
    alsoPayers: z.array(z.string()).max(100).optional(),
    noOtherPayer: z.boolean().optional(),
    despitePending: z.boolean().optional(),
    // By token.
    unitsPerEth: z
      .record(
        z.string(),
        wei.refine((units) => units > 0n),
      )
      .optional(),
  }),
  reconcile: z.strictObject({ hash: hex(/^0x[0-9a-fA-F]{64}$/) }),
  giveUp: z
    .strictObject({ safe: z.string().optional(), payer: z.string().optional(), reason: text(500), by: text(200) })
    .refine(({ safe, payer }) => (safe === undefined) !== (payer === undefined), "say either safe or payer"),
  hold: z.strictObject({ reason: text(500) }),
  payTo: z.strictObject({
    payTo: z.string(),
    thresholdWei: wei.default(0n),
    asset: text(42).default("pool"),
    maxGasPriceWei: wei.default(0n),
    maxGasSharePpm: wei.default(0n),
    nonce: wei,
    signature: hex(/^0x([0-9a-fA-F]{2}){64,2000}$/),
  }),
};

/** The payouts on the admin port: reading for everyone who reaches it, changes for who holds the token. */
export function payoutRoutes(
  app: FastifyInstance<Server>,
  payouts: PayoutPort | undefined,
  { parse, json }: RouteTools,
): void {
  const port = (): PayoutPort => {
    if (payouts) return payouts;
    throw new PoolError(
      { code: "payout/not-configured" },
      "This pool makes no payouts: it was given no --rpc-url. The books are kept all the same.",
    );
  };

  app.get("/payouts", async (request, reply) => {
    const { limit } = parse(limitSchema, request.query);
    return json(reply, {
      status: await port().status(),
      next: await port().next(),
      runs: await port().runs({ limit }),
    });
  });
  app.post("/payouts/plan", async (request, reply) => json(reply, await port().plan(parse(bodies.plan, request.body))));
  app.post("/payouts/pause", async (request, reply) => {
    await port().pause(parse(bodies.pause, request.body).reason);
    return reply.code(204).send();
  });
  app.post("/payouts/resume", async (request, reply) => {
    const {
      foreign,
      paidFor = {},
      unitsPerEth = {},
      alsoPayers = [],
      noOtherPayer,
      despitePending,
    } = parse(bodies.resume, request.body ?? {});
    const told = Object.entries(paidFor).map(([payment, whom]) => {
      const [hash, place] = payment.split("/");
      return [place === undefined ? workerOf(payment) : `${hash?.toLowerCase()}/${place}`, workerOf(whom)] as const;
    });
    const priced = Object.entries(unitsPerEth).map(([token, units]) => [workerOf(token), units] as const);
    return json(
      reply,
      await port().resume({
        foreign,
        paidFor: new Map(told),
        unitsPerEth: new Map(priced),
        alsoPayers: alsoPayers.map(workerOf),
        noOtherPayer,
        despitePending,
      }),
    );
  });
  app.post<{ Params: { line: string } }>("/payouts/lines/:line/retry", async (request, reply) =>
    json(reply, await port().retry(request.params.line)),
  );
  app.get<{ Params: { id: string } }>("/payouts/:id", async (request, reply) => {
    const detail = await port().run(request.params.id);
    if (!detail) {
      throw new PoolError({ code: "payout/no-such-run" }, `There is no payout run ${request.params.id}.`);
    }
    return json(reply, withoutRaw(detail));
  });
  app.get<{ Params: { id: string; format: string } }>("/payouts/:id/export/:format", async (request, reply) => {
    const format = parse(z.enum(["json", "csv"]), request.params.format);
    return json(reply, { text: await port().exportRun(request.params.id, format) });
  });
  // Makes a run the multisig's, so that it is a change.
  app.post<{ Params: { id: string } }>("/payouts/:id/export/safe", async (request, reply) =>
    json(reply, { text: await port().exportRun(request.params.id, "safe") }),
  );
  app.post<{ Params: { id: string } }>("/payouts/:id/export/safe-cancel", async (request, reply) =>
    json(reply, { text: await port().exportRun(request.params.id, "safe-cancel") }),
  );
  app.post<{ Params: { id: string } }>("/payouts/:id/approve", async (request, reply) =>
    json(reply, await port().approve(request.params.id, parse(bodies.approve, request.body).by)),
  );
  app.post<{ Params: { id: string } }>("/payouts/:id/cancel", async (request, reply) =>
    json(reply, await port().cancel(request.params.id)),
  );
  app.post<{ Params: { id: string } }>("/payouts/:id/reconcile", async (request, reply) =>
    json(reply, await port().reconcile(request.params.id, parse(bodies.reconcile, request.body).hash)),
  );
  app.post<{ Params: { id: string } }>("/payouts/:id/give-up", async (request, reply) => {
    const { safe, payer, ...why } = parse(bodies.giveUp, request.body);
    const what = payer === undefined ? { safe: workerOf(safe ?? "") } : { payer: workerOf(payer) };
    return json(reply, await port().giveUp(request.params.id, { ...what, ...why }));
  });
  app.get<{ Params: { address: string } }>("/workers/:address/payouts", async (request, reply) =>
    json(reply, await port().linesOf(workerOf(request.params.address), parse(limitSchema, request.query))),
  );
  app.post<{ Params: { address: string } }>("/workers/:address/payout-hold", async (request, reply) => {
    await port().hold(workerOf(request.params.address), parse(bodies.hold, request.body).reason);
    return reply.code(204).send();
  });
  app.delete<{ Params: { address: string } }>("/workers/:address/payout-hold", async (request, reply) => {
    await port().release(workerOf(request.params.address));
    return reply.code(204).send();
  });
  app.get<{ Params: { address: string } }>("/workers/:address/payto", async (request, reply) =>
    json(reply, await port().payToChanges(workerOf(request.params.address))),
  );
  app.post<{ Params: { address: string } }>("/workers/:address/payto", async (request, reply) => {
    const change = parse(bodies.payTo, request.body);
    const { payTo, asset } = change;
    const asked = {
      ...change,
      worker: workerOf(request.params.address),
      payTo: workerOf(payTo),
      asset: asset === "pool" || asset === "eth" ? asset : workerOf(asset),
    } as const;
    return json(reply, await port().requestPayTo(asked));
  });
  app.delete<{ Params: { address: string } }>("/workers/:address/payto", async (request, reply) => {
    await port().cancelPayTo(workerOf(request.params.address));
    return reply.code(204).send();
  });
}
