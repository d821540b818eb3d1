import { formatHostPort, openScope } from "@openpool/base";
import { openAdminToken, removeAdminFile, writeAdminFile } from "../api/admin-file.ts";
import { openAdminHandler } from "../api/admin-server.ts";
import { openPublicApi, publicApiOptions } from "../api/public/server.ts";
import { type PoolDeps, type PoolNode, startPoolNode } from "../node.ts";
import type { PoolOptions } from "../options.ts";
import type { ServedNode, ServedNodeDeps } from "./types.ts";

/** A served node, for whoever holds it in his own process. */
export interface StandingNode extends ServedNode {
  readonly node: PoolNode;
  readonly apiScheme: "http" | "https";
}

/** A pool node with its admin port and its pages, for whoever accepts the connections of all of them. */
export async function startServedNode(
  options: PoolOptions,
  deps: PoolDeps & Pick<ServedNodeDeps, "supervisorPid">,
): Promise<StandingNode> {
  const scope = openScope();
  try {
    const node = scope.use(await startPoolNode(options, deps));
    const { token, tokenFile } = await openAdminToken(options.dataDir);
    const { host, port } = options.adminListen;
    const admin = scope.use(await openAdminHandler({ token, host }, { port: node.admin, logger: deps.logger }));
    const apiOptions = options.api && publicApiOptions(options.api, node.identity);
    const pages =
      apiOptions && node.publicApi
        ? scope.use(await openPublicApi(apiOptions, { port: node.publicApi, logger: deps.logger, clock: deps.clock }))
        : undefined;
    return {
      node,
      apiScheme: apiOptions?.identity ? "https" : "http",
      acceptPublic: (socket) => node.acceptPublic(socket),
      acceptAdmin: (socket) => admin.accept(socket),
      acceptApi: pages && ((socket) => pages.accept(socket)),
      async announce() {
        const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
        await writeAdminFile(options.dataDir, {
          url: `http://${formatHostPort({ host: reachable, port })}`,
          tokenFile,
          pid: process.pid,
          ...(deps.supervisorPid === undefined ? {} : { supervisorPid: deps.supervisorPid }),
        });
        scope.defer(() => removeAdminFile(options.dataDir, process.pid));
      },
      drain(signal) {
        admin.leave();
        pages?.leave();
        return node.drain(signal);
      },
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
      deps.logger.error("could not undo start", { error: String(error) }),
    );
    throw cause;
  }
}
