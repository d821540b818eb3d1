import { expect, test } from "vitest";
import { parseFingerprint } from "./dial.ts";

test("a fingerprint is read as openssl prints it, and as plain hex", () => {
  const hex = "ab".repeat(32);
  expect(parseFingerprint(hex.toUpperCase().match(/../g)!.join(":"))).toBe(hex);
  expect(parseFingerprint(`sha256:${hex}`)).toBe(hex);
  expect(parseFingerprint(hex.slice(2))).toBeUndefined();
});
