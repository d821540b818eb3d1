import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatEth, formatGwei, formatUnits } from "./amount.ts";

test.each([
  [0n, "0"],
  [1n, "0.000000000000000001"],
  [10n ** 18n, "1"],
  [-(10n ** 17n) * 15n, "-1.5"],
  [10n ** 40n + 5n, "10000000000000000000000.000000000000000005"],
])("%s wei are %s ETH", (wei, text) => {
  expect(formatEth(wei)).toBe(text);
});

test("gas prices read as people say them", () => {
  expect([formatGwei(10_000_000n), formatGwei(12n * 10n ** 9n)]).toEqual(["0.01", "12"]);
});

test("no digit is lost, whatever the unit", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 60n }), fc.integer({ min: 0, max: 77 }), (amount, decimals) => {
      const [whole = "", fraction = ""] = formatUnits(amount, decimals).split(".");
      expect(BigInt(whole + fraction.padEnd(decimals, "0"))).toBe(amount);
    }),
  );
});
