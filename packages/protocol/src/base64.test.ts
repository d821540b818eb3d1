import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBase64 } from "./base64.ts";

test("reads back whatever was encoded, line breaks included", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(), (data, at) => {
      const text = Buffer.from(data).toString("base64");
      const broken = `${text.slice(0, at % (text.length + 1))}\r\n${text.slice(at % (text.length + 1))}`;
      expect(decodeBase64(text)).toEqual(new Uint8Array(data));
      expect(decodeBase64(broken)).toEqual(new Uint8Array(data));
    }),
  );
});

test.each([
  ["!!!!", 0],
  ["AAAA*AAA", 4],
  ["AAAAA", 4],
  ["AA=A", 3],
  ["AA==AAAA", 4],
  ["=", 0],
  ["AA-_", 2],
])("says where %s goes wrong", (text, illegalAt) => {
  expect(decodeBase64(text)).toEqual({ illegalAt });
});
