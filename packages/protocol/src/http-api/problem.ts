import { z } from "zod";

/** An error as RFC 9457 has it, `application/problem+json`. */
export const problemSchema = z.object({
  type: z.string().describe("a reference to the explanation of this kind of error"),
  title: z.string().describe("the kind of error, in words that do not change"),
  status: z.number().int().min(400).max(599),
  detail: z.string().describe("what was wrong this time and what to do"),
  code: z.string().describe("stable: `api/…`, see docs/errors.md"),
  issues: z
    .array(z.object({ where: z.string(), problem: z.string() }))
    .optional()
    .describe("with api/bad-request: every parameter that is wrong"),
});
export type Problem = z.infer<typeof problemSchema>;
