import { isIP } from "node:net";
import type { Problem } from "@openpool/protocol";
import type { FastifyReply } from "fastify";
import { type ProblemCode, problems } from "./problem.ts";

/** Who counts as one: an IPv4 address, or the network that an IPv6 address is in. */
export function addressGroup(ip: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(ip)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIP(ip) !== 6) return ip;
  const [head = "", tail] = ip.split("::");
  const before = head.split(":").filter(Boolean);
  const after = (tail ?? "").split(":").filter(Boolean);
  const groups =
    tail === undefined
      ? before
      : [...before, ...Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0"), ...after];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

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
