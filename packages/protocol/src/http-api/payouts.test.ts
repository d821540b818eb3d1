import { expect, test } from "vitest";
import { explorerOf } from "./payouts.ts";

test("the chains that pools pay on lead to their explorers, and a chain that nobody shows to none", () => {
  expect(explorerOf(42_161)).toBe("https://arbiscan.io");
  expect(explorerOf(421_614)).toBe("https://sepolia.arbiscan.io");
  expect(explorerOf(1)).toBe("https://etherscan.io");
  expect(explorerOf(11_155_111)).toBe("https://sepolia.etherscan.io");
  expect(explorerOf(31_337)).toBeUndefined();
});
