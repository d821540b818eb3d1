import { expect, test } from "vitest";
import { parseFingerprint } from "./net/dial.ts";
import { formatPoolAddress, parsePoolAddress } from "./options.ts";

test.each([
  ["pool.example:8935", "pool.example:8935"],
  ["pool.example", "pool.example:8935"],
  ["https://pool.example:9000/path", "pool.example:9000"],
  ["192.0.2.1:1", "192.0.2.1:1"],
  ["[::1]:8935", "[::1]:8935"],
  ["[2001:db8::1]", "[2001:db8::1]:8935"],
])("the pool at %s is %s", (text, address) => {
  const parsed = parsePoolAddress(text);
  expect(parsed && formatPoolAddress(parsed)).toBe(address);
});

test.each(["", "pool:0", "pool:70000", "pool:x", "a b:1", "::1"])("%j is no pool's address", (text) => {
  expect(parsePoolAddress(text)).toBeUndefined();
});

test("a fingerprint is read as openssl prints it, and as plain hex", () => {
  const hex = "ab".repeat(32);
  expect(parseFingerprint(hex.toUpperCase().match(/../g)!.join(":"))).toBe(hex);
  expect(parseFingerprint(`sha256:${hex}`)).toBe(hex);
  expect(parseFingerprint(hex.slice(2))).toBeUndefined();
});
