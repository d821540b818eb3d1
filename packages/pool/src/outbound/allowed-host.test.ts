import { expect, test } from "vitest";
import { isAllowedHost } from "./allowed-host.ts";

test.each([
  ["https://store.example/a", "store.example", true],
  ["https://store.example/a", "store.example:443", true],
  ["http://store.example/a", "store.example:80", true],
  ["http://store.example/a", "store.example:443", false],
  ["https://STORE.example:8443/a", "store.example:8443", true],
  ["https://store.example:8443/a", "store.example:443", false],
  ["https://[fd00::1]/a", "[fd00::1]:443", true],
  ["https://other.example/a", "store.example", false],
])("%s with %s allowed: %s", (url, allowed, expected) => {
  expect(isAllowedHost(new URL(url), new Set([allowed]))).toBe(expected);
});
