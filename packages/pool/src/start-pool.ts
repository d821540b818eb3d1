import net from "node:net";
import { type Clock, type Logger, openScope } from "@openpool/base";
import { openAdminToken, removeAdminFile, writeAdminFile } from "./api/admin-file.ts";
import { startAdminServer } from "./api/admin-server.ts";
import { publicApiOptions, startPublicApi } from "./api/public/server.ts";
import { type PoolNode, startPoolNode } from "./node.ts";
import type { ListenAddress, PoolOptions } from "./options.ts";
import { type PgConnection, startManagedPostgres } from "./store/index.ts";

export interface RunningPool extends AsyncDisposable {
  readonly node: PoolNode;
  readonly listen: ListenAddress;
  readonly serviceUri: string;
  readonly adminUrl: string;
  /** Where the pages and the public API are; undefined without them. */
  readonly publicUrl: string | undefined;
}

/**
 * A whole pool in this one process: database, sockets, node. What a container runs, and tests; elsewhere the sockets and
 * the database belong to a supervisor that outlives the node.
 */
export async function startPool(
  options: PoolOptions,
  deps: { readonly logger: Logger; readonly clock: Clock; readonly version: string; readonly generation?: number },
): Promise<RunningPool> {
  const scope = openScope();
  try {
    const connection: PgConnection =
      options.databaseUrl === undefined
        ? scope.use(await startManagedPostgres({ dataDir: options.dataDir }, deps)).connection
        : { kind: "url", url: options.databaseUrl };
    const server = net.createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: options.listen.host, port: options.listen.port, backlog: 4096 }, resolve);
    });
    scope.defer(() => void server.close());
    const bound = server.address();
    const port = typeof bound === "object" && bound ? bound.port : options.listen.port;
    const serviceUri = options.serviceUri.replace(/:0$/, `:${port}`);
    const listen = { host: options.listen.host, port };
    const node = scope.use(
      await startPoolNode(
        { ...options, listen, serviceUri },
        { ...deps, connection, generation: deps.generation ?? 1 },
      ),
    );
    server.on("connection", (socket) => node.acceptPublic(socket));
    const { token, tokenFile } = await openAdminToken(options.dataDir);
    const admin = scope.use(
      await startAdminServer(
        { listen: options.adminListen, named: options.adminListenNamed, token },
        { port: node.admin, logger: deps.logger },
      ),
    );
    const pages =
      options.api && node.publicApi
        ? scope.use(
            await startPublicApi(
              {
                ...publicApiOptions(options.api, node.identity),
                listen: options.api.listen,
                named: options.api.named,
              },
              { port: node.publicApi, logger: deps.logger, clock: deps.clock },
            ),
          )
        : undefined;
    await writeAdminFile(options.dataDir, { url: admin.url, tokenFile, pid: process.pid });
    scope.defer(() => removeAdminFile(options.dataDir, process.pid));
    deps.logger.info("the pool serves", { listen, serviceUri, admin: admin.url, pages: pages?.url });
    return {
      node,
      listen,
      serviceUri,
      adminUrl: admin.url,
      publicUrl: pages?.url,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, () => {});
    throw cause;
  }
}
