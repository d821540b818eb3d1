import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Message } from "../message.ts";

const PREFIX = "whsec_";
/** How old a signed message may be for a receiver that follows the scheme. */
const TOLERANCE_S = 300;

/** A new secret, as the Standard Webhooks scheme writes it. */
export const newWebhookSecret = (): string => `${PREFIX}${randomBytes(32).toString("base64")}`;

/** 24 to 64 bytes in base64, after `whsec_`. */
export function isWebhookSecret(text: string): boolean {
  if (!/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/.test(text)) return false;
  const { length } = Buffer.from(text.slice(PREFIX.length), "base64");
  return length >= 24 && length <= 64;
}

/** `webhook-signature`: what is signed is the id, the time in seconds and the body, with dots between. */
export function signWebhook(secret: string, id: string, atS: number, body: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), "base64");
  return `v1,${createHmac("sha256", key).update(`${id}.${atS}.${body}`).digest("base64")}`;
}

/** What a receiver does with the headers of a message: any of several signatures may be right. */
export function verifyWebhook(
  secret: string,
  headers: { readonly id: string; readonly timestamp: string; readonly signature: string },
  body: string,
  nowMs: number,
): boolean {
  const atS = Number(headers.timestamp);
  if (!Number.isInteger(atS) || Math.abs(nowMs / 1_000 - atS) > TOLERANCE_S) return false;
  const wanted = Buffer.from(signWebhook(secret, headers.id, atS, body));
  return headers.signature.split(" ").some((one) => {
    const given = Buffer.from(one);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

/** What programs get: the facts, and the words beside them. */
export function webhookBody(message: Message): object {
  const [alert] = message.alerts;
  return {
    type: `alert.${alert?.kind ?? "test"}`,
    timestamp: new Date(alert?.atMs ?? 0).toISOString(),
    data: {
      key: alert?.key,
      phase: alert?.phase,
      worker: alert?.worker,
      rig: alert?.rig,
      threshold: alert?.threshold,
      facts: alert?.data,
      title: message.title,
      text: message.text,
      link: message.link ?? null,
      ...(message.confirmUrl === undefined ? {} : { confirmUrl: message.confirmUrl }),
      ...(message.unsubscribeUrl === undefined ? {} : { unsubscribeUrl: message.unsubscribeUrl }),
    },
  };
}
