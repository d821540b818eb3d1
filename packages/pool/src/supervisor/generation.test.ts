import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isNewer, nextGeneration } from "./generation.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "openpool-generation-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

test("every process gets the next generation, and none is 0", async () => {
  expect(await nextGeneration(dir)).toBe(1);
  expect(await nextGeneration(dir)).toBe(2);
  writeFileSync(join(dir, "generation"), "4095\n");
  expect(await nextGeneration(dir)).toBe(1);
  expect(readFileSync(join(dir, "generation"), "utf8")).toBe("1\n");
});

test("a file that is not ours to understand starts the count again", async () => {
  writeFileSync(join(dir, "generation"), "garbage");
  expect(await nextGeneration(dir)).toBe(1);
});

test.each([
  [2, 1, true],
  [1, 2, false],
  [7, 7, false],
  [1, 4095, true],
  [4095, 1, false],
  [3, 4090, true],
])("%i is newer than %i: %s", (a, b, newer) => {
  expect(isNewer(a, b)).toBe(newer);
});
