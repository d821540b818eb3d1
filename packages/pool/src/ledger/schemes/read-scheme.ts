import { PoolError } from "@openpool/base";
import { z } from "zod";
import type { PayScheme, UptimeBonus } from "./types.ts";

export class SchemeError extends PoolError<{ readonly code: "scheme/unknown" | "scheme/bad-options" }> {}

const DAY_MS = 86_400_000;
const wei = z
  .string()
  .regex(/^\d{1,30}$/, "must be wei as a decimal string")
  .transform(BigInt);
const ppm = z
  .union([z.string(), z.int()])
  .transform(String)
  .pipe(z.string().regex(/^\d{1,7}$/, "must be parts per million"))
  .transform(BigInt)
  .refine((value) => value <= 1_000_000n, "is more than 1000000 parts per million");
/** As a number, or as the text that a command line has. */
const whole = z.union([
  z.int(),
  z
    .string()
    .regex(/^\d{1,12}$/, "must be a whole number of milliseconds")
    .transform(Number),
]);
const periodMs = whole
  .pipe(
    z
      .int()
      .min(60_000, "must be a minute at least")
      .max(31 * DAY_MS, "must be 31 days at most"),
  )
  .default(DAY_MS);
const slotMs = whole
  .pipe(
    z
      .int()
      .min(60_000, "must be a minute at least")
      .max(DAY_MS, "must be a day at most")
      .refine((value) => DAY_MS % value === 0, "must divide a day into whole slots"),
  )
  .default(600_000);
const uptime = z.strictObject({ budgetWeiPerDay: wei, slotMs }).optional();

const hook = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 hex digits, as `openpool hooks add` prints it");
/** On top of every scheme. */
const onTop = { uptime, hook: hook.optional() };

const options = {
  unit: z.strictObject(onTop),
  segment: z.strictObject({
    ...onTop,
    per: z.enum(["segment", "rendition-second"]).default("segment"),
    amountWei: wei,
  }),
  proportional: z.strictObject({ ...onTop, periodMs }),
  blend: z.strictObject({ ...onTop, lambdaPpm: ppm, periodMs }),
  hook: z.strictObject({ ...onTop, hook }),
} as const;

/** What terms say about pay, read. */
export interface ReadScheme {
  readonly scheme: PayScheme;
  readonly uptime: UptimeBonus | undefined;
  /** The operator's hooks, by the hash of their module: told of what happens, under every scheme. */
  readonly hook: string | undefined;
}

/**
 * Reads the scheme of terms and its options.
 *
 * @throws SchemeError `scheme/unknown` or `scheme/bad-options`, with all that is wrong with them.
 */
export function readScheme(name: string, given: unknown): ReadScheme {
  switch (name) {
    case "unit": {
      const { uptime: bonus, hook: hash } = parse(name, options.unit, given);
      return { scheme: { kind: name }, uptime: bonus, hook: hash };
    }
    case "segment": {
      const { uptime: bonus, hook: hash, per, amountWei } = parse(name, options.segment, given);
      return { scheme: { kind: name, per, amountWei }, uptime: bonus, hook: hash };
    }
    case "proportional": {
      const { uptime: bonus, hook: hash, periodMs: period } = parse(name, options.proportional, given);
      return { scheme: { kind: name, periodMs: period }, uptime: bonus, hook: hash };
    }
    case "blend": {
      const { uptime: bonus, hook: hash, lambdaPpm, periodMs: period } = parse(name, options.blend, given);
      return { scheme: { kind: name, lambdaPpm, periodMs: period }, uptime: bonus, hook: hash };
    }
    case "hook": {
      const { uptime: bonus, hook: hash } = parse(name, options.hook, given);
      return { scheme: { kind: name, hash }, uptime: bonus, hook: hash };
    }
    default:
      throw new SchemeError(
        { code: "scheme/unknown" },
        `There is no scheme "${name}": choose ${Object.keys(options).join(", ")}.`,
      );
  }
}

function parse<T>(name: string, schema: z.ZodType<T>, given: unknown): T {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const text = parsed.error.issues
    .map((issue) => [issue.path.join("."), issue.message].filter(Boolean).join(" "))
    .join("; ");
  throw new SchemeError({ code: "scheme/bad-options" }, `The options of the scheme ${name} are wrong: ${text}.`);
}
