import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BadValue, type ValueKind } from "./option.ts";
import {
  bigintValue,
  bytesValue,
  choicesValue,
  choiceValue,
  durationValue,
  hideUrlPassword,
  hostPortValue,
  integerValue,
  percentValue,
  switchValue,
  urlValue,
} from "./option-kinds.ts";

/** The value, or the problem as a text. */
function read<T>(kind: ValueKind<T>, text: string): T | string {
  const value = kind.parse(text);
  return value instanceof BadValue ? `bad: ${value.problem}` : value;
}
const bad = expect.stringMatching(/^bad: /);

describe("a share", () => {
  test.each([
    ["25%", 250_000n],
    ["25 %", 250_000n],
    ["2.5%", 25_000n],
    ["0.0001%", 1n],
    ["33.3333%", 333_333n],
    ["0%", 0n],
    ["100%", 1_000_000n],
    ["250000ppm", 250_000n],
    ["1000000 ppm", 1_000_000n],
  ])("%s is exact", (text, ppm) => {
    expect(read(percentValue, text)).toBe(ppm);
  });

  test.each([
    "",
    "%",
    "25",
    "0.25",
    "-1%",
    "101%",
    "100.0001%",
    "0.00001%",
    "1e1%",
    "25%%",
    "1000001ppm",
    "twenty",
    "２５%",
  ])("%j is refused", (text) => {
    expect(read(percentValue, text)).toEqual(bad);
  });

  test("is written as it is read, whatever it is", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 1_000_000n }), (ppm) => {
        expect(percentValue.parse(percentValue.format(ppm))).toBe(ppm);
      }),
    );
  });
});

describe("wei", () => {
  const wei = bigintValue("WEI", { min: 0n, max: 10n ** 30n });
  test("of any size are exact", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n }), (value) => {
        expect(wei.parse(wei.format(value))).toBe(value);
      }),
    );
    expect(read(wei, "9007199254740993")).toBe(9_007_199_254_740_993n);
  });
  test.each(["", "-1", "1.5", "1e18", "0x10", "1_000", " 1", `1${"0".repeat(31)}`])("%j are refused", (text) => {
    expect(read(wei, text)).toEqual(bad);
  });
});

describe("an address to listen on", () => {
  const kind = hostPortValue({ anyHost: "0.0.0.0", minPort: 0 });
  test.each([
    ["127.0.0.1:8935", { host: "127.0.0.1", port: 8935 }],
    ["pool.example.com:443", { host: "pool.example.com", port: 443 }],
    [":8935", { host: "0.0.0.0", port: 8935 }],
    ["[::1]:0", { host: "::1", port: 0 }],
    ["[fe80::1%eth0]:1", { host: "fe80::1%eth0", port: 1 }],
  ])("%s is read", (text, value) => {
    expect(read(kind, text)).toEqual(value);
    expect(read(kind, kind.format(value))).toEqual(value);
  });
  test.each([
    "",
    "8935",
    "a:b",
    "a:65536",
    "::1:8935",
    "[::1]",
    "[]:1",
    "[1]:1",
    "a b:1",
    "https://a:1",
    "a:1/",
    "-a:1",
    "a:-1",
  ])("%j is refused", (text) => {
    expect(read(kind, text)).toEqual(bad);
  });
  test("needs a host where none stands for all", () => {
    expect(read(hostPortValue({ minPort: 1 }), ":1")).toEqual(bad);
    expect(read(hostPortValue({ minPort: 1 }), "a:0")).toEqual(bad);
  });
});

describe("bytes and times", () => {
  const bytes = bytesValue({ min: 1024 });
  const time = durationValue({ minMs: 0 });
  test.each([
    ["1024", 1024],
    ["1KiB", 1024],
    ["512MiB", 2 ** 29],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["2GB", 2e9],
    ["2kb", 2000],
  ])("%s is %d bytes", (text, value) => {
    expect(read(bytes, text)).toBe(value);
    expect(read(bytes, bytes.format(value))).toBe(value);
  });
  test.each(["", "1", "1TB?", "-1MiB", "1e9", "99999999999999GiB"])("%j is no number of bytes", (text) => {
    expect(read(bytes, text)).toEqual(bad);
  });
  test.each([
    ["0s", 0],
    ["500ms", 500],
    ["30s", 30_000],
    ["1.5m", 90_000],
    ["2 h", 7_200_000],
    ["1d", 86_400_000],
  ])("%s is %d ms", (text, value) => {
    expect(read(time, text)).toBe(value);
    expect(read(time, time.format(value))).toBe(value);
  });
  test.each(["", "5", "5 minutes", "-1s", "1s2"])("%j is no time", (text) => {
    expect(read(time, text)).toEqual(bad);
  });
});

test("a whole number keeps to its limits", () => {
  const kind = integerValue("N", { min: 1, max: 10 });
  expect(["1", "10", "0", "11", "1.0", "ten", ""].map((text) => typeof read(kind, text))).toEqual([
    "number",
    "number",
    ...Array.from({ length: 5 }, () => "string"),
  ]);
});

test("a choice that is nearly right is told the right one", () => {
  expect(read(choiceValue(["open", "registered"]), "registerd")).toBe(
    "bad: is not one of open, registered; did you mean registered?",
  );
  expect(read(choicesValue(["open", "registered"]), "registered, open,open")).toEqual(["registered", "open"]);
  expect(read(choicesValue(["open", "registered"]), "")).toEqual(bad);
});

test("a switch takes the usual words", () => {
  expect(["true", "yes", "on", "1"].map((text) => read(switchValue, text))).toEqual([true, true, true, true]);
  expect(["false", "no", "off", "0"].map((text) => read(switchValue, text))).toEqual([false, false, false, false]);
  expect(read(switchValue, "maybe")).toEqual(bad);
});

test("a URL has one of the schemes asked for", () => {
  const kind = urlValue("postgres://…", ["postgres:", "postgresql:"]);
  expect(read(kind, "postgres://u:p@h:5432/db")).toBe("postgres://u:p@h:5432/db");
  expect(read(kind, "mysql://h/db")).toEqual(bad);
  expect(read(kind, "db.example.com")).toEqual(bad);
});

test("no password in a URL is shown, not even in one that is none", () => {
  expect(hideUrlPassword("postgres://ada:secret@host/db?x=1")).toBe("postgres://ada:***@host/db?x=1");
  expect(hideUrlPassword("postgres://ada@host/db")).toBe("postgres://ada@host/db");
  expect(hideUrlPassword("postgres://host/db?user=ada&password=secret&x=1")).toBe(
    "postgres://host/db?user=ada&password=***&x=1",
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[!-~]{6,20}$/), (password) => {
      for (const text of [`postgres://ada:${password}@host/db`, `postgres:/ada:${password}@host`]) {
        // The rest of the text may hold a short password by chance; its shape may not.
        expect(hideUrlPassword(text)).not.toContain(`:${password}@`);
      }
    }),
  );
});
