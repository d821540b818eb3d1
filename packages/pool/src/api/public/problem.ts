import { PoolError } from "@openpool/base";
import type { Problem } from "@openpool/protocol";

export type ApiFailure =
  | {
      readonly code: "api/bad-request";
      readonly issues: readonly { readonly where: string; readonly problem: string }[];
    }
  | {
      readonly code:
        | "api/bad-address"
        | "api/bad-cursor"
        | "api/not-found"
        | "api/not-configured"
        | "api/not-signed-in"
        | "api/not-yours"
        | "api/wrong-origin";
    };

/** What a reader did wrong, or asked for in vain; becomes an answer of RFC 9457. */
export class ApiError extends PoolError<ApiFailure> {}

/** Every kind of problem: its status, and the words that never change. */
export const problems = {
  "api/bad-request": { status: 400, title: "The request has parameters that make no sense" },
  "api/bad-address": { status: 400, title: "This is no payout address" },
  "api/bad-cursor": { status: 400, title: "This is no cursor of this list" },
  "api/unreadable": { status: 400, title: "This is no HTTP request, or one that came too slowly or is too long" },
  "api/sign-in-refused": { status: 401, title: "This signature lets nobody in" },
  "api/not-signed-in": { status: 401, title: "This needs a sign-in with the worker's wallet" },
  "api/not-yours": { status: 403, title: "These are the settings of another worker" },
  "api/wrong-origin": { status: 403, title: "This did not come from this pool's own pages" },
  "api/not-found": { status: 404, title: "There is no such thing here" },
  "api/not-configured": { status: 404, title: "This pool does not have that" },
  "api/not-allowed": { status: 405, title: "This can only be read" },
  "api/too-many-requests": { status: 429, title: "Too many requests from this address" },
  "api/too-many-streams": { status: 429, title: "Too many open event streams" },
  "api/too-many-files": { status: 429, title: "Too many files at once" },
  "api/failed": { status: 500, title: "The pool could not answer" },
  "api/unavailable": { status: 503, title: "The pool cannot read its books at the moment" },
} as const;
export type ProblemCode = keyof typeof problems;

/** As RFC 9457 has it. */
export function problemOf(code: ProblemCode, detail: string, issues?: Problem["issues"]): Problem {
  const { status, title } = problems[code];
  return {
    type: `/v1/problems#${code}`,
    title,
    status,
    detail,
    code,
    ...(issues === undefined ? {} : { issues: [...issues] }),
  };
}
