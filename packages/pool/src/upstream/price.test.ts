import fc from "fast-check";
import { expect, test } from "vitest";
import { parsePrice } from "./price.ts";

test("prices are read as go-livepeer writes them, exactly", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n }), fc.bigInt({ min: 1n, max: 2n ** 128n }), (wei, pixels) => {
      expect(parsePrice(`${wei}/${pixels}`)).toEqual({ pricePerUnitWei: wei, pixelsPerUnit: pixels });
      expect(parsePrice(`${wei}`)).toEqual({ pricePerUnitWei: wei, pixelsPerUnit: 1n });
    }),
  );
});

test.each(["", "1.5", "-1", "1/0", "1e3", "1/2/3", " 1", `${2n ** 129n}`, 12, null, undefined, {}])(
  "%s is no price",
  (text) => {
    expect(parsePrice(text)).toBeUndefined();
  },
);
