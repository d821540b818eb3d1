import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { type Clock, systemClock } from "@openpool/base";
import { expect, test, vi } from "vitest";
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

test("a kept connection that says nothing for a second is dropped with all others, and a new one is asked; a new one has its time", async () => {
  const agents = { "https:": new https.Agent(), "http:": new http.Agent({ keepAlive: true }) };
  const seen = new Set<object>();
  const gates: (() => void)[] = [];
  const server = http.createServer((request, response) => {
    // Who forgot a connection says nothing on it.
    if (seen.has(request.socket)) return;
    seen.add(request.socket);
    gates.push(() => response.end("a source"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  let seconds: (() => void)[] = [];
  const after: Clock["after"] = (_delayMs, callback) => {
    seconds.push(callback);
    return () => void (seconds = seconds.filter((one) => one !== callback));
  };
  const get = async (): Promise<void> => {
    const options = {
      agents,
      userAgent: "test",
      signal: AbortSignal.timeout(20_000),
      clock: { ...systemClock, after },
    };
    for await (const _ of await keptGet(url, options)) {
      // Read to its end, so that the connection is kept.
    }
  };
  const open = async (count: number): Promise<void> => {
    await vi.waitFor(() => expect(gates).toHaveLength(count), 10_000);
    // A new connection is waited for, however long it takes.
    for (const second of seconds) second();
    for (const gate of gates.splice(0)) gate();
  };
  try {
    const both = [get(), get()];
    await open(2);
    await Promise.all(both);
    const again = get();
    for (const second of seconds) second();
    await open(1);
    await again;
    expect(seen.size).toBe(3);
    expect(seconds).toEqual([]);
  } finally {
    agents["http:"].destroy();
    server.closeAllConnections();
    server.close();
  }
});

test("an answer that has arrived when the second is over, as after a standstill, is read and not asked for again", async () => {
  const agents = { "https:": new https.Agent(), "http:": new http.Agent({ keepAlive: true }) };
  const seconds = new Set<() => void>();
  const sockets = new Set<object>();
  let asked = 0;
  const server = http.createServer((request, response) => {
    asked++;
    sockets.add(request.socket);
    // The answer is written at once, and the client has not looked since.
    response.end("a source");
    for (const second of seconds) second();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.keepAliveTimeout = 60_000;
  const after: Clock["after"] = (_delayMs, callback) => {
    seconds.add(callback);
    return () => void seconds.delete(callback);
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const options = {
    agents,
    userAgent: "test",
    signal: AbortSignal.timeout(20_000),
    clock: { ...systemClock, after },
  };
  try {
    for (let i = 0; i < 3; i++) {
      for await (const _ of await keptGet(url, options)) {
        // Read to its end, so that the connection is kept.
      }
    }
    expect([asked, sockets.size]).toEqual([3, 1]);
  } finally {
    agents["http:"].destroy();
    server.close();
  }
});
