import type { Message } from "../message.ts";
import { cutToBytes } from "./cut.ts";

/** A server takes 1 KiB of title and 4 KiB of message, and twice as much JSON: escaping must not fill that either. */
const MAX_TITLE_BYTES = 250;
const MAX_MESSAGE_BYTES = 3_000;

/** `https://ntfy.sh/TOPIC` on any server; undefined: it is none. */
export function parseNtfyUrl(text: string): { readonly server: URL; readonly topic: string } | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "" || url.hash !== "") {
    return undefined;
  }
  const topic = /^\/([\w-]{1,64})$/.exec(url.pathname)?.[1];
  return topic === undefined ? undefined : { server: new URL("/", url), topic };
}

/**
 * Published as JSON to the root: headers could not hold every letter. The message's id makes of one that comes a second
 * time the same notification, where the server knows that (2.16 and later).
 */
export function ntfyBody(topic: string, message: Message): object {
  const actions = [
    ...(message.confirmUrl === undefined ? [] : [{ action: "view", label: "Confirm", url: message.confirmUrl }]),
    ...(message.unsubscribeUrl === undefined
      ? []
      : [{ action: "view", label: "Unsubscribe", url: message.unsubscribeUrl }]),
  ];
  return {
    topic,
    sequence_id: message.id,
    title: cutToBytes(message.title, MAX_TITLE_BYTES),
    message: cutToBytes(message.text, MAX_MESSAGE_BYTES),
    priority: message.urgent ? 5 : message.tone === "bad" ? 4 : 3,
    tags: [message.tone === "good" ? "white_check_mark" : message.tone === "bad" ? "warning" : "information_source"],
    ...(message.link === undefined ? {} : { click: message.link }),
    ...(actions.length === 0 ? {} : { actions }),
  };
}
