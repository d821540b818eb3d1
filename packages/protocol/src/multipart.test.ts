import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { multipartBoundary, parseMultipart } from "./multipart.ts";

const limits = { maxParts: 20, maxPartBytes: 1 << 20 };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function build(boundary: string, parts: readonly { headers: Record<string, string>; data: Uint8Array }[]): Uint8Array {
  const chunks: Uint8Array[] = [];
  parts.forEach((part, i) => {
    chunks.push(bytes(`${i ? "\r\n" : ""}--${boundary}\r\n`));
    for (const [name, value] of Object.entries(part.headers)) chunks.push(bytes(`${name}: ${value}\r\n`));
    chunks.push(bytes("\r\n"), part.data);
  });
  chunks.push(bytes(`\r\n--${boundary}--\r\n`));
  const body = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

/** Data that likes to look like delimiters. */
const nasty = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(bytes("\r\n--"), bytes("\r\n--b"), bytes("\r\n--b-"), bytes("\r\n")),
    ),
  )
  .map((chunks) => Uint8Array.from(chunks.flatMap((chunk) => [...chunk])));

describe("parseMultipart", () => {
  test("gives back any parts, with and without a true Content-Length", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ data: nasty, length: fc.constantFrom("right", "none", "wrong") }), {
          minLength: 1,
          maxLength: 5,
        }),
        (wanted) => {
          const boundary = "bZ2q7"; // no generated data contains it
          const parts = wanted.map(({ data, length }) => ({
            data,
            headers: {
              "Content-Type": "video/mp2t",
              Pixels: "42",
              ...(length === "right" ? { "Content-Length": String(data.length) } : {}),
              ...(length === "wrong" ? { "Content-Length": String(data.length + 3) } : {}),
            } as Record<string, string>,
          }));
          const parsed = parseMultipart(build(boundary, parts), boundary, limits);
          if (typeof parsed === "string") throw new Error(parsed);
          expect(parsed.map((part) => [...part.data])).toEqual(wanted.map(({ data }) => [...data]));
          expect(parsed.every((part) => part.headers.get("pixels") === "42")).toBe(true);
        },
      ),
    );
  });

  test("never throws and never returns more than it was given, whatever the bytes", () => {
    fc.assert(
      fc.property(nasty, (body) => {
        const parsed = parseMultipart(body, "b", limits);
        if (typeof parsed !== "string") {
          expect(parsed.reduce((sum, part) => sum + part.data.length, 0)).toBeLessThanOrEqual(body.length);
        }
      }),
    );
  });

  test.each([
    ["nothing", "", "multipart: NextPart: EOF"],
    ["another boundary", "--c\r\n\r\nx\r\n--c--", "multipart: NextPart: EOF"],
    ["no closing boundary", "--b\r\nPixels: 1\r\n\r\nabc", "unexpected EOF"],
    ["headers without end", "--b\r\nPixels: 1\r\nabc\r\n--b--", "multipart: part headers missing or too long"],
    ["a header without a colon", "--b\r\nPixels\r\n\r\nabc\r\n--b--", "malformed MIME header line"],
  ])("refuses a body with %s", (_, body, problem) => {
    expect(parseMultipart(bytes(body), "b", limits)).toBe(problem);
  });

  test("refuses too many parts and too large ones", () => {
    const part = { headers: {}, data: bytes("0123456789") };
    expect(parseMultipart(build("b", [part, part]), "b", { ...limits, maxParts: 1 })).toBe(
      "multipart: more than 1 parts",
    );
    expect(parseMultipart(build("b", [part]), "b", { ...limits, maxPartBytes: 9 })).toMatch("too large");
  });
});

test.each([
  ["multipart/mixed; boundary=abc", "abc"],
  ['multipart/mixed; boundary="a b;c"', "a b;c"],
  ["multipart/mixed; charset=x; Boundary=abc; y=z", "abc"],
  ["multipart/mixed", undefined],
  ["multipart/mixed; boundary=", undefined],
])("the boundary of %s is %s", (type, boundary) => {
  expect(multipartBoundary(type)).toBe(boundary);
});
