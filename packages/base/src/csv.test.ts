import { expect, test } from "vitest";
import { csvLine } from "./csv.ts";

test("cells are quoted where they must be, numbers stay numbers, and no text is a formula", () => {
  expect(csvLine(["plain", -5n, 1.5, undefined, 'say "so", now', "two\nlines"])).toBe(
    'plain,-5,1.5,,"say ""so"", now","two\nlines"',
  );
  for (const text of ["=1+1", "+1", "-1", "@a", "\ta"]) expect(csvLine([text])).toBe(`'${text}`);
  expect(csvLine(["\ra"])).toBe(`"'\ra"`);
});
