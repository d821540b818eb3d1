import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import { errorCode, errorText } from "@openpool/base";
import { guardedLookup } from "../../outbound/public-lookup.ts";

/** What came of a try. `permanent`: trying again changes nothing. */
export type SendResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      /** For the operator; holds no secret and no text of a stranger's server. */
      readonly error: string;
      readonly permanent: boolean;
      /** It was not even begun: it counts as no try. */
      readonly untried?: boolean;
      /** The other side says that it is not there any more: no message should come again. */
      readonly gone?: boolean;
      readonly retryAfterMs?: number | undefined;
    };

export interface PostOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Which addresses must not be reached; undefined: all may be, for URLs of the operator's own. */
  readonly refuse: ((address: string) => boolean) | undefined;
  readonly signal: AbortSignal;
}

export interface PostAnswer {
  readonly status: number;
  /** The first bytes of the answer. */
  readonly body: string;
  readonly retryAfterMs: number | undefined;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 16_384;
const MAX_RETRY_AFTER_MS = 6 * 3_600_000;

/**
 * Posts JSON. Redirects are not followed: they could lead anywhere. With `refuse` the addresses of a name are checked at
 * the moment of connecting, so that a name cannot change between the check and the use.
 */
export async function postJson(url: URL, body: string, options: PostOptions): Promise<PostAnswer> {
  const { refuse } = options;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (refuse && isIP(host) && refuse(host)) {
    throw Object.assign(new Error(`${host} is no public address`), { code: "EACCES" });
  }
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(url, {
      method: "POST",
      signal,
      // A connection of its own: one that is kept would bring no lookup.
      agent: false,
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "user-agent": "openpool",
        ...options.headers,
      },
      ...(refuse ? { lookup: guardedLookup(refuse) } : {}),
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= MAX_ANSWER_BYTES) chunks.push(chunk);
        else response.destroy();
      });
      response.on("error", () => {});
      response.on("close", () => {
        if (signal.aborted && !response.complete) return reject(new Error("the answer did not come in time"));
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({
          status: response.statusCode ?? 0,
          body: text,
          retryAfterMs: retryAfter(response.headers["retry-after"]),
        });
      });
    });
    request.end(body);
  });
}

function retryAfter(header: string | undefined): number | undefined {
  const seconds = Number(header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0
    ? Math.min(seconds * 1_000, MAX_RETRY_AFTER_MS)
    : undefined;
}

/**
 * Posts, and makes of the status what follows from it: 2xx is taken, 429 and 5xx are tried again, the rest is not. With
 * `ours` an answer of 401 or 404 says that our own settings are wrong, as Telegram's does of a bot's token: the operator
 * will correct them, and nobody's subscription ends. With `standard` everything is tried again but 410, as Standard Webhooks
 * has it: a server that is being changed says 404 for a while.
 */
export async function postAndJudge(
  url: URL,
  body: unknown,
  options: PostOptions & {
    readonly name: string;
    readonly retryAfterOf?: (body: string) => number | undefined;
    readonly ours?: boolean;
    readonly standard?: boolean;
  },
): Promise<SendResult> {
  let answer: PostAnswer;
  try {
    answer = await postJson(url, typeof body === "string" ? body : JSON.stringify(body), options);
  } catch (error) {
    const code = errorCode(error);
    // The address may be private only by mistake and for a while, yet it is the owner's to correct.
    const permanent = code === "EACCES" || code === "ERR_INVALID_URL";
    return { ok: false, error: `${options.name}: ${code ?? errorText(error)}`.slice(0, 200), permanent };
  }
  const { status } = answer;
  if (status >= 200 && status < 300) return { ok: true };
  const ours = options.ours === true && (status === 401 || status === 404);
  const standard = options.standard === true && status !== 410;
  const later = standard || ours || status === 429 || status === 408 || status === 425 || status >= 500;
  return {
    ok: false,
    error: `${options.name} answered ${status}`,
    permanent: !later,
    gone: !later && (status === 410 || status === 404),
    retryAfterMs: answer.retryAfterMs ?? options.retryAfterOf?.(answer.body),
  };
}
