import http, { type IncomingMessage } from "node:http";
import https from "node:https";

export interface KeptGetOptions {
  readonly agents: { readonly "https:": https.Agent; readonly "http:": http.Agent };
  readonly userAgent: string;
  readonly signal: AbortSignal;
}

/**
 * GETs a source over a kept connection. A server closes one that was idle for long, and may do so just when it is asked
 * again: then the next connection is asked, as Go's client does, up to one that was opened for it.
 *
 * @throws what the connection says, and when `signal` fires.
 */
export async function keptGet(url: URL, { agents, userAgent, signal }: KeptGetOptions): Promise<IncomingMessage> {
  const once = (): Promise<IncomingMessage | "was closed"> =>
    new Promise((resolve, reject) => {
      const options = { signal, headers: { "user-agent": userAgent } };
      const sent =
        url.protocol === "https:"
          ? https.get(url, { ...options, agent: agents["https:"] }, resolve)
          : http.get(url, { ...options, agent: agents["http:"] }, resolve);
      sent.on("error", (error) => (sent.reusedSocket && !signal.aborted ? resolve("was closed") : reject(error)));
    });
  for (;;) {
    const answer = await once();
    if (answer !== "was closed") return answer;
  }
}
