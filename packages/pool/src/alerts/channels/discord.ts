import type { Message } from "../message.ts";
import { cutToUnits } from "./cut.ts";

const HOSTS = ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"];
const COLOUR: Record<Message["tone"], number> = { good: 0x2e9e5b, bad: 0xd64545, neutral: 0x5865f2 };

/**
 * A webhook URL of Discord, which is a secret by itself; undefined: it is none. It names the version of the API that is
 * spoken here: without one Discord takes the oldest that it has, where waits are in milliseconds.
 */
export function parseDiscordUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.port !== "" || !HOSTS.includes(url.hostname)) return undefined;
  const webhook = /^\/api(?:\/v\d+)?(\/webhooks\/\d{5,25}\/[\w-]{20,120})$/.exec(url.pathname)?.[1];
  if (webhook === undefined) return undefined;
  url.pathname = `/api/v10${webhook}`;
  return url;
}

/** The body of "Execute Webhook". Nobody is pinged, whatever a name may look like. What is too long would be refused. */
export function discordBody(message: Message): object {
  const footer = message.unsubscribeUrl === undefined ? [] : [`[Unsubscribe](${message.unsubscribeUrl})`];
  const confirm = message.confirmUrl === undefined ? [] : [`[Confirm](${message.confirmUrl})`];
  const tail = [...confirm, ...footer].join(" · ");
  return {
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: cutToUnits(message.title, 256),
        description: `${cutToUnits(message.text, 3_500)}${tail === "" ? "" : `\n\n${tail}`}`,
        color: COLOUR[message.tone],
        ...(message.link === undefined ? {} : { url: message.link }),
        timestamp: new Date(message.alerts[0]?.atMs ?? 0).toISOString(),
      },
    ],
  };
}
