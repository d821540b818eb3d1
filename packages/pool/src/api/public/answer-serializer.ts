import {
  earningsAnswerSchema,
  rigsAnswerSchema,
  whyAnswerSchema,
  workerAnswerSchema,
  workerRigsAnswerSchema,
} from "@openpool/protocol";
import { serializerCompiler } from "fastify-type-provider-zod";
import { z } from "zod";

const asMade = z.array(z.unknown());

/**
 * Answers with lists of hundreds of rows, which take several times as long to check as to make. Their rows are sent as they
 * were made, which is field by field: nothing else can be in them. All else is checked, and loses what its schema does not have.
 */
const longAnswers: ReadonlyMap<unknown, z.ZodType> = new Map<unknown, z.ZodType>([
  [earningsAnswerSchema, earningsAnswerSchema.extend({ points: asMade })],
  [rigsAnswerSchema, rigsAnswerSchema.extend({ items: asMade })],
  [workerRigsAnswerSchema, workerRigsAnswerSchema.extend({ items: asMade })],
  [workerAnswerSchema, workerAnswerSchema.extend({ rigs: asMade })],
  [whyAnswerSchema, whyAnswerSchema.extend({ rigs: asMade })],
]);

/** Puts answers into JSON as their schemas have it. */
export const answerSerializer: typeof serializerCompiler = (route) =>
  serializerCompiler({ ...route, schema: longAnswers.get(route.schema) ?? route.schema });
