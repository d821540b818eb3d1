import type { ListenAddress, PoolOptions } from "./options.ts";

/**
 * The options of a pool whose ports are open. Whoever asked for port 0, tests above all, wants the port that it became in
 * the pool's own addresses, too.
 */
export function onPorts(
  options: PoolOptions,
  ports: {
    readonly listen: ListenAddress;
    readonly adminListen: ListenAddress;
    /** Undefined: no pages are served. */
    readonly apiListen: ListenAddress | undefined;
  },
): PoolOptions {
  const { listen, adminListen, apiListen } = ports;
  const { api, alerts, serviceUri } = options;
  const at = (url: string, port: number): string => url.replace(/:0$/, `:${port}`);
  return {
    ...options,
    listen,
    adminListen,
    serviceUri: at(serviceUri, listen.port),
    ...(api && apiListen ? { api: { ...api, listen: apiListen } } : {}),
    ...(alerts?.publicUrl !== undefined && apiListen
      ? { alerts: { ...alerts, publicUrl: at(alerts.publicUrl, apiListen.port) } }
      : {}),
  };
}
