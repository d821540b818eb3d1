import { describe, expect, test } from "vitest";
import { option, type OptionSource, resolveOptions } from "./option.ts";
import { bigintValue, hostPortValue, pathValue, percentValue, textValue } from "./option-kinds.ts";

const definitions = {
  listen: option({
    name: "listen",
    kind: hostPortValue({ minPort: 1 }),
    default: "localhost:8935",
    help: "where",
    group: "Pool",
  }),
  pricePerUnit: option({
    name: "price-per-unit",
    kind: bigintValue("WEI", { min: 0n, max: 10n ** 30n }),
    default: "1000",
    help: "price",
    group: "Pool",
  }),
  commission: option({ name: "commission", kind: percentValue, default: "25%", help: "share", group: "Pool" }),
  tlsCert: option({ name: "tls-cert", kind: pathValue("FILE"), help: "certificate", group: "Pool" }),
  key: option({ name: "key", kind: textValue("KEY"), help: "key", group: "Pool", show: () => "***" }),
} as const;

function source(origin: OptionSource["origin"], values: Record<string, string>): OptionSource {
  return { origin, label: (name) => `${origin}:${name}`, values: new Map(Object.entries(values)) };
}

test("a flag wins over the environment, that over the file, that over the default", () => {
  const resolved = resolveOptions(definitions, [
    source("flag", { listen: "a:1" }),
    source("environment", { listen: "b:2", "price-per-unit": "7" }),
    source("file", { listen: "c:3", "price-per-unit": "8", commission: "1%" }),
  ]);
  expect(resolved.problems).toEqual([]);
  expect(resolved.values).toEqual({ listen: { host: "a", port: 1 }, pricePerUnit: 7n, commission: 10_000n });
  expect(resolved.values.tlsCert).toBeUndefined();
  expect(Object.values(resolved.inForce).map((one) => [one.option.name, one.text, one.from])).toEqual([
    ["listen", "a:1", "flag:listen"],
    ["price-per-unit", "7", "environment:price-per-unit"],
    ["commission", "1%", "file:commission"],
    ["tls-cert", undefined, "default"],
    ["key", undefined, "default"],
  ]);
});

describe("problems", () => {
  test("are all told at once, unknown names with the nearest known one", () => {
    const resolved = resolveOptions(definitions, [
      source("flag", { lisen: "a:1", commission: "25" }),
      source("environment", { "price-per-unit": "many" }),
      source("file", { bandwidth: "1" }),
    ]);
    expect(resolved.problems).toEqual([
      { where: "flag:lisen", problem: "is not a setting; did you mean flag:listen?" },
      { where: "file:bandwidth", problem: "is not a setting" },
      { where: "environment:price-per-unit", problem: expect.stringContaining(`"many" is not a whole number`) },
      { where: "flag:commission", problem: expect.stringContaining(`"25" has no unit`) },
    ]);
  });

  test("with a secret do not show it", () => {
    const resolved = resolveOptions(definitions, [source("environment", { key: "" })]);
    expect(resolved).toMatchObject({ problems: [{ problem: `"***" is empty` }] });
  });
});
