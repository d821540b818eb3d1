import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { Clock } from "@openpool/base";

export interface KeptGetOptions {
  readonly agents: { readonly "https:": https.Agent; readonly "http:": http.Agent };
  readonly userAgent: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** Who is there begins to answer sooner, nearly always. */
const SILENT_MS = 1_000;

/**
 * GETs a source over a kept connection. A server closes one that was idle for long, and may do so just when it is asked
 * again: then the next connection is asked, as Go's client does, up to one that was opened for it. A kept connection that says
 * nothing for a second may be dead, as all others are when a machine died without a word: they are dropped, and it is asked over a
 * new one. To be asked twice is no harm.
 *
 * @throws what the connection says, and when `signal` fires.
 */
export async function keptGet(
  url: URL,
  { agents, userAgent, signal, clock }: KeptGetOptions,
): Promise<IncomingMessage> {
  const agent = agents[url.protocol === "https:" ? "https:" : "http:"];
  const once = (): Promise<IncomingMessage | "was closed"> =>
    new Promise((resolve, reject) => {
      const options = { signal, headers: { "user-agent": userAgent } };
      const sent =
        url.protocol === "https:"
          ? https.get(url, { ...options, agent: agents["https:"] }, resolve)
          : http.get(url, { ...options, agent: agents["http:"] }, resolve);
      let heard = false;
      const drop = (): void => {
        if (heard) return;
        for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
        sent.destroy(new Error("a kept connection is silent"));
      };
      // Where the second passed because this process stood still, the answer lies in the socket: what has arrived is read first.
      const cancel = clock.after(SILENT_MS, () => {
        if (sent.reusedSocket) setImmediate(() => setImmediate(drop));
      });
      const forget = (): void => {
        heard = true;
        cancel();
      };
      sent.once("response", forget);
      sent.once("close", forget);
      sent.on("error", (error) => (sent.reusedSocket && !signal.aborted ? resolve("was closed") : reject(error)));
    });
  for (;;) {
    const answer = await once();
    if (answer !== "was closed") return answer;
  }
}
