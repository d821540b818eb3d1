import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { refuseUnreadable } from "../front/unreadable.ts";
import { problemOf } from "./public/problem.ts";

/** Serves HTTP on connections that something else accepts: listening sockets outlive the process that answers on them. */
export interface HttpHandler extends AsyncDisposable {
  /** Nothing may have been read from the connection. */
  accept(socket: Socket): void;
  /** From now on each answer is the last one on its connection: the next request belongs to another process. */
  leave(): void;
}

/** `close` ends the app, and with it whoever still reads from it. */
export async function openHttpHandler<App extends FastifyInstance<Server>>(
  app: App,
  close: () => Promise<void>,
): Promise<HttpHandler> {
  await app.ready();
  // Without it Node enforces no timeouts on a server that never listens.
  app.server.emit("listening");
  // In place of Fastify's, which closes while a long request still comes in: its sender would see a reset.
  const problem = (status: number, detail: string): object => ({ ...problemOf("api/unreadable", detail), status });
  app.server.removeAllListeners("clientError").on("clientError", refuseUnreadable({ problem }));
  let leaving = false;
  // Answered and then closed: closing an idle connection could meet a request halfway.
  app.server.prependListener("request", (_, response) => {
    if (leaving) response.shouldKeepAlive = false;
  });
  return {
    accept(socket) {
      // A server that accepts by itself does so: without it an answer of several writes waits 40 ms for an acknowledgement.
      socket.setNoDelay(true);
      app.server.emit("connection", socket);
      socket.resume();
    },
    leave() {
      leaving = true;
    },
    async [Symbol.asyncDispose]() {
      // Fastify closes what it listens on itself and nothing else. The order makes readers of events end by themselves.
      const closed = close();
      app.server.close(() => {});
      app.server.closeAllConnections();
      await closed;
    },
  };
}
