import type { Message } from "../message.ts";

/** `https://ntfy.sh/TOPIC` on any server; undefined: it is none. */
export function parseNtfyUrl(text: string): { readonly server: URL; readonly topic: string } | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "" || url.hash !== "") {
    return undefined;
  }
  const topic = /^\/([\w-]{1,64})$/.exec(url.pathname)?.[1];
  return topic === undefined ? undefined : { server: new URL("/", url), topic };
}

/** Published as JSON to the root: headers could not hold every letter. */
export function ntfyBody(topic: string, message: Message): object {
  const actions = [
    ...(message.confirmUrl === undefined ? [] : [{ action: "view", label: "Confirm", url: message.confirmUrl }]),
    ...(message.unsubscribeUrl === undefined
      ? []
      : [{ action: "view", label: "Unsubscribe", url: message.unsubscribeUrl }]),
  ];
  return {
    topic,
    title: message.title.slice(0, 200),
    message: message.text.slice(0, 3_500),
    priority: message.urgent ? 5 : message.tone === "bad" ? 4 : 3,
    tags: [message.tone === "good" ? "white_check_mark" : message.tone === "bad" ? "warning" : "information_source"],
    ...(message.link === undefined ? {} : { click: message.link }),
    ...(actions.length === 0 ? {} : { actions }),
  };
}
