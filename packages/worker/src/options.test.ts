import { expect, test } from "vitest";
import { formatHostPort } from "@openpool/base";
import { parsePoolAddress } from "./options.ts";

test.each([
  ["pool.example:8935", "pool.example:8935"],
  ["pool.example", "pool.example:8935"],
  ["https://pool.example:9000/path", "pool.example:9000"],
  ["192.0.2.1:1", "192.0.2.1:1"],
  ["[::1]:8935", "[::1]:8935"],
  ["[2001:db8::1]", "[2001:db8::1]:8935"],
])("the pool at %s is %s", (text, address) => {
  const parsed = parsePoolAddress(text);
  expect(parsed && formatHostPort(parsed)).toBe(address);
});

test.each(["", "pool:0", "pool:70000", "pool:x", "a b:1", "::1"])("%j is no pool's address", (text) => {
  expect(parsePoolAddress(text)).toBeUndefined();
});
