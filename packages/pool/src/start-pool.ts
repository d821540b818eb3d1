import type { Socket } from "node:net";
import { formatHostPort, openScope } from "@openpool/base";
import type { PoolDeps, PoolNode } from "./node.ts";
import { onPorts } from "./on-ports.ts";
import type { ListenAddress, PoolOptions } from "./options.ts";
import { type PgConnection, startManagedPostgres } from "./store/index.ts";
import { listenHere } from "./supervisor/listening.ts";
import { type StandingNode, startServedNode } from "./supervisor/served-node.ts";

export interface RunningPool extends AsyncDisposable {
  readonly node: PoolNode;
  readonly listen: ListenAddress;
  readonly serviceUri: string;
  readonly adminUrl: string;
  /** Where the pages and the public API are; undefined without them. */
  readonly publicUrl: string | undefined;
}

/**
 * A whole pool in this one process: database, sockets, node. For tests and for programs that hold a pool; `openpool pool`
 * leaves the sockets and the database to a supervisor that outlives the node.
 */
export async function startPool(
  options: PoolOptions,
  deps: Pick<PoolDeps, "logger" | "clock" | "version" | "random" | "relay"> & { readonly generation?: number },
): Promise<RunningPool> {
  const scope = openScope();
  try {
    const connection: PgConnection =
      options.databaseUrl === undefined
        ? scope.use(await startManagedPostgres({ dataDir: options.dataDir }, deps)).connection
        : { kind: "url", url: options.databaseUrl };
    let served: StandingNode | undefined;
    const open = async (
      setting: string,
      wanted: ListenAddress,
      take: (served: StandingNode, socket: Socket) => void,
    ): Promise<ListenAddress> => {
      const accept = (socket: Socket): unknown => (served ? take(served, socket) : socket.destroy());
      return scope.use(await listenHere(setting, wanted, accept)).address;
    };
    const listen = await open("listen", options.listen, (to, socket) => to.acceptPublic(socket));
    const adminListen = await open("admin-listen", options.adminListen, (to, socket) => to.acceptAdmin(socket));
    const apiListen =
      options.api && (await open("api-listen", options.api.listen, (to, socket) => to.acceptApi?.(socket)));
    const told = onPorts(options, { listen, adminListen, apiListen });
    const { serviceUri } = told;
    served = scope.use(await startServedNode(told, { ...deps, connection, generation: deps.generation ?? 1 }));
    await served.announce();
    const urls = {
      adminUrl: `http://${formatHostPort(adminListen)}`,
      publicUrl: apiListen && served.acceptApi && `${served.apiScheme}://${formatHostPort(apiListen)}`,
    };
    deps.logger.info("the pool serves", { listen, serviceUri, ...urls });
    return {
      node: served.node,
      listen,
      serviceUri,
      ...urls,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, () => {});
    throw cause;
  }
}
