import { z } from "zod";
import { type HttpSink, openHttpSink, type SinkAnswer, type Taken } from "./http-sink.ts";

/** A service on this machine: it takes what its API describes, refuses the rest as the API says, and can be busy. */
export interface ServiceSink extends HttpSink {
  /** From now on it asks to wait so many seconds; undefined: no longer. */
  askToWait(seconds: number | undefined): void;
  /** What it took. */
  readonly accepted: readonly Taken[];
}

async function openService(
  answerTo: (taken: Taken) => SinkAnswer,
  busyAnswer: (seconds: number) => SinkAnswer,
): Promise<ServiceSink> {
  const accepted: Taken[] = [];
  let busyS: number | undefined;
  const sink = await openHttpSink((taken) => {
    if (busyS !== undefined) return busyAnswer(busyS);
    const answer = answerTo(taken);
    if (answer.status < 300) accepted.push(taken);
    return answer;
  });
  return Object.assign(sink, { accepted, askToWait: (seconds: number | undefined) => void (busyS = seconds) });
}

const json = (status: number, body: object, headers: Readonly<Record<string, string>> = {}): SinkAnswer => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body),
});

/** The body of a request that is JSON, and says so. */
function bodyOf({ headers, body }: Taken): unknown {
  if (!/^application\/json\b/.test(headers["content-type"] ?? "")) return undefined;
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

const httpUrl = z.string().regex(/^https?:\/\/[^\s]+$/);
/** Halves of letters are none. */
const text = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((value) => !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])/.test(value));

/** Of an embed: the limits that Discord's documentation gives. */
const embedSchema = z.strictObject({
  title: text(256),
  description: text(4_096),
  url: httpUrl.optional(),
  color: z.int().min(0).max(0xffffff),
  timestamp: z.iso.datetime(),
});
const discordSchema = z.strictObject({
  allowed_mentions: z.strictObject({ parse: z.array(z.enum(["roles", "users", "everyone"])) }),
  embeds: z
    .array(embedSchema)
    .min(1)
    .max(10)
    .refine((all) => all.reduce((sum, { title, description }) => sum + title.length + description.length, 0) <= 6_000),
});
export const DISCORD_WEBHOOK = "/api/v10/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz_0123456789";

/** Discord's "Execute Webhook": nothing to say where it took a message, its own codes where it did not. */
export function openDiscord(): Promise<ServiceSink> {
  return openService(
    (taken) => {
      if (taken.method !== "POST" || taken.path.split("?")[0] !== DISCORD_WEBHOOK) {
        return json(404, { message: "Unknown Webhook", code: 10_015 });
      }
      if (discordSchema.safeParse(bodyOf(taken)).success) return { status: 204 };
      return json(400, { message: "Invalid Form Body", code: 50_035, errors: {} });
    },
    (seconds) =>
      json(
        429,
        { message: "You are being rate limited.", retry_after: seconds - 0.36, global: false },
        { "retry-after": String(seconds) },
      ),
  );
}

const NTFY_MESSAGE_BYTES = 4_096;
const ntfySchema = z.object({
  topic: z.string().regex(/^[-_A-Za-z0-9]{1,64}$/),
  sequence_id: z.string().regex(/^[-_A-Za-z0-9]{1,64}$/),
  title: text(1_024).refine((value) => Buffer.byteLength(value) <= 1_024),
  message: text(NTFY_MESSAGE_BYTES).refine((value) => Buffer.byteLength(value) <= NTFY_MESSAGE_BYTES),
  priority: z.int().min(1).max(5),
  tags: z.array(z.string()),
  click: httpUrl.optional(),
  actions: z
    .array(z.strictObject({ action: z.literal("view"), label: text(100), url: httpUrl }))
    .max(3)
    .optional(),
});
export const NTFY_TOKEN = "tk_agqdq7mvbowed21lnsclsmvsb2xp1";
/** This topic wants {@link NTFY_TOKEN}; every other one is open to all. */
export const NTFY_CLOSED_TOPIC = "closed";

/** ntfy, where JSON is published to the root. */
export function openNtfy(): Promise<ServiceSink> {
  const refuse = (http: number, code: number, error: string): SinkAnswer => json(http, { code, http, error });
  return openService(
    (taken) => {
      if (taken.method !== "POST" || taken.path !== "/") return refuse(404, 40_401, "page not found");
      if (Buffer.byteLength(taken.body) > 2 * NTFY_MESSAGE_BYTES) return refuse(413, 41_303, "body too large");
      const published = ntfySchema.safeParse(bodyOf(taken));
      if (!published.success) return refuse(400, 40_024, "invalid request: request body must be valid JSON");
      const allowed = taken.headers.authorization === `Bearer ${NTFY_TOKEN}`;
      if (taken.headers.authorization !== undefined && !allowed) return refuse(401, 40_101, "unauthorized");
      if (published.data.topic === NTFY_CLOSED_TOPIC && !allowed) return refuse(403, 40_301, "forbidden");
      return json(200, { id: "hwQ2YpKdmg", time: 1_635_528_741, event: "message", ...published.data });
    },
    () => refuse(429, 42_901, "limit reached: too many requests"),
  );
}

const telegramSchema = z.object({
  chat_id: z.union([z.string(), z.number()]),
  text: text(4_096),
  link_preview_options: z.strictObject({ is_disabled: z.boolean() }),
  disable_notification: z.boolean(),
});
export const TELEGRAM_TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
/** The bot knows this chat. */
export const TELEGRAM_CHAT = "-1001234567890";
/** Whose owner blocked the bot. */
export const TELEGRAM_BLOCKED = "42";

/** Telegram's Bot API, of which `sendMessage` is all that is used. */
export function openTelegram(): Promise<ServiceSink> {
  const refuse = (error_code: number, description: string, more: object = {}): SinkAnswer =>
    json(error_code, { ok: false, error_code, description, ...more });
  return openService(
    (taken) => {
      const [, token, method] = /^\/bot([^/]+)\/(\w+)$/.exec(taken.path) ?? [];
      if (token !== TELEGRAM_TOKEN) return refuse(token === undefined ? 404 : 401, "Unauthorized");
      if (method !== "sendMessage") return refuse(404, "Not Found");
      const sent = telegramSchema.safeParse(bodyOf(taken));
      if (!sent.success) return refuse(400, "Bad Request: message text is empty");
      const chat = String(sent.data.chat_id);
      if (chat === TELEGRAM_BLOCKED) return refuse(403, "Forbidden: bot was blocked by the user");
      if (chat !== TELEGRAM_CHAT) return refuse(400, "Bad Request: chat not found");
      return json(200, { ok: true, result: { message_id: 1, date: 1_635_528_741, text: sent.data.text } });
    },
    (seconds) => refuse(429, `Too Many Requests: retry after ${seconds}`, { parameters: { retry_after: seconds } }),
  );
}
