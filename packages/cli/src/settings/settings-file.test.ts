import { expect, test } from "vitest";
import { parseSettings } from "./settings-file.ts";

function read(content: string): object {
  const { values, problems } = parseSettings(content, "pool.yaml");
  return { ...Object.fromEntries(values), ...(problems.length === 0 ? {} : { problems }) };
}

test("values are taken as they are written, so that no number loses a digit", () => {
  expect(
    read(`
# a comment
price-per-unit: 1000000000000000000001
commission: 2.50%
listen: 0.0.0.0:8935
network: "offchain"
join: [open, registered]
loop: true
hex: 0x10
`),
  ).toEqual({
    "price-per-unit": "1000000000000000000001",
    commission: "2.50%",
    listen: "0.0.0.0:8935",
    network: "offchain",
    join: "open,registered",
    loop: "true",
    hex: "0x10",
  });
});

test.each(["", "# nothing\n", "---\n", "null"])("an empty file (%j) sets nothing", (content) => {
  expect(read(content)).toEqual({});
});

test.each([
  ["listen: a:1\nlisten: b:2", "pool.yaml line 2", /unique/],
  ["listen: [a: 1", "pool.yaml line 1", /flow/i],
  ["- listen", "pool.yaml line 1", /list of settings/],
  ["listen:\n  host: a", "pool.yaml line 1", /one value/],
  ["a: b\nlisten:", "pool.yaml line 2", /no value/],
  ["join:\n  - [open]", "pool.yaml line 1", /plain values/],
])("%j is told with its line", (content, where, problem) => {
  expect(parseSettings(content, "pool.yaml").problems[0]).toMatchObject({
    where,
    problem: expect.stringMatching(problem),
  });
});
