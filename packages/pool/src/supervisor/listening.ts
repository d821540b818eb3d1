import { lookup } from "node:dns/promises";
import net from "node:net";
import { getSystemErrorName } from "node:util";
import { errorCode, PoolError } from "@openpool/base";
import type { ListenAddress } from "../options.ts";

/** How many connections wait in the kernel while nobody accepts; more than `net.core.somaxconn` is cut down to that. */
export const BACKLOG = 4096;

/**
 * A socket bound to an address on which this process never accepts. Children that inherit `fd` do, several at once if
 * need be, and from the first one's `listen` on the kernel queues connections for as long as anyone holds the socket.
 */
export interface BoundSocket {
  readonly fd: number;
  readonly address: ListenAddress;
  close(): void;
}

export class ListenError extends PoolError<{
  readonly code: "supervisor/address-in-use" | "supervisor/address-unusable";
  readonly address: ListenAddress;
}> {}

/** Says what to do about an address that cannot be listened on. */
export function listenError(setting: string, address: ListenAddress, cause: string): ListenError {
  const where = `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
  const inUse = cause === "EADDRINUSE";
  const advice = ((): string => {
    switch (cause) {
      case "EADDRINUSE":
        return `another program listens there (\`ss -ltnp 'sport = :${address.port}'\` shows which). Stop it, or choose another address with --${setting}.`;
      case "EACCES":
        return `ports below 1024 need a privilege that this user does not have. Choose a higher port with --${setting}, or let systemd open the socket.`;
      case "EADDRNOTAVAIL":
        return `this machine has no such address. Correct --${setting}; 0.0.0.0 stands for all addresses.`;
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return `the host name is not known here. Correct --${setting}; 0.0.0.0 stands for all addresses.`;
      default:
        return `the system says ${cause}. Correct --${setting}.`;
    }
  })();
  return new ListenError(
    { code: inUse ? "supervisor/address-in-use" : "supervisor/address-unusable", address },
    `Cannot listen on ${where}: ${advice}`,
  );
}

/** The part of Node's TCP handle that is used here. */
interface TcpHandle {
  readonly fd: number;
  getsockname(out: { address?: string; port?: number }): number;
  close(): void;
}
type CreateHandle = (host: string, port: number, family: 4 | 6, fd: undefined, flags: number) => TcpHandle | number;

/**
 * Binds without listening. Another program that has bound the same address and does not listen yet goes unnoticed; of
 * the two, the one that listens second gets EADDRINUSE.
 *
 * A `net.Server` cannot do this: it accepts as soon as it exists, and would take connections away from
 * the children. This is what `cluster` does for its workers with shared handles, and the function it does it with;
 * undocumented, but older than any Node that we support (20, 22 and 24 were tried; the tests are the guard).
 *
 * @throws ListenError
 */
export async function bindSocket(setting: string, wanted: ListenAddress): Promise<BoundSocket> {
  const { address: ip, family } = await lookup(wanted.host).catch((error: unknown) => {
    throw listenError(setting, wanted, errorCode(error) ?? String(error));
  });
  const create = (net as unknown as { _createServerHandle?: CreateHandle })._createServerHandle;
  if (!create) {
    throw new PoolError(
      { code: "supervisor/unsupported-node" },
      `Node ${process.versions.node} has lost the means to hold a socket for another process. Use Node 20, 22 or 24.`,
    );
  }
  // libuv keeps a failed bind to itself until the socket is used, hence the question for the name.
  const handle = create(ip, wanted.port, family === 6 ? 6 : 4, undefined, 0);
  const name: { port?: number } = {};
  if (typeof handle === "number") throw listenError(setting, wanted, getSystemErrorName(handle));
  const status = handle.getsockname(name);
  if (status < 0) {
    handle.close();
    throw listenError(setting, wanted, getSystemErrorName(status));
  }
  let closed = false;
  return {
    fd: handle.fd,
    address: { host: wanted.host, port: name.port ?? wanted.port },
    close() {
      if (!closed) handle.close();
      closed = true;
    },
  };
}

/** A listening socket of this process's own. */
export interface ListeningSocket extends AsyncDisposable {
  readonly address: ListenAddress;
}

/** Listens and accepts in this very process, where no other takes its sockets over. @throws ListenError */
export async function listenHere(
  setting: string,
  wanted: ListenAddress,
  accept: (socket: net.Socket) => void,
): Promise<ListeningSocket> {
  const server = net.createServer({ pauseOnConnect: true }, accept);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(setting, wanted, errorCode(error) ?? String(error))));
    server.listen({ ...wanted, backlog: BACKLOG }, resolve);
  });
  const bound = server.address();
  return {
    address: { host: wanted.host, port: typeof bound === "object" && bound ? bound.port : wanted.port },
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

/** Listening sockets that systemd opened, by their descriptors. */
export interface InheritedSockets {
  readonly public: number | undefined;
  readonly admin: number | undefined;
  readonly api: number | undefined;
}

const FIRST_FD = 3;

/**
 * What systemd's socket activation says in the environment: `LISTEN_FDS` sockets from descriptor 3 on, meant for process
 * `LISTEN_PID`, named by `FileDescriptorName=` in the socket unit. One named `admin` is the admin port, one named `api`
 * that of the pages; the first other one is the public port. Undefined when nothing was handed to this process.
 */
export function inheritedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): InheritedSockets | undefined {
  if (Number(env["LISTEN_PID"]) !== pid || !/^[1-9]\d{0,2}$/.test(env["LISTEN_FDS"] ?? "")) return undefined;
  const names = (env["LISTEN_FDNAMES"] ?? "").split(":");
  const fds = Array.from({ length: Number(env["LISTEN_FDS"]) }, (_, i) => ({ fd: FIRST_FD + i, name: names[i] }));
  return {
    public: fds.find(({ name }) => name !== "admin" && name !== "api")?.fd,
    admin: fds.find(({ name }) => name === "admin")?.fd,
    api: fds.find(({ name }) => name === "api")?.fd,
  };
}
