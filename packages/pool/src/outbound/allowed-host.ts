/** Host and port of a URL, also where its port is the usual one of its scheme and goes without saying; lower case. */
export function hostPortOf({ hostname, port, protocol }: URL): string {
  return `${hostname.toLowerCase()}:${port || (protocol === "https:" ? "443" : "80")}`;
}

/** Whether a list of hosts, each as `host` or `host:port` in lower case, has the host of a URL. */
export function isAllowedHost(url: URL, hosts: ReadonlySet<string>): boolean {
  return hosts.has(url.hostname.toLowerCase()) || hosts.has(hostPortOf(url));
}
