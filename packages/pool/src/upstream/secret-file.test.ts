import { expect, test } from "vitest";
import { secretFor } from "./secret-file.ts";

const NAMES = ["main", "other"];

test("the only line is the secret of all, a line with a name is that one's", () => {
  expect(secretFor("main", NAMES, "sekret\n", "f")).toBe("sekret");
  expect(secretFor("main", NAMES, "main=a=b\nother=c\n", "f")).toBe("a=b");
  expect(secretFor("other", NAMES, "main=a\r\nother=c\r\n", "f")).toBe("c");
});

test("what is missing is said without what is there", () => {
  expect(() => secretFor("main", NAMES, "\n", "f")).toThrow("f is empty");
  expect(() => secretFor("main", NAMES, "x=topsecret\ny=topsecret", "f")).toThrow('"main=SECRET"');
  expect(() => secretFor("main", NAMES, "x=topsecret\ny=topsecret", "f")).not.toThrow("topsecret");
});

test("the line of one orchestrator is never the secret of another", () => {
  expect(() => secretFor("main", NAMES, "other=topsecret\n", "f")).toThrow('"main=SECRET"');
  expect(secretFor("main", NAMES, "a=b\n", "f")).toBe("a=b");
});
