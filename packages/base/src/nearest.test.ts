import * as fc from "fast-check";
import { expect, test } from "vitest";
import { nearest } from "./nearest.ts";

const names = ["data-dir", "listen", "admin-listen", "price-per-unit", "pixels-per-unit", "commission"];

test.each([
  ["lisen", "listen"],
  ["dataDir", "data-dir"],
  ["data_dir", "data-dir"],
  ["pirce-per-unit", "price-per-unit"],
  ["comission", "commission"],
  ["LISTEN", "listen"],
])("who types %s meant %s", (typed, meant) => {
  expect(nearest(typed, names)).toBe(meant);
});

test.each(["", "x", "bandwidth", "zzzzzz"])("nothing is near %j", (typed) => {
  expect(nearest(typed, names)).toBeUndefined();
});

test("a candidate is nearest to itself", () => {
  fc.assert(fc.property(fc.constantFrom(...names), (name) => nearest(name, names) === name));
});

test("any text gets an answer, at once", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 5_000 }), (text) => {
      const found = nearest(text, names);
      return found === undefined || names.includes(found);
    }),
  );
});
