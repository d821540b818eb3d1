import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { Clock } from "@openpool/base";

export interface KeptGetOptions {
  readonly agents: { readonly "https:": https.Agent; readonly "http:": http.Agent };
  readonly userAgent: string;
  readonly signal: AbortSignal;
  /** A kept connection over which nothing is said for so long is given up; undefined: it is waited for. */
  readonly silence?: { readonly clock: Clock; readonly ms: number } | undefined;
}

/**
 * GETs a source over a kept connection. A server closes one that was idle for long, and may do so just when it is asked
 * again: then the next connection is asked, as Go's client does, up to one that was opened for it. A router that forgot one
 * says nothing at all, and has forgotten the others that were idle with it.
 *
 * @throws what the connection says, and when `signal` fires.
 */
export async function keptGet(url: URL, options: KeptGetOptions): Promise<IncomingMessage> {
  const { agents, userAgent, signal, silence } = options;
  const once = (): Promise<IncomingMessage | "was closed"> =>
    new Promise((resolve, reject) => {
      const request = { signal, headers: { "user-agent": userAgent } };
      const sent =
        url.protocol === "https:"
          ? https.get(url, { ...request, agent: agents["https:"] }, resolve)
          : http.get(url, { ...request, agent: agents["http:"] }, resolve);
      const giveUp = (): void => {
        for (const { freeSockets } of Object.values(agents)) {
          for (const idle of Object.values(freeSockets).flat()) idle?.destroy();
        }
        sent.destroy();
      };
      sent.once("socket", () => {
        if (!silence || !sent.reusedSocket) return;
        const forget = silence.clock.after(silence.ms, giveUp);
        sent.once("response", forget);
        sent.once("close", forget);
      });
      sent.on("error", (error) => (sent.reusedSocket && !signal.aborted ? resolve("was closed") : reject(error)));
    });
  for (;;) {
    const answer = await once();
    if (answer !== "was closed") return answer;
  }
}
