import { expect, test } from "vitest";
import { createStatusLine } from "./status-line.ts";

test("log lines go above the status, which is redrawn, cut to the terminal, and gone in the end", () => {
  let written = "";
  const line = createStatusLine(
    (text) => (written += text),
    () => 11,
  );
  const take = (): string => {
    const text = written.replaceAll("\r\u001b[K", "<");
    written = "";
    return text;
  };
  line.log("one\n");
  expect(take()).toBe("one\n");
  line.show("2/4 sessions, 17 done");
  expect(take()).toBe("<2/4 sessio");
  line.show("2/4 sessions, 18 done");
  expect(take()).toBe("");
  line.log("two\n");
  expect(take()).toBe("<two\n2/4 sessio");
  line[Symbol.dispose]();
  line.log("three\n");
  expect(take()).toBe("<three\n");
});
