/** What every proxy of the tests is made of: a port of this machine, and a way on from each connection that comes to it. */
import net from "node:net";
import { parseHostPort } from "./wire.ts";

export interface Middle extends AsyncDisposable {
  /** `HOST:PORT` of the near end. */
  readonly addr: string;
  /** Both ends of all connections that are open. */
  readonly sockets: ReadonlySet<net.Socket>;
}

/** @param onConnection is given each connection that comes, and what opens the way on to `target`. */
export async function startMiddle(
  target: string,
  onConnection: (near: net.Socket, connect: () => net.Socket) => void,
  { allowHalfOpen = false } = {},
): Promise<Middle> {
  const { host, port } = parseHostPort(target);
  const sockets = new Set<net.Socket>();
  const keep = (socket: net.Socket): net.Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    return socket;
  };
  const server = net.createServer({ allowHalfOpen }, (near) =>
    onConnection(keep(near), () => keep(net.connect({ host, port, allowHalfOpen }))),
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  return {
    addr: `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    sockets,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
