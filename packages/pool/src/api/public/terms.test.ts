import { expect, test } from "vitest";
import { terms } from "./testing/samples.ts";
import { termsJson } from "./terms.ts";

const formula = (scheme: string, schemeOptions: Record<string, string | Record<string, string>>): readonly string[] =>
  termsJson({ ...terms, scheme, schemeOptions }).formula;

test.each([
  ["unit", {}, []],
  ["segment", { amountWei: "1" }, ["amountWei"]],
  ["segment", { amountWei: "1", per: "rendition-second" }, ["amountWei", "milliseconds"]],
  ["proportional", {}, ["periodMs"]],
  ["blend", { lambdaPpm: "250000" }, ["lambdaPpm", "periodMs"]],
  ["hook", { hook: "sha256:00" }, ["hook"]],
  ["unit", { uptime: { budgetWeiPerDay: "1" } }, ["budgetWeiPerDay", "slotMs"]],
] as const)(
  "the formula of %s with %j is its own, and names its parameters as they are named",
  (scheme, options, names) => {
    const lines = formula(scheme, options);
    expect(lines.slice(0, 2)).toEqual(formula("unit", {}).slice(0, 2));
    expect(lines[2]).toMatch(/^earned = /);
    for (const name of names) expect(lines.join("\n")).toContain(name);
  },
);
