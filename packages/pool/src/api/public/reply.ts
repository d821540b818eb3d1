import type { Problem } from "@openpool/protocol";
import type { FastifyReply } from "fastify";
import { type ProblemCode, problems } from "./problem.ts";

/** Answers as RFC 9457 has it. */
export function sendProblem(
  reply: FastifyReply,
  code: ProblemCode,
  detail: string,
  issues?: Problem["issues"],
): FastifyReply {
  const { status, title } = problems[code];
  const problem: Problem = {
    type: `/v1/problems#${code}`,
    title,
    status,
    detail,
    code,
    ...(issues === undefined ? {} : { issues: [...issues] }),
  };
  return reply
    .code(status)
    .header("cache-control", "no-store")
    .type("application/problem+json; charset=utf-8")
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem);
}
