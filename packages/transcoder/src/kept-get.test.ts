import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { keptGet } from "./kept-get.ts";

test("a connection that its server closes when it is asked again is no failure; a new one that is closed is", async () => {
  const agents = { "https:": new https.Agent(), "http:": new http.Agent({ keepAlive: true, maxSockets: 1 }) };
  const seen = new Map<object, number>();
  let closeNew = false;
  const server = http.createServer((request, response) => {
    const before = seen.get(request.socket) ?? 0;
    seen.set(request.socket, before + 1);
    if (before > 0 || closeNew) request.socket.destroy();
    else response.end("a source");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // Nobody but the test closes a connection, however long the machine stands still.
  server.keepAliveTimeout = 60_000;
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const get = async (): Promise<number | undefined> => {
    const answer = await keptGet(url, {
      agents,
      userAgent: "test",
      signal: AbortSignal.timeout(20_000),
      clock: systemClock,
    });
    for await (const _ of answer) {
      // Read to its end, so that the connection is kept.
    }
    return answer.statusCode;
  };
  try {
    for (let i = 0; i < 3; i++) expect(await get()).toBe(200);
    expect([...seen.values()]).toEqual([2, 2, 1]);
    closeNew = true;
    await expect(get()).rejects.toThrow("socket hang up");
  } finally {
    agents["http:"].destroy();
    server.close();
  }
});
