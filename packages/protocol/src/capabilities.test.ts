import { expect, test } from "vitest";
import { capabilitySetFromWords, capabilityWords, isSubset } from "./capabilities.ts";

test("a set survives its words", () => {
  const set = (1n << 200n) | (1n << 64n) | 5n;
  expect(capabilitySetFromWords(capabilityWords(set))).toBe(set);
  expect(capabilitySetFromWords([5n, 0n, 0n])).toBe(5n);
});

test("a quarter of a million words are read as quickly as one, and ask for what nobody has", () => {
  const words = Array.from({ length: 250_000 }, () => 1n);
  const set = capabilitySetFromWords(words);
  expect(set).toBeLessThan(1n << 1025n);
  expect(isSubset(set, (1n << 1024n) - 1n)).toBe(false);
  expect(capabilitySetFromWords(Array.from({ length: 250_000 }, () => 0n))).toBe(0n);
});
