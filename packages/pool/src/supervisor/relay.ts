import { chmod, readdir, rm } from "node:fs/promises";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net from "node:net";
import { join } from "node:path";
import { type Readable, pipeline } from "node:stream";
import { errorCode, errorText, type Logger } from "@openpool/base";
import type { Exchange } from "../front/exchange.ts";
import { isNewer } from "./generation.ts";

/**
 * While two processes of one pool live, each holds what the other is asked for: renditions, sources, open attempts. Each
 * listens on a unix socket named after its generation and hands requests on to the one that their path or task id names.
 * Whether a generation lives is asked by connecting: there is no list of them that could be out of date.
 */
export interface RelayPort {
  /** The process that took over from this one; undefined while this one is current. */
  readonly successor: number | undefined;
  /** Whether another process of this pool lives, older or newer. */
  othersLive(): Promise<boolean>;
  /** Serves what siblings hand on to this process. What comes this way must not be handed on again. */
  serve(handler: RelayHandler): void;
  /** Hands a request on. Its body is streamed both ways; nothing is buffered beyond a few chunks. */
  forward(generation: number, request: RelayRequest): Promise<RelayOutcome>;
}

/** `peer` is the address of the client that the sibling serves. */
export type RelayHandler = (request: IncomingMessage, response: ServerResponse, peer: string) => void;

export interface RelayRequest {
  readonly method: string;
  /** With its query, as the client sent it. */
  readonly path: string;
  /** By lower-case names; those that concern one connection only are left out. */
  readonly headers: Readonly<Record<string, string | number | undefined>>;
  /** The client's address. */
  readonly peer: string;
  readonly body?: Readable | undefined;
  /** Cuts the exchange off, before or after the answer's headers. */
  readonly signal?: AbortSignal | undefined;
}

export type RelayOutcome =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: http.IncomingHttpHeaders;
      /** Destroyed with an error when the sibling dies in the middle. */
      readonly body: Readable;
    }
  /** No such process lives. Nothing of the body was read. */
  | { readonly kind: "gone" }
  /** More is under way than is good for this process. Nothing of the body was read. */
  | { readonly kind: "busy" }
  /** The sibling died, or the client left, before there was an answer; some of the body may be lost. */
  | { readonly kind: "broken"; readonly cause: unknown };

export interface Relay extends RelayPort, AsyncDisposable {
  setSuccessor(generation: number | undefined): void;
  /** The newest process of this pool that lives, if it is newer than this one. */
  findSuccessor(): Promise<number | undefined>;
}

/** A sibling that hangs must not collect everything that is meant for it. */
const MAX_UNDER_WAY = 1024;
const PEER_HEADER = "x-openpool-peer";
/** They speak of one connection, not of the message. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  PEER_HEADER,
]);

const SOCKET_NAME = /^gen-(\d{1,4})\.sock$/;

export function relaySocket(runDir: string, generation: number): string {
  return join(runDir, `gen-${generation}.sock`);
}

/** Removes the sockets of processes that are dead. */
export async function removeDeadSockets(runDir: string): Promise<void> {
  for (const name of await readdir(runDir)) {
    const path = join(runDir, name);
    if (SOCKET_NAME.test(name) && !(await answers(path))) await rm(path, { force: true });
  }
}

/** Whether any process of this pool lives. */
export async function anyoneAnswers(runDir: string): Promise<boolean> {
  const names = (await readdir(runDir)).filter((name) => SOCKET_NAME.test(name));
  return (await Promise.all(names.map((name) => answers(join(runDir, name))))).includes(true);
}

/** Opens this process's end and the way to all others. `runDir` must be private to this user. */
export async function openRelay(
  options: { readonly runDir: string; readonly generation: number },
  deps: { readonly logger: Logger },
): Promise<Relay> {
  const { runDir, generation } = options;
  let successor: number | undefined;
  const server = await startRelayServer(relaySocket(runDir, generation), deps);
  const client = openRelayClient(deps);
  /** The other processes that live, of those that `wanted` lets through. */
  const living = async (wanted: (other: number) => boolean): Promise<number[]> => {
    const found = await Promise.all(
      (await readdir(runDir)).map(async (name) => {
        const other = Number(SOCKET_NAME.exec(name)?.[1] ?? generation);
        return other !== generation && wanted(other) && (await answers(relaySocket(runDir, other))) ? [other] : [];
      }),
    );
    return found.flat();
  };
  return {
    get successor() {
      return successor;
    },
    setSuccessor: (next) => (successor = next),
    async findSuccessor() {
      const newer = await living((other) => isNewer(other, generation));
      return newer.reduce<number | undefined>(
        (newest, one) => (newest === undefined || isNewer(one, newest) ? one : newest),
        undefined,
      );
    },
    othersLive: async () => (await living(() => true)).length > 0,
    serve: (handler) => server.serve(handler),
    forward: (to, request) => client.forward(relaySocket(runDir, to), request),
    async [Symbol.asyncDispose]() {
      client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

interface RelayServer extends AsyncDisposable {
  serve(handler: RelayHandler): void;
}

async function startRelayServer(path: string, { logger }: { readonly logger: Logger }): Promise<RelayServer> {
  let handler: RelayHandler | undefined;
  const server = http.createServer(
    {
      // The other end is our own code on this machine: it may be slow because a client is, and it never says goodbye.
      keepAliveTimeout: 0,
      requestTimeout: 0,
      headersTimeout: 0,
      maxHeaderSize: 512 * 1024,
      noDelay: true,
    },
    (request, response) => {
      const peer = request.headers[PEER_HEADER];
      delete request.headers[PEER_HEADER];
      if (handler) handler(request, response, typeof peer === "string" ? peer : "");
      else response.writeHead(503).end();
    },
  );
  server.on("clientError", (error, socket) => {
    logger.debug("a relay connection ended", { code: errorCode(error) });
    socket.destroy();
  });
  // What an earlier process of this generation left behind: they come round after 4095.
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, 1024, resolve);
  });
  await chmod(path, 0o600);
  return {
    serve: (next) => (handler = next),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface RelayClient {
  forward(path: string, request: RelayRequest): Promise<RelayOutcome>;
  close(): void;
}

function openRelayClient({ logger }: { readonly logger: Logger }): RelayClient {
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 64 });
  let underWay = 0;

  const once = (path: string, request: RelayRequest, fresh: boolean): Promise<RelayOutcome> =>
    new Promise((resolve) => {
      const { signal, body } = request;
      if (signal?.aborted) return resolve({ kind: "broken", cause: signal.reason });
      const outgoing = http.request({
        socketPath: path,
        agent: fresh ? false : agent,
        method: request.method,
        path: request.path,
        headers: {
          ...endToEnd(request.headers),
          [PEER_HEADER]: request.peer,
          // The side that asked closes: an end of ours that meets the other's would look like a broken request.
          connection: "keep-alive",
        },
      });
      underWay++;
      let counted = true;
      const onAbort = (): void => void outgoing.destroy(new Error("the client left"));
      signal?.addEventListener("abort", onAbort, { once: true });
      outgoing.once("close", () => {
        if (counted) underWay--;
        counted = false;
        signal?.removeEventListener("abort", onAbort);
      });
      outgoing.on("error", (cause) => {
        const code = errorCode(cause) ?? "";
        if (code === "ENOENT" || code === "ECONNREFUSED") return resolve({ kind: "gone" });
        // A kept connection whose other end has just died; a fresh one tells whether anybody is still there.
        if (outgoing.reusedSocket && !signal?.aborted) return resolve(once(path, request, true));
        logger.debug("a relayed request broke", { path: request.path, error: errorText(cause) });
        resolve({ kind: "broken", cause });
      });
      outgoing.once("response", (response) => {
        // An error after this point reaches the reader of the answer.
        resolve({
          kind: "answered",
          status: response.statusCode ?? 502,
          headers: endToEnd(response.headers),
          body: response,
        });
      });
      if (!body) return void outgoing.end();
      // The body is taken only once there is somebody to take it: before, the caller may still do something else with it.
      outgoing.once("socket", (socket) => socket.once("connect", () => pipeline(body, outgoing, () => {})));
      // Nothing is written before the first byte of the body, so the connection is made by asking for it.
      outgoing.flushHeaders();
    });

  return {
    async forward(path, request) {
      if (underWay >= MAX_UNDER_WAY) return { kind: "busy" };
      // A body can be sent once only: its connection must be known to be good.
      return once(path, request, request.body !== undefined);
    },
    close: () => agent.destroy(),
  };
}

/** Whether somebody listens on a socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(path);
    probe.once("error", () => resolve(false));
    probe.once("connect", () => {
      resolve(true);
      probe.destroy();
    });
  });
}

function endToEnd<T>(headers: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const out: Record<string, T> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !HOP_HEADERS.has(name) && !name.startsWith(":")) out[name] = value;
  }
  return out;
}

/** What the pool's doors read from a request; nothing else needs to travel on. */
const DOOR_HEADERS = [
  "accept",
  "authorization",
  "content-length",
  "content-type",
  "credentials",
  "livepeer-payment",
  "livepeer-segment",
  "pixels",
  "range",
  "taskid",
  "user-agent",
] as const;

/**
 * Hands a whole exchange on to another process of the pool and its answer back. `gone` and `busy`: nothing was read or
 * answered yet, and the caller may still do so.
 */
export async function relayExchange(
  relay: Pick<RelayPort, "forward">,
  generation: number,
  exchange: Exchange,
): Promise<"answered" | "gone" | "busy"> {
  const left = new AbortController();
  exchange.onClose((complete) => {
    if (!complete) left.abort();
  });
  const hasBody = exchange.method !== "GET" && exchange.method !== "HEAD";
  const outcome = await relay.forward(generation, {
    method: exchange.method,
    path: exchange.path,
    headers: Object.fromEntries(DOOR_HEADERS.map((name) => [name, exchange.header(name)])),
    peer: exchange.peer,
    body: hasBody ? exchange.body : undefined,
    signal: left.signal,
  });
  switch (outcome.kind) {
    case "gone":
    case "busy":
      return outcome.kind;
    case "broken":
      exchange.abort();
      return "answered";
    case "answered": {
      const headers = Object.entries(outcome.headers).flatMap(([name, value]) =>
        typeof value === "string" ? [[name, value] as const] : [],
      );
      exchange.start(outcome.status, Object.fromEntries(headers));
      if (exchange.method === "HEAD") {
        outcome.body.resume();
        exchange.output.end();
        return "answered";
      }
      await new Promise<void>((resolve) => {
        pipeline(outcome.body, exchange.output, (error) => {
          // A sibling that dies in the middle must look like a broken connection, never like the end of the body.
          if (error) exchange.abort();
          resolve();
        });
      });
      return "answered";
    }
  }
}
