import { createHmac, timingSafeEqual } from "node:crypto";

/** What a link in a message does. */
export type LinkAction = "confirm" | "unsubscribe";

const mac = (key: string, action: LinkAction, id: string): Buffer =>
  createHmac("sha256", key).update(`${action} ${id}`).digest();

/** `<id>.<signature>`: made anew for every message, so that nothing has to be kept for it. */
export const linkToken = (key: string, action: LinkAction, id: string): string =>
  `${id}.${mac(key, action, id).toString("base64url")}`;

/** The subscription that a token is for; undefined: it was not made by us for this. */
export function readLinkToken(key: string, action: LinkAction, token: string): string | undefined {
  const [, id, signature] = /^([0-9a-f-]{36})\.([\w-]{43})$/.exec(token) ?? [];
  if (id === undefined || signature === undefined) return undefined;
  const given = Buffer.from(signature, "base64url");
  const wanted = mac(key, action, id);
  return given.length === wanted.length && timingSafeEqual(given, wanted) ? id : undefined;
}
