import { expect, test } from "vitest";
import { secretFor } from "./secret-file.ts";

test("the only line is the secret of all, a line with a name is that one's", () => {
  expect(secretFor("main", "sekret\n", "f")).toBe("sekret");
  expect(secretFor("main", "main=a=b\nother=c\n", "f")).toBe("a=b");
  expect(secretFor("other", "main=a\r\nother=c\r\n", "f")).toBe("c");
});

test("what is missing is said without what is there", () => {
  expect(() => secretFor("main", "\n", "f")).toThrow("f is empty");
  expect(() => secretFor("main", "x=topsecret\ny=topsecret", "f")).toThrow('"main=SECRET"');
  expect(() => secretFor("main", "x=topsecret\ny=topsecret", "f")).not.toThrow("topsecret");
});
