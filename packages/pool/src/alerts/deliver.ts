import type { AlertSettings } from "./settings.ts";
import { discordBody } from "./channels/discord.ts";
import { type Mailer, type MailLimits, openMailer } from "./channels/mail.ts";
import { ntfyBody, parseNtfyUrl } from "./channels/ntfy.ts";
import { postAndJudge, type SendResult } from "./channels/post.ts";
import { signWebhook, webhookBody } from "./channels/standard-webhook.ts";
import { telegramBody, telegramRetryAfterMs } from "./channels/telegram.ts";
import type { Message } from "./message.ts";
import type { Channel, ChannelKind } from "./types.ts";

export interface DeliverOptions extends Pick<AlertSettings, "mail" | "telegram"> {
  /** The host of the pool's pages, for the ids of mails. */
  readonly publicHost: string | undefined;
  /** Addresses that a stranger's URL must not lead to. */
  readonly refuse: (address: string) => boolean;
  readonly nowMs: () => number;
  readonly mailLimits?: MailLimits | undefined;
}

/** Speaks to every kind of channel. */
export interface Deliver extends AsyncDisposable {
  /** Which kinds can be used: mail needs a server, Telegram a bot. */
  readonly kinds: readonly ChannelKind[];
  /** `trusted`: the channel is the operator's own and may lie in its own network. Never throws. */
  send(
    channel: Channel,
    message: Message,
    how: { readonly trusted: boolean; readonly signal: AbortSignal },
  ): Promise<SendResult>;
}

export function openDeliver(options: DeliverOptions): Deliver {
  const { mail, telegram, publicHost, nowMs } = options;
  const mailer: Mailer | undefined = mail && openMailer(mail, options.mailLimits);
  const missing = (what: string): SendResult => ({
    ok: false,
    error: `${what} is not set up any more`,
    permanent: true,
  });
  return {
    kinds: [
      ...(mailer ? (["email"] as const) : []),
      ...(telegram ? (["telegram"] as const) : []),
      "discord",
      "ntfy",
      "webhook",
    ],
    async send(channel, message, { trusted, signal }) {
      const how = { refuse: trusted ? undefined : options.refuse, signal };
      switch (channel.kind) {
        case "email":
          return mailer ? mailer.send(channel.to, message, { publicHost, signal }) : missing("mail");
        case "discord":
          return postAndJudge(new URL(channel.url), discordBody(message), { ...how, name: "Discord" });
        case "telegram":
          if (!telegram) return missing("the Telegram bot");
          return postAndJudge(
            new URL(`/bot${telegram.token}/sendMessage`, telegram.api),
            telegramBody(channel.chat, message),
            {
              signal,
              refuse: undefined,
              name: "Telegram",
              ours: true,
              retryAfterOf: telegramRetryAfterMs,
            },
          );
        case "ntfy": {
          const target = parseNtfyUrl(channel.url);
          if (!target) return missing("the topic");
          const headers = channel.token === undefined ? {} : { authorization: `Bearer ${channel.token}` };
          return postAndJudge(target.server, ntfyBody(target.topic, message), { ...how, name: "ntfy", headers });
        }
        case "webhook": {
          const body = JSON.stringify(webhookBody(message));
          const atS = Math.floor(nowMs() / 1_000);
          return postAndJudge(new URL(channel.url), body, {
            ...how,
            name: "the webhook",
            standard: true,
            headers: {
              "webhook-id": message.id,
              "webhook-timestamp": String(atS),
              "webhook-signature": signWebhook(channel.secret, message.id, atS, body),
            },
          });
        }
      }
    },
    async [Symbol.asyncDispose]() {
      await mailer?.[Symbol.asyncDispose]();
    },
  };
}
