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
  /** One after the other on two connections. What does not get its turn in time is not sent, and comes again. */
  send(
    to: string,
    message: Message,
    how: { readonly publicHost: string | undefined; readonly signal: AbortSignal },
  ): Promise<SendResult>;
}

export interface MailLimits {
  /** How long the server may be silent. */
  readonly timeoutMs: number;
  /** How long a mail waits for its turn, and how long it takes at most: together well within what the outbox lends it for. */
  readonly turnMs: number;
  readonly mailMs: number;
}

const CONNECTIONS = 2;
const LIMITS: MailLimits = { timeoutMs: 20_000, turnMs: 20_000, mailMs: 40_000 };

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
export function openMailer({ url, from }: MailSettings, { timeoutMs, turnMs, mailMs }: MailLimits = LIMITS): Mailer {
  const transport = createTransport({
    url,
    pool: true,
    maxConnections: CONNECTIONS,
    // A mail whose connection broke may have arrived: only the outbox sends it again.
    maxRequeues: 0,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    ...(mustUpgrade(url) ? { requireTLS: true } : {}),
    // Nothing in a message of ours names a file or a URL to attach.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const turns = new Turns(CONNECTIONS);
  return {
    async send(to, message, { publicHost, signal }) {
      if (!(await turns.take(AbortSignal.any([signal, AbortSignal.timeout(turnMs)])))) {
        return { ok: false, error: "the mail server is busy", permanent: false, untried: true };
      }
      const tail = [
        message.link === undefined ? "" : `More: ${message.link}`,
        message.confirmUrl === undefined ? "" : `Confirm: ${message.confirmUrl}`,
        message.unsubscribeUrl === undefined ? "" : `Unsubscribe: ${message.unsubscribeUrl}`,
      ].filter((line) => line !== "");
      try {
        await transport.sendMail({
          signal: AbortSignal.any([signal, AbortSignal.timeout(mailMs)]),
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
      } finally {
        turns.giveBack();
      }
    },
    async [Symbol.asyncDispose]() {
      transport.close();
    },
  };
}

/** At most so many at a time; the others wait, first come, first served. */
class Turns {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(free: number) {
    this.#free = free;
  }

  /** False: `signal` aborted before. Otherwise it is to be given back. */
  async take(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.#free > 0) {
      this.#free--;
      return true;
    }
    return new Promise((resolve) => {
      const over = (mine: boolean): void => {
        this.#waiting.delete(turn);
        signal.removeEventListener("abort", late);
        resolve(mine);
      };
      const turn = (): void => over(true);
      const late = (): void => over(false);
      this.#waiting.add(turn);
      signal.addEventListener("abort", late);
    });
  }

  giveBack(): void {
    const [next] = this.#waiting;
    if (next) next();
    else this.#free++;
  }
}

function responseCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("responseCode" in error)) return undefined;
  return typeof error.responseCode === "number" ? error.responseCode : undefined;
}
