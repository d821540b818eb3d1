import type { Message } from "../message.ts";
import { cutToUnits } from "./cut.ts";

const MAX_TEXT = 4_096;

/** The number of a chat, or the name of a public channel. */
export const isTelegramChat = (text: string): boolean => /^(-?\d{1,20}|@[A-Za-z]\w{4,31})$/.test(text);

/** The body of `sendMessage`: plain text, so that nothing in it can be markup. */
export function telegramBody(chat: string, message: Message): object {
  const tail = [
    message.link === undefined ? "" : message.link,
    message.confirmUrl === undefined ? "" : `Confirm: ${message.confirmUrl}`,
    message.unsubscribeUrl === undefined ? "" : `Unsubscribe: ${message.unsubscribeUrl}`,
  ].filter((line) => line !== "");
  const end = tail.length === 0 ? "" : `\n\n${tail.join("\n")}`;
  const text = `${message.title}\n\n${message.text}`;
  return {
    chat_id: chat,
    text: `${cutToUnits(text, MAX_TEXT - end.length)}${end}`,
    link_preview_options: { is_disabled: true },
    disable_notification: !message.urgent && message.tone !== "bad",
  };
}

/** Telegram says in the body how long to wait. */
export function telegramRetryAfterMs(body: string): number | undefined {
  const seconds = /"retry_after"\s*:\s*(\d{1,6})/.exec(body)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1_000;
}
