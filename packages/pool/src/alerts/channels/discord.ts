import type { Message } from "../message.ts";

const HOSTS = ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"];
const COLOUR: Record<Message["tone"], number> = { good: 0x2e9e5b, bad: 0xd64545, neutral: 0x5865f2 };

/** A webhook URL of Discord, which is a secret by itself; undefined: it is none. */
export function parseDiscordUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.port !== "" || !HOSTS.includes(url.hostname)) return undefined;
  return /^\/api(\/v\d+)?\/webhooks\/\d{5,25}\/[\w-]{20,120}$/.test(url.pathname) ? url : undefined;
}

/** Discord cuts nothing off: what is too long is refused. */
const cut = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);

/** The body of "Execute Webhook". Nobody is pinged, whatever a name may look like. */
export function discordBody(message: Message): object {
  const footer = message.unsubscribeUrl === undefined ? [] : [`[Unsubscribe](${message.unsubscribeUrl})`];
  const confirm = message.confirmUrl === undefined ? [] : [`[Confirm](${message.confirmUrl})`];
  const tail = [...confirm, ...footer].join(" · ");
  return {
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: cut(message.title, 256),
        description: `${cut(message.text, 3_500)}${tail === "" ? "" : `\n\n${tail}`}`,
        color: COLOUR[message.tone],
        ...(message.link === undefined ? {} : { url: message.link }),
        timestamp: new Date(message.alerts[0]?.atMs ?? 0).toISOString(),
      },
    ],
  };
}
