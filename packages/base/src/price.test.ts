import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { feeWei, splitFee } from "./price.ts";

describe("splitFee", () => {
  test.each([
    [0n, 0n, 0n],
    [1n, 0n, 1n],
    [3n, 0n, 3n],
    [4n, 1n, 3n],
    [10_000n, 2_500n, 7_500n],
    [1_000_000_000_000_001n, 250_000_000_000_000n, 750_000_000_000_001n],
    [10n ** 30n, 250_000_000_000_000_000_000_000_000_000n, 750_000_000_000_000_000_000_000_000_000n],
  ])("of %s wei at 25 %% keeps %s and gives %s", (fee, commissionWei, earnedWei) => {
    expect(splitFee(fee, 250_000n)).toEqual({ commissionWei, earnedWei });
  });

  test("always adds up, whatever the fee and the commission", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n }), fc.bigInt({ min: 0n, max: 1_000_000n }), (fee, ppm) => {
        const { commissionWei, earnedWei } = splitFee(fee, ppm);
        expect(commissionWei + earnedWei).toBe(fee);
        expect(commissionWei).toBeGreaterThanOrEqual(0n);
        expect(earnedWei).toBeGreaterThanOrEqual(0n);
      }),
    );
  });
});

test("a fee rounds down to whole wei", () => {
  expect(feeWei(7n, { pricePerUnitWei: 3n, pixelsPerUnit: 2n })).toBe(10n);
  expect(feeWei(50n * 1280n * 720n, { pricePerUnitWei: 1000n, pixelsPerUnit: 1n })).toBe(46_080_000_000n);
});
