import fc from "fast-check";
import { expect, test } from "vitest";
import { plainText } from "./plain-text.ts";

test.each([
  ["no room\nleft\ton\u0000device", "no room left on device"],
  ["\u001b[31mred\u001b[0m", "[31mred [0m"],
  ["\u202Eetihw", "etihw"],
  ["  ключ 🔑 ", "ключ 🔑"],
  ["half \ud83d", "half"],
  ["", ""],
])("%j reads %j", (text, read) => {
  expect(plainText(text)).toBe(read);
});

test("is never much longer than allowed, and always one line of Unicode", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.integer({ min: 1, max: 100 }), (text, maxLength) => {
      const read = plainText(text, maxLength);
      expect(read.length).toBeLessThanOrEqual(maxLength + 1);
      expect(read).not.toMatch(/[\p{Cc}\p{Cs}]/u);
      expect(JSON.parse(JSON.stringify(read))).toBe(read);
    }),
  );
});
