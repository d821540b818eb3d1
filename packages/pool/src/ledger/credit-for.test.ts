import * as fc from "fast-check";
import { expect, test } from "vitest";
import { creditFor } from "./credit-for.ts";

test("a credit says what it follows from", () => {
  const work = { pixels: 7n, price: { pricePerUnitWei: 3n, pixelsPerUnit: 2n }, commissionPpm: 250_000n };
  expect(creditFor(work)).toEqual({ ...work, feeWei: 10n, commissionWei: 2n, earnedWei: 8n });
});

test("a credit adds up and never charges more than the price", () => {
  const big = fc.bigInt(0n, 10n ** 40n);
  fc.assert(
    fc.property(
      big,
      big,
      fc.bigInt(1n, 10n ** 12n),
      fc.bigInt(0n, 1_000_000n),
      (pixels, pricePerUnitWei, pixelsPerUnit, commissionPpm) => {
        const { feeWei, commissionWei, earnedWei } = creditFor({
          pixels,
          price: { pricePerUnitWei, pixelsPerUnit },
          commissionPpm,
        });
        expect(commissionWei + earnedWei).toBe(feeWei);
        expect(feeWei * pixelsPerUnit <= pixels * pricePerUnitWei).toBe(true);
        expect((feeWei + 1n) * pixelsPerUnit > pixels * pricePerUnitWei).toBe(true);
      },
    ),
  );
});
