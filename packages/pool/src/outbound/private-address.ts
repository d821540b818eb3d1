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
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  ranges.addSubnet(net, bits, "ipv4");
}
for (const [net, bits] of [
  // Teredo and 6to4 carry an IPv4 address which may be any of the above; the others are for examples and measurements.
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const) {
  ranges.addSubnet(net, bits, "ipv6");
}
/** All of IPv6 that is the internet, but for the exceptions above. */
const internet6 = new BlockList();
internet6.addSubnet("2000::", 3, "ipv6");

/** Whether an IP address belongs to this machine or its own network rather than to the internet. */
export function isPrivateAddress(address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  const version = isIP(plain);
  if (version === 6) return !internet6.check(plain, "ipv6") || ranges.check(plain, "ipv6");
  return version === 0 || ranges.check(plain, "ipv4");
}
