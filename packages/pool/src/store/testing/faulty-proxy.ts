import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PgConnection } from "../pg-connection.ts";

/** What happens to what crosses; each `cut-` happens once and then the mode is `pass` again. */
export type ProxyMode =
  | "pass"
  /** The next message to the server breaks the connection instead of arriving. */
  | "cut-request"
  /** The next message from the server breaks the connection instead of arriving: it did what was asked. */
  | "cut-reply"
  /** Nothing comes back until the mode changes. */
  | "hold-replies"
  /** Nobody gets in, and who is in is thrown out. */
  | "refuse";

export interface FaultyProxy extends AsyncDisposable {
  /** The same database, through here. */
  readonly connection: PgConnection;
  mode: ProxyMode;
}

/** A way to a Postgres that can be broken at the moment that a test wants. */
export async function openFaultyProxy(target: PgConnection): Promise<FaultyProxy> {
  if (target.kind !== "socket") throw new Error("needs a socket");
  const dir = await mkdtemp(join(tmpdir(), "openpool-proxy-"));
  const open = new Set<{ readonly client: Socket; readonly server: Socket; held: Buffer[] }>();
  let mode: ProxyMode = "pass";
  const listener = createServer((client) => {
    if (mode === "refuse") {
      client.destroy();
      return;
    }
    const server = connect(join(target.socketDir, `.s.PGSQL.${target.port}`));
    const pair = { client, server, held: [] as Buffer[] };
    open.add(pair);
    const cut = (): void => {
      client.destroy();
      server.destroy();
      open.delete(pair);
    };
    for (const socket of [client, server]) socket.on("error", cut).on("close", cut);
    client.on("data", (chunk) => {
      if (mode === "cut-request") {
        mode = "pass";
        cut();
      } else server.write(chunk);
    });
    server.on("data", (chunk) => {
      if (mode === "cut-reply") {
        mode = "pass";
        cut();
      } else if (mode === "hold-replies") pair.held.push(chunk);
      else client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => listener.listen(join(dir, `.s.PGSQL.${target.port}`), resolve));
  return {
    connection: { ...target, socketDir: dir },
    get mode() {
      return mode;
    },
    set mode(next: ProxyMode) {
      mode = next;
      for (const { client, server, held } of open) {
        if (next === "refuse") {
          client.destroy();
          server.destroy();
        } else if (next !== "hold-replies") {
          for (const chunk of held.splice(0)) client.write(chunk);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { client, server } of open) {
        client.destroy();
        server.destroy();
      }
      await new Promise((resolve) => listener.close(resolve));
      await rm(dir, { recursive: true, force: true });
    },
  };
}
