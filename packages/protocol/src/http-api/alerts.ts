import { z } from "zod";

/** What can be told to whoever asks for it, about one worker. */
export const workerAlertSchema = z.enum([
  "rig-offline",
  "no-work",
  "success-low",
  "speed-low",
  "standing",
  "payout-planned",
  "payout-sent",
  "payout-paid",
  "payout-failed",
  "credit-held",
  "terms-changed",
  "address-change",
]);
export type WorkerAlert = z.infer<typeof workerAlertSchema>;

/** Over what alerts can come. */
export const alertChannelSchema = z.enum(["email", "discord", "telegram", "ntfy", "webhook"]);
export type AlertChannel = z.infer<typeof alertChannelSchema>;

/** When measured alerts are raised; what is left out has its usual value. */
export const alertThresholdsSchema = z.strictObject({
  noWorkHours: z.number().int().min(1).max(168).optional().describe("hours without a credited segment"),
  successPercent: z.number().int().min(1).max(99).optional().describe("of a rig's attempts in the last hour"),
  realTimeRatio: z.number().multipleOf(0.1).min(0.1).max(20).optional().describe("seconds of video per second of work"),
});

const wallTime = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time like 22:00")
  .describe("`HH:MM`");

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** When nothing but urgent alerts comes. */
export const quietHoursSchema = z.strictObject({
  from: wallTime,
  to: wallTime,
  timeZone: z.string().max(64).refine(isTimeZone, "must be a time zone like Europe/Berlin").default("UTC"),
});

/** What a subscription hears. */
const heardSchema = z.strictObject({
  kinds: z.array(workerAlertSchema).min(1).max(workerAlertSchema.options.length),
  thresholds: alertThresholdsSchema.optional(),
  quiet: quietHoursSchema.optional(),
});
export const changeSubscriptionSchema = heardSchema;

/** A new subscription of a worker that is signed in. */
export const subscribeSchema = z.strictObject({
  channel: alertChannelSchema,
  target: z.string().min(1).max(500).describe("an e-mail address, a URL, or the number of a chat, by `channel`"),
  ...heardSchema.shape,
});
/** `POST /v1/alerts`: a new subscription of anybody. */
export const subscribeToWorkerSchema = subscribeSchema.extend({
  worker: z.string().max(64).describe("its payout address"),
});

/** `GET /v1/alerts` */
export const alertsAnswerSchema = z.object({
  channels: z.array(alertChannelSchema).describe("over what alerts can come; empty: nobody can subscribe"),
  kinds: z.array(workerAlertSchema).describe("what can be told about a worker"),
});

/** `/v1/alerts/confirm` and `/v1/alerts/unsubscribe` */
export const alertLinkQuerySchema = z.strictObject({
  token: z.string().max(200).describe("as it stands in the link of a message"),
});
