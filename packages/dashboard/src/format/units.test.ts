import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatUnits, parseUnits } from "./units.ts";

test("amounts that are typed in are exact, and come back as they were", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 29n }), fc.constantFrom(4, 9, 18), (amount, digits) => {
      const text = formatUnits(amount, digits);
      fc.pre(text.split(".")[0]!.length <= 12);
      expect(parseUnits(text, digits)).toBe(amount);
    }),
  );
  expect([parseUnits("0.05", 18), parseUnits("0,5", 1), parseUnits(" 7 ", 0)]).toEqual([5n * 10n ** 16n, 5n, 7n]);
});

test.each(["", "x", "-1", "1e5", "1.23", ".5", "0x1", "1 000"])(
  "%j is no amount with one digit behind the point",
  (typed) => {
    expect(parseUnits(typed, 1)).toBeUndefined();
  },
);
