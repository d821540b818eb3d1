import { formatUnits } from "@openpool/base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  briefDigits,
  ethDigits,
  formatEth,
  formatGwei,
  formatWei,
  GROUP_SPACE,
  parseWei,
  percentOf,
  parseUnits,
} from "./amount.ts";

const plain = (text: string): string => text.replaceAll(GROUP_SPACE, " ");

describe("an amount in ETH", () => {
  test.each([
    [0n, "0"],
    [1n, "0.000 000 000 000 000 001"],
    [26_442_000_000n, "0.000 000 026 442"],
    [10n ** 16n, "0.01"],
    [18_442_120_000_000_000n, "0.018 442"],
    [10n ** 18n, "1"],
    [1_999_999_999_999_999_999n, "1.999 999"],
    [184_204_870_000_000_000_000n, "184.204"],
    [1_234_567n * 10n ** 18n, "1 234 567"],
    [-18_442_120_000_000_000n, "−0.018 442"],
    [10n ** 30n + 1n, "1 000 000 000 000"],
  ])("of %d wei reads %s", (wei, text) => {
    expect(plain(formatEth(wei))).toBe(text);
  });

  test("keeps the digits it is given, for columns", () => {
    expect(plain(formatEth(10n ** 16n, 6))).toBe("0.010 000");
    expect(plain(formatEth(0n, 6))).toBe("0");
  });

  test("is exact to its last digit at any size, and never more than there is", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 40n }), (wei) => {
        const text = formatEth(wei, 18).replaceAll(GROUP_SPACE, "");
        const [whole = "0", fraction = ""] = text.split(".");
        expect(BigInt(whole) * 10n ** 18n + BigInt(fraction.padEnd(18, "0"))).toBe(wei);
        const short = formatEth(wei).replaceAll(GROUP_SPACE, "");
        const [shortWhole = "0", shortFraction = ""] = short.split(".");
        const shown = BigInt(shortWhole) * 10n ** 18n + BigInt(shortFraction.padEnd(18, "0"));
        expect(shown <= wei).toBe(true);
        expect(wei > 0n && shown === 0n).toBe(false);
      }),
    );
  });
});

test("a column takes as many digits as its largest amount needs", () => {
  expect(ethDigits([])).toBe(6);
  expect(ethDigits([10n ** 15n, 10n ** 17n])).toBe(6);
  expect(ethDigits([500n * 10n ** 18n, 1n])).toBe(3);
  expect(ethDigits([26_442_000_000n, 5n])).toBe(12);
  expect(ethDigits([-26_442_000_000n])).toBe(12);
});

test("a headline shows fewer digits than a table, and still never nothing for something", () => {
  const brief = (wei: bigint): string => plain(formatEth(wei, briefDigits(wei)));
  expect(brief(549_333_333_333_333_333n)).toBe("0.549");
  expect(brief(3_613_333_333_333_333_333n)).toBe("3.613");
  expect(brief(18_442_120_000_000_000n)).toBe("0.018 442");
  expect(brief(1n)).toBe("0.000 000 000 000 000 001");
  expect(brief(0n)).toBe("0");
});

test("small amounts are told in gwei", () => {
  expect(plain(formatGwei(3_386_448_000n))).toBe("3.386");
  expect(plain(formatGwei(-1_234_567_999_999_999n))).toBe("−1 234 567.999");
  expect(plain(formatGwei(0n))).toBe("0.000");
});

test("wei are written whole", () => {
  expect(plain(formatWei(18_442_120_000_000_000n))).toBe("18 442 120 000 000 000 wei");
  expect(plain(formatWei(-1n))).toBe("−1 wei");
});

test("only decimal strings are read as wei", () => {
  expect(parseWei("12")).toBe(12n);
  expect(parseWei("-12")).toBe(-12n);
  for (const bad of ["", "1.5", "0x10", "1e18", " 1", "9".repeat(79)]) expect(parseWei(bad), bad).toBeUndefined();
});

test("a share in percent is cut to two digits", () => {
  expect(percentOf(1n, 3n)).toBe(33.33);
  expect(percentOf(2n * 10n ** 40n, 10n ** 40n)).toBe(200);
  expect(percentOf(1n, 0n)).toBe(0);
});

test("amounts that are typed in are exact, and come back as they were", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 29n }), fc.constantFrom(4, 9, 18), (amount, digits) => {
      expect(parseUnits(formatUnits(amount, digits), digits)).toBe(amount);
    }),
  );
  expect([parseUnits("0.05", 18), parseUnits(" 7 ", 0)]).toEqual([5n * 10n ** 16n, 7n]);
});

test.each(["", "x", "-1", "1e5", "1.23", ".5", "1.", "0x1", "1 000", "0,5", "1,500", "1 ETH"])(
  "%j is no amount with one digit behind the point",
  (typed) => {
    expect(parseUnits(typed, 1)).toBeUndefined();
  },
);
