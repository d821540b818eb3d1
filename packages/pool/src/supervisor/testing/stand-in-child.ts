import http from "node:http";
import process from "node:process";
import { systemClock } from "@openpool/base";
import { type Channel, runPoolChild } from "../child.ts";
import { relayExchange } from "../relay.ts";
import { exchangeOfRequest } from "../../front/exchange.ts";
import type { StartNode } from "../types.ts";

/**
 * A pool process with the smallest node that has everything the supervisor minds: it answers HTTP on both ports, keeps
 * things that only it has, hands on what is another's, and drains. How it misbehaves is asked for in its requests, or, for
 * its start, by what its options hold in `serviceUri`.
 */
const startNode: StartNode = async (options, deps) => {
  const { generation, relay, spool, logger } = deps;
  const uri = new URL(options.serviceUri);
  if (uri.hostname === "fails.example")
    throw Object.assign(new Error("cannot start like this"), { code: "test/told-to" });
  if (uri.hostname === "hangs.example") await new Promise(() => {});
  if (uri.hostname === "dies.example") process.kill(process.pid, "SIGKILL");
  let draining = false;
  let underWay = 0;
  let idle = (): void => {};

  const serve = (request: http.IncomingMessage, response: http.ServerResponse, relayed: boolean): void => {
    underWay++;
    response.once("close", () => {
      if (--underWay === 0 && draining) idle();
    });
    response.setHeader("connection", "close");
    const url = new URL(request.url ?? "/", "http://pool");
    const owner = Number(url.searchParams.get("owner") ?? generation);
    if (owner !== generation && !relayed) {
      void relayExchange(relay, owner, exchangeOfRequest(request, response)).then(async (outcome) => {
        if (outcome === "answered") return;
        const kept = await spool.find(owner, url.pathname);
        if (kept) response.writeHead(200, { "content-type": kept.contentType }).end(kept.data);
        else response.writeHead(404).end(outcome);
      });
      return;
    }
    switch (url.pathname) {
      case "/slow":
        return void setTimeout(() => response.end(`${generation} ${process.pid}`), Number(url.searchParams.get("ms")));
      case "/keep":
        spool.put("one", [{ path: "/kept", contentType: "video/mp2t", data: Buffer.from("kept bytes") }], () => {});
        return void response.end("kept");
      case "/die":
        return void process.kill(process.pid, "SIGKILL");
      case "/hang":
        for (;;);
      case "/echo":
        response.flushHeaders();
        return void request.pipe(response);
      case "/log":
        logger.warn("said something", { wei: 10n ** 20n, error: new Error("with a stack") });
        return void response.end();
      default:
        return void response.end(`${generation} ${process.pid}${draining ? " draining" : ""}`);
    }
  };
  const server = http.createServer((request, response) => serve(request, response, false));
  server.emit("listening");
  relay.serve((request, response) => serve(request, response, true));
  return {
    acceptPublic(socket) {
      server.emit("connection", socket);
      socket.resume();
    },
    acceptAdmin(socket) {
      server.emit("connection", socket);
      socket.resume();
    },
    acceptApi(socket) {
      server.emit("connection", socket);
      socket.resume();
    },
    announce() {
      logger.info("announced");
      return Promise.resolve();
    },
    async drain(signal) {
      draining = true;
      if (underWay > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
    },
  };
};

for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(signal, () => {});
process.exit(
  await runPoolChild({
    channel: process as Channel,
    clock: systemClock,
    startNode,
    writeError: (text) => void process.stderr.write(text),
  }),
);
