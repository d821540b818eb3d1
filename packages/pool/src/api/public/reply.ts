import type { Problem } from "@openpool/protocol";
import type { FastifyReply } from "fastify";
import { type ProblemCode, problemOf } from "./problem.ts";

/** Answers as RFC 9457 has it. */
export function sendProblem(
  reply: FastifyReply,
  code: ProblemCode,
  detail: string,
  issues?: Problem["issues"],
): FastifyReply {
  const problem = problemOf(code, detail, issues);
  return reply
    .code(problem.status)
    .header("cache-control", "no-store")
    .type("application/problem+json; charset=utf-8")
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem);
}
