import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import type { FastifyReply } from "fastify";
import { z } from "zod";

/** How the admin port reads bodies and writes answers. */
export interface RouteTools {
  parse<T>(schema: z.ZodType<T>, value: unknown): T;
  json(reply: FastifyReply, value: unknown): FastifyReply;
}

/** A payout address in a body or a path. */
export const addressSchema = z.string().transform((text, context): WorkerAddress => {
  const parsed = parseAddress(text);
  if (!isAddressProblem(parsed)) return parsed;
  context.addIssue({ code: "custom", message: `is no payout address (${parsed})` });
  return z.NEVER;
});
