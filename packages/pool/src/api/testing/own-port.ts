import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import type { HttpHandler } from "../http-handler.ts";

export interface OwnPort extends AsyncDisposable {
  readonly url: string;
}

/** Puts a handler on a free port of this machine, and closes both. */
export async function onOwnPort(handler: HttpHandler, scheme: "http" | "https" = "http"): Promise<OwnPort> {
  const server = createServer({ pauseOnConnect: true }, (socket) => handler.accept(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      await handler[Symbol.asyncDispose]();
      server.close();
    },
  };
}
