import { once } from "node:events";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import fastify from "fastify";
import { expect, test } from "vitest";
import { openHttpHandler } from "./http-handler.ts";

test("who leaves answers each kept connection once more, and closes it with that", async () => {
  const app = fastify({ logger: false });
  app.get("/", () => "here");
  const handler = await openHttpHandler(app, () => app.close());
  const server = net.createServer({ pauseOnConnect: true }, (socket) => handler.accept(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const { port } = server.address() as AddressInfo;
  const ask = async (): Promise<string | undefined> => {
    const request = http.get({ agent, host: "127.0.0.1", port });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    const body = (await response.toArray()).join("");
    expect([response.statusCode, body]).toEqual([200, "here"]);
    return response.headers.connection;
  };
  try {
    expect(await ask()).toBe("keep-alive");
    expect(await ask()).toBe("keep-alive");
    handler.leave();
    expect(await ask()).toBe("close");
  } finally {
    agent.destroy();
    server.close();
    await handler[Symbol.asyncDispose]();
  }
});
