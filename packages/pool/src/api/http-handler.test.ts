import { once } from "node:events";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { problemSchema } from "@openpool/protocol";
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

test("who sends what is no request reads so, however much it still sends", async () => {
  const app = fastify({ logger: false });
  const handler = await openHttpHandler(app, () => app.close());
  const server = net.createServer({ pauseOnConnect: true }, (socket) => handler.accept(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = net.connect({ port, host: "127.0.0.1" });
  try {
    // The answer comes long before the last of it has left.
    socket.write(`GET /${"x".repeat(16_000_000)} HTTP/1.1\r\nHost: pool\r\n\r\n`);
    const heard = (await socket.toArray()).join("");
    expect(heard).toMatch(/^HTTP\/1\.1 431 /);
    expect(problemSchema.parse(JSON.parse(heard.slice(heard.indexOf("{"))))).toMatchObject({
      type: "/v1/problems#api/unreadable",
      status: 431,
      code: "api/unreadable",
    });
  } finally {
    socket.destroy();
    server.close();
    await handler[Symbol.asyncDispose]();
  }
});
