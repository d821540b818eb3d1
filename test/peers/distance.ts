/** A long way between two peers: a proxy that passes on every byte later, in order, and as many at once as there are. */
import net from "node:net";
import { parseHostPort } from "./wire.ts";

export interface Distance extends AsyncDisposable {
  /** `HOST:PORT` of the near end. */
  readonly addr: string;
  /** Connections that came, those that have ended included. */
  readonly connections: number;
  /** Passes nothing on, and accepts nobody further along, until called back. */
  hold(): { release(): void };
  /** The connections of now swallow everything from here on, as when a router forgot them; new ones work. */
  forget(): void;
}

/** @param oneWayMs what a byte takes in each direction. */
export async function startDistance(target: string, oneWayMs: number): Promise<Distance> {
  const { host, port } = parseHostPort(target);
  const sockets = new Set<net.Socket>();
  const forgotten = new WeakSet<net.Socket>();
  let connections = 0;
  /** What waits for the end of a hold, in order. */
  let held: (() => void)[] | undefined;

  const keep = (socket: net.Socket): net.Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    return socket;
  };
  // Timers of one length fire in the order in which they were set.
  const later = (run: () => void): void => void setTimeout(() => (held ? held.push(run) : run()), oneWayMs);
  const carry = (from: net.Socket, to: net.Socket): void => {
    const pass = (run: () => void): void => later(() => forgotten.has(from) || to.destroyed || run());
    from.on("data", (chunk: Buffer) => pass(() => to.write(chunk)));
    from.once("end", () => pass(() => to.end()));
    from.once("close", () => pass(() => to.destroy()));
  };
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    connections++;
    const far = keep(net.connect({ host, port, allowHalfOpen: true }));
    carry(keep(near), far);
    carry(far, near);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  return {
    addr: `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    get connections() {
      return connections;
    },
    hold() {
      const mine = (held ??= []);
      return {
        release() {
          held = undefined;
          for (const run of mine) run();
        },
      };
    },
    forget() {
      for (const socket of sockets) forgotten.add(socket);
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
