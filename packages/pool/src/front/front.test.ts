import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@openpool/base";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { loadTlsIdentity, type TlsIdentity } from "./certificate.ts";
import type { Exchange } from "./exchange.ts";
import { defaultFrontLimits, type Front, type FrontOptions, openFront } from "./front.ts";
import { answerGrpc, readGrpcRequest } from "./grpc.ts";

let dataDir: string;
let identity: TlsIdentity;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "openpool-front-"));
  identity = await loadTlsIdentity(
    { dataDir, tlsCertFile: undefined, tlsKeyFile: undefined, host: "127.0.0.1" },
    Date.now(),
  );
});
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

/** Limits as short as a test can wait for: only for what is to be given up, since the machine may stand still for longer. */
const SHORT = { headersMs: 100, requestMs: 200, idleMs: 200, lookMs: 50 };

/** Waits as long as other tests may have the machine. */
const until = (condition: () => boolean): Promise<boolean> => vi.waitUntil(condition, { timeout: 20_000 });

async function open(
  options: Partial<FrontOptions> = {},
  http: (exchange: Exchange) => void = (exchange) => exchange.answer(200, {}, "here"),
): Promise<{ front: Front; port: number }> {
  const front = openFront(
    { identity, maxConnections: 100, maxConnectionsPerAddress: 100, ...options },
    {
      grpc: (stream) => void readGrpcRequest(stream).then((message) => message && answerGrpc(stream, message)),
      http,
    },
    { logger: silentLogger },
  );
  const server = net.createServer({ pauseOnConnect: true }, (socket) => front.accept(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    server.close();
    await front[Symbol.asyncDispose]();
  });
  const address = server.address();
  return { front, port: typeof address === "object" && address ? address.port : 0 };
}

function dial(port: number, alpn: string[] = []): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: alpn });
    socket.once("secureConnect", () => resolve(socket));
    socket.on("error", reject);
    closers.push(async () => void socket.destroy());
  });
}

async function heard(socket: net.Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  await closedBy(socket);
  return text;
}

/** The end of a connection, a session or a stream, however it came. */
async function closedBy(one: net.Socket | http2.Http2Session | http2.ClientHttp2Stream): Promise<void> {
  one.on("error", () => {});
  if (one instanceof net.Socket && one.closed) return;
  await new Promise<void>((resolve) => void one.once("close", () => resolve()));
}

/** Lets time pass for the front, as its peer, which is there all the while, sees it. */
async function pass(ms: number, session: http2.ClientHttp2Session): Promise<void> {
  let closed = false;
  session.once("close", () => (closed = true));
  for (let passed = 0; passed < ms && !closed; passed += defaultFrontLimits.lookMs) {
    vi.advanceTimersByTime(defaultFrontLimits.lookMs);
    // Who answers this has read the answer to its own question; a session that ends answers it with an error.
    await new Promise<void>((resolve) => {
      if (!session.ping(() => resolve())) resolve();
    });
  }
}

describe("a connection is closed that", () => {
  test("says nothing before TLS", async () => {
    const { front, port } = await open({ limits: { handshakeMs: 100 } });
    const socket = net.connect(port, "127.0.0.1");
    await heard(socket);
    await until(() => front.connections === 0);
  });

  test("says hello and nothing more", async () => {
    const { front, port } = await open({ limits: { handshakeMs: 100 } });
    const socket = net.connect(port, "127.0.0.1");
    socket.write(Buffer.from("1603010200010001fc0303", "hex"));
    await heard(socket);
    await until(() => front.connections === 0);
  });

  test("sends no request over HTTP/1.1", async () => {
    const { port } = await open({ limits: SHORT });
    expect(await heard(await dial(port))).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  });

  test("sends its headers one by one, for ever", async () => {
    const { front, port } = await open({ limits: SHORT });
    const socket = await dial(port);
    socket.write("GET / HTTP/1.1\r\nHost: pool\r\n");
    const drip = setInterval(() => socket.write("X: y\r\n"), 10);
    expect(await heard(socket)).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(drip);
    await until(() => front.connections === 0);
  });

  test("sends its body byte by byte, for ever", async () => {
    const { port } = await open({ limits: SHORT }, () => {});
    const socket = await dial(port);
    socket.write("POST / HTTP/1.1\r\nHost: pool\r\nContent-Length: 1000000\r\n\r\n");
    const drip = setInterval(() => socket.write("x"), 10);
    expect(await heard(socket)).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(drip);
  });

  test("sends no request over h2, not even a greeting", async () => {
    const { front, port } = await open({ limits: SHORT });
    await heard(await dial(port, ["h2"]));
    await until(() => front.connections === 0);
  });

  test("has greeted and does nothing", async () => {
    const { front, port } = await open({ limits: SHORT });
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    await closedBy(session);
    await until(() => front.connections === 0);
  });

  test("sends its headers in pieces, for ever", async () => {
    const { front, port } = await open({ limits: SHORT });
    const socket = await dial(port, ["h2"]);
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(Buffer.from("000000040000000000", "hex"));
    socket.write(Buffer.from("00000101000000000182", "hex"));
    const drip = setInterval(() => socket.write(Buffer.from("00000109000000000186", "hex")), 10);
    await heard(socket);
    clearInterval(drip);
    await until(() => front.connections === 0);
  });

  test("HTTP/2 has ended, with or without a request on it", async () => {
    const { front, port } = await open({ limits: SHORT }, () => {});
    for (const request of ["", "00000b010400000001838641047465737484"]) {
      const socket = await dial(port, ["h2"]);
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
      // SETTINGS, perhaps a request, and SETTINGS of seven bytes.
      socket.write(Buffer.from(`000000040000000000${request}00000704000000000000000000000000`, "hex"));
      await heard(socket);
    }
    await until(() => front.connections === 0);
  });

  test("has had no request for long", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const { front, port } = await open();
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const stream = session.request({ ":path": "/" });
    stream.resume();
    await closedBy(stream);
    const closed = closedBy(session);
    await pass(2 * defaultFrontLimits.idleMs, session);
    await closed;
    await until(() => front.connections === 0);
  });
});

test("who is refused while it still sends reads why: the connection is closed when it has sent, not over its bytes", async () => {
  const { front, port } = await open({}, (exchange) => exchange.answer(403, {}, "not you"));
  const socket = await dial(port);
  socket.write(`POST / HTTP/1.1\r\nHost: pool\r\nContent-Length: 3000000\r\n\r\n`);
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  await until(() => text.endsWith("\r\n\r\nnot you"));
  expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*Connection: close\r\n/);
  socket.write(Buffer.alloc(3_000_000));
  await once(socket, "end");
  await until(() => front.connections === 0);
});

test("a request that takes long is left alone, on HTTP/1.1 and on h2", async () => {
  const waiting: Exchange[] = [];
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const { port } = await open({}, (exchange) => {
    exchange.start(200);
    waiting.push(exchange);
  });
  const socket = await dial(port);
  socket.write("GET / HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n");
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const stream = session.request({ ":path": "/" });
  let body = "";
  stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
  const closed = closedBy(stream);
  await until(() => waiting.length === 2);
  await pass(3 * defaultFrontLimits.idleMs, session);
  for (const exchange of waiting) exchange.finish(Buffer.from("at last"));
  expect(await heard(socket)).toContain("at last");
  await closed;
  expect(body).toBe("at last");
  session.destroy();
});

test("an answer that lies unread while the machine stands still is waited for", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const { port } = await open();
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const get = async (): Promise<void> => {
    const stream = session.request({ ":path": "/" });
    stream.resume();
    await once(stream, "response");
    await closedBy(stream);
  };
  await get();
  // The question, and the next look before anything is read.
  vi.advanceTimersByTime(2 * defaultFrontLimits.lookMs);
  await get();
  session.destroy();
});

describe("connections are counted", () => {
  const refused = async (port: number): Promise<boolean> =>
    dial(port).then(
      () => false,
      () => true,
    );

  test("for each address", async () => {
    const { front, port } = await open({ maxConnectionsPerAddress: 3 });
    const sockets = await Promise.all([dial(port), dial(port), dial(port)]);
    expect(await refused(port)).toBe(true);
    expect(front.connections).toBe(3);
    sockets[0]!.destroy();
    await until(() => front.connections === 2);
    expect(await refused(port)).toBe(false);
  });

  test("in all", async () => {
    const { front, port } = await open({ maxConnections: 2 });
    const first = await dial(port);
    await dial(port);
    expect(await refused(port)).toBe(true);
    first.destroy();
    await until(() => front.connections === 1);
    expect(await refused(port)).toBe(false);
  });
});

describe("an answer that nobody takes is given up after half a minute:", () => {
  const large = Buffer.alloc(32 << 20);

  test("over HTTP/1.1, by a peer that does not read", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const closed: boolean[] = [];
    const { port } = await open({}, (exchange) => {
      exchange.onClose((complete) => closed.push(complete));
      exchange.answer(200, {}, large);
    });
    const socket = await dial(port);
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: pool\r\n\r\n");
    await until(() => vi.getTimerCount() > 0);
    vi.advanceTimersByTime(30_000);
    socket.resume();
    await once(socket, "close");
    await until(() => closed.length === 1);
    expect(closed).toEqual([false]);
  });

  test("over h2, by a peer that leaves no window", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const closed: boolean[] = [];
    const { port } = await open({}, (exchange) => {
      exchange.onClose((complete) => closed.push(complete));
      exchange.answer(200, {}, large);
    });
    const session = http2.connect(`https://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      settings: { initialWindowSize: 0 },
    });
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    await once(stream, "response");
    vi.advanceTimersByTime(30_000);
    await closedBy(stream);
    await until(() => closed.length === 1);
    expect(closed).toEqual([false]);
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
    session.destroy();
  });

  test("over gRPC, by a peer that leaves no window, after ten seconds", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { port } = await open();
    const session = http2.connect(`https://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      settings: { initialWindowSize: 0 },
    });
    const stream = session.request({ ":method": "POST", ":path": "/x", "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.end(Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]));
    await once(stream, "response");
    vi.advanceTimersByTime(10_000);
    await closedBy(stream);
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
    session.destroy();
  });
});

describe("an exchange", () => {
  test.each(["HTTP/1.1", "h2"])("is answered once, whatever is tried: %s", async (protocol) => {
    const { port } = await open({}, (exchange) => {
      exchange.answer(200, {}, "once");
      exchange.answer(500, {}, "twice");
      exchange.start(404);
      exchange.finish(Buffer.from("thrice"));
      exchange.onClose(() => {
        exchange.answer(500, {}, "much later");
        exchange.abort();
      });
    });
    if (protocol === "h2") {
      const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
      const stream = session.request({ ":path": "/" });
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
      await closedBy(stream);
      expect(body).toBe("once");
      session.destroy();
      return;
    }
    const socket = await dial(port);
    socket.write("GET / HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n");
    expect((await heard(socket)).split("\r\n\r\n")[1]).toBe("once");
  });

  test.each(["HTTP/1.1", "h2"])(
    "that its peer has left can be answered and asked how it ended: %s",
    async (protocol) => {
      let left: Exchange | undefined;
      const ended: boolean[] = [];
      const { port } = await open({}, (exchange) => {
        left = exchange;
        exchange.onClose((complete) => ended.push(complete));
      });
      if (protocol === "h2") {
        const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
        const stream = session.request({ ":path": "/" });
        stream.on("error", () => {});
        await until(() => left !== undefined);
        stream.close(http2.constants.NGHTTP2_CANCEL);
        await until(() => ended.length === 1);
        session.destroy();
      } else {
        const socket = await dial(port);
        socket.write("GET / HTTP/1.1\r\nHost: pool\r\n\r\n");
        await until(() => left !== undefined);
        socket.destroy();
        await until(() => ended.length === 1);
      }
      left?.start(200);
      left?.answer(200, {}, "too late");
      left?.finish(Buffer.from("too late"));
      left?.abort();
      left?.onClose((complete) => ended.push(complete));
      await until(() => ended.length === 2);
      expect(ended).toEqual([false, false]);
    },
  );

  test("whose handler throws does not end the process", async () => {
    const { port } = await open({}, (exchange) => {
      if (exchange.path === "/bad") throw new Error("a fault of ours");
      exchange.answer(200, {}, "fine");
    });
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    session.on("error", () => {});
    const bad = session.request({ ":path": "/bad" });
    bad.on("error", () => {});
    const good = session.request({ ":path": "/good" });
    const [headers] = (await once(good, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
    session.destroy();
  });
});

test.each(["close", "keep-alive"])(
  "an answer that was taken whole counts as such: Connection: %s",
  async (connection) => {
    const ended: boolean[] = [];
    const { port } = await open({}, (exchange) => {
      exchange.onClose((complete) => ended.push(complete));
      exchange.answer(200, {}, Buffer.alloc(4 << 20, "x"));
    });
    const socket = await dial(port);
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
    socket.write(`GET / HTTP/1.1\r\nHost: pool\r\nConnection: ${connection}\r\n\r\n`);
    await until(() => bytes > 4 << 20);
    await until(() => ended.length === 1);
    expect(ended).toEqual([true]);
  },
);
