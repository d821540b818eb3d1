import { isIP } from "node:net";
import { errorCode, errorText } from "@openpool/base";
import { createTransport } from "nodemailer";
import { isPrivateAddress } from "../../outbound/private-address.ts";
import type { Message } from "../message.ts";
import type { SendResult } from "./post.ts";

export interface MailSettings {
  /** `smtp://` or `smtps://`, with user and password. */
  readonly url: string;
  /** `Name <address>`. */
  readonly from: string;
}

export interface Mailer extends AsyncDisposable {
  send(to: string, message: Message, publicHost: string | undefined): Promise<SendResult>;
}

const TIMEOUT_MS = 20_000;

/** One plain address: no list, no name, no quoted tricks. */
export const isMailAddress = (text: string): boolean =>
  text.length <= 254 && /^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$/.test(text);

/** A password leaves this network encrypted or not at all: such an `smtp:` server must offer STARTTLS, `smtps:` is TLS anyway. */
export function mustUpgrade(url: string): boolean {
  const { protocol, username, hostname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const near = host === "localhost" || (isIP(host) > 0 && isPrivateAddress(host));
  return protocol === "smtp:" && username !== "" && !near;
}

/** Speaks SMTP to one server. Its certificate is checked. */
export function openMailer({ url, from }: MailSettings): Mailer {
  const transport = createTransport({
    url,
    pool: true,
    maxConnections: 2,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    ...(mustUpgrade(url) ? { requireTLS: true } : {}),
    // Nothing in a message of ours names a file or a URL to attach.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send(to, message, publicHost) {
      const tail = [
        message.link === undefined ? "" : `More: ${message.link}`,
        message.confirmUrl === undefined ? "" : `Confirm: ${message.confirmUrl}`,
        message.unsubscribeUrl === undefined ? "" : `Unsubscribe: ${message.unsubscribeUrl}`,
      ].filter((line) => line !== "");
      try {
        await transport.sendMail({
          from,
          to: { name: "", address: to },
          subject: message.title,
          text: `${message.text}\n\n${tail.join("\n")}\n`,
          // The same over retries: a mail server that has it already can tell.
          messageId: `<${message.id}@${publicHost ?? "openpool.invalid"}>`,
          headers: {
            "Auto-Submitted": "auto-generated",
            ...(message.unsubscribeUrl === undefined
              ? {}
              : {
                  "List-Unsubscribe": { prepared: true, value: `<${message.unsubscribeUrl}>` },
                  "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                }),
          },
        });
        return { ok: true };
      } catch (error) {
        const code = responseCode(error);
        const name = code === undefined ? (errorCode(error) ?? errorText(error)) : `the mail server answered ${code}`;
        // A login that fails is the operator's to correct, and may be right tomorrow.
        const permanent = code !== undefined && code >= 500 && errorCode(error) !== "EAUTH";
        return { ok: false, error: name.slice(0, 200), permanent };
      }
    },
    async [Symbol.asyncDispose]() {
      transport.close();
    },
  };
}

function responseCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("responseCode" in error)) return undefined;
  return typeof error.responseCode === "number" ? error.responseCode : undefined;
}
