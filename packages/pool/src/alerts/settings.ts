import { createHash } from "node:crypto";
import { quietHoursSchema } from "@openpool/protocol";
import { z } from "zod";
import { parseDiscordUrl } from "./channels/discord.ts";
import { isMailAddress, type MailSettings } from "./channels/mail.ts";
import { parseNtfyUrl } from "./channels/ntfy.ts";
import { isWebhookSecret } from "./channels/standard-webhook.ts";
import { isTelegramChat } from "./channels/telegram.ts";
import { type Channel, OPERATOR_ALERTS, type OperatorChannel } from "./types.ts";

/** What the alerts file says. */
export interface AlertSettings {
  readonly mail: MailSettings | undefined;
  readonly telegram: { readonly token: string; readonly api: string } | undefined;
  readonly operator: readonly OperatorChannel[];
}

export const noAlertSettings: AlertSettings = { mail: undefined, telegram: undefined, operator: [] };

const httpUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), "must be a URL");
const common = {
  kinds: z
    .array(z.enum(OPERATOR_ALERTS))
    .min(1)
    .default([...OPERATOR_ALERTS]),
  quiet: quietHoursSchema.optional(),
};
const discord = z.string().refine((text) => parseDiscordUrl(text) !== undefined, "must be a webhook URL of Discord");
const secret = z.string().refine(isWebhookSecret, "must be `whsec_` and 24 to 64 bytes in base64");
const operatorSchema = z.union(
  [
    z.strictObject({ email: z.string().refine(isMailAddress, "must be an e-mail address"), ...common }),
    z.strictObject({ discord, ...common }),
    z.strictObject({
      telegram: z.coerce.string().refine(isTelegramChat, "must be the number of a chat, or @channel"),
      ...common,
    }),
    z.strictObject({
      ntfy: z.string().refine((text) => parseNtfyUrl(text) !== undefined, "must be a URL like https://ntfy.sh/TOPIC"),
      token: z.string().max(200).optional(),
      ...common,
    }),
    z.strictObject({ webhook: httpUrl, secret, ...common }),
  ],
  "must be one of `email`, `discord`, `telegram`, `ntfy` and `webhook` (with `secret`), with `kinds` and `quiet` beside it",
);
const fileSchema = z.strictObject({
  mail: z
    .strictObject({
      url: z
        .string()
        .refine(
          (text) => URL.canParse(text) && /^smtps?:$/.test(new URL(text).protocol),
          "must be a URL like smtps://user:password@mail.example.com",
        ),
      from: z.string().min(3).max(320),
    })
    .optional(),
  telegram: z
    .strictObject({
      token: z.string().regex(/^\d{5,20}:[\w-]{20,100}$/, "must be the token of a bot"),
      api: httpUrl.default("https://api.telegram.org"),
    })
    .optional(),
  operator: z.array(operatorSchema).max(50).default([]),
});

function channelOf(one: z.infer<typeof operatorSchema>): Channel {
  if ("email" in one) return { kind: "email", to: one.email };
  if ("discord" in one) return { kind: "discord", url: one.discord };
  if ("telegram" in one) return { kind: "telegram", chat: one.telegram };
  if ("ntfy" in one) return { kind: "ntfy", url: one.ntfy, token: one.token };
  return { kind: "webhook", url: one.webhook, secret: one.secret };
}

/** Names a target without telling it: what is on its way to a channel outlives a change of the file's order. */
function nameOf(channel: Channel): string {
  const target = channel.kind === "email" ? channel.to : channel.kind === "telegram" ? channel.chat : channel.url;
  return `${channel.kind}-${createHash("sha256").update(target).digest("hex").slice(0, 8)}`;
}

/** Reads the alerts file, parsed from YAML. Answers all that is wrong with it, each with its place. */
export function parseAlertSettings(
  value: unknown,
): AlertSettings | { readonly problems: readonly { readonly where: string; readonly problem: string }[] } {
  const parsed = fileSchema.safeParse(value ?? {});
  if (!parsed.success) {
    return {
      problems: parsed.error.issues.map((issue) => ({
        where: issue.path.join(".") || "the file",
        problem: issue.message,
      })),
    };
  }
  const { mail, telegram, operator } = parsed.data;
  const problems = operator.flatMap((one, i) => [
    ...("email" in one && !mail
      ? [{ where: `operator.${i}.email`, problem: "needs `mail` with the server to send through" }]
      : []),
    ...("telegram" in one && !telegram
      ? [{ where: `operator.${i}.telegram`, problem: "needs `telegram` with the token of a bot" }]
      : []),
  ]);
  if (problems.length > 0) return { problems };
  return {
    mail,
    telegram,
    operator: operator.map((one) => {
      const channel = channelOf(one);
      return { name: nameOf(channel), channel, kinds: one.kinds, quiet: one.quiet };
    }),
  };
}
