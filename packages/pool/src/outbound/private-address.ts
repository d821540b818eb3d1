import { BlockList, isIP } from "node:net";

const ranges = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const) {
  ranges.addSubnet(net, bits, "ipv4");
}
for (const [net, bits] of [
  // Unspecified, loopback, and the forms that carry an IPv4 address which may be any of the above.
  ["::", 96],
  ["64:ff9b::", 96],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const) {
  ranges.addSubnet(net, bits, "ipv6");
}

/** Whether an IP address belongs to this machine or its own network rather than to the internet. */
export function isPrivateAddress(address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  const version = isIP(plain);
  return version === 0 || ranges.check(plain, version === 6 ? "ipv6" : "ipv4");
}
