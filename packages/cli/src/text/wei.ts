import { z } from "zod";

/** Wei as the admin port writes them: a decimal string, negative where something was taken back. */
export const wei = z
  .string()
  .regex(/^-?\d+$/)
  .transform(BigInt);
