import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Everything that is part of the program: no tests, nothing generated. */
async function sources(folder: string): Promise<string[]> {
  const found = await Promise.all(
    (await readdir(folder, { withFileTypes: true })).map(async (item) => {
      const path = join(folder, item.name);
      if (item.isDirectory()) return ["testing", "gen"].includes(item.name) ? [] : sources(path);
      return item.name.endsWith(".ts") && !item.name.endsWith(".test.ts") ? [await readFile(path, "utf8")] : [];
    }),
  );
  return found.flat();
}

test("docs/errors.md lists every error code there is, and no other", async () => {
  const packages = await readdir(join(root, "packages"));
  const texts = (await Promise.all(packages.map((name) => sources(join(root, "packages", name, "src"))))).flat();
  const manual = await readFile(join(root, "docs/errors.md"), "utf8");
  const listed = [...manual.matchAll(/^\| `([a-z]+\/[a-z0-9-]+)` *\|/gm)].map((match) => match[1]!);
  const areas = new Set(listed.map((code) => code.split("/")[0]));
  for (const text of texts) for (const [, area] of text.matchAll(/\bcode: "([a-z]+)\//g)) areas.add(area);
  const used = new Set<string>();
  for (const text of texts) {
    for (const [, code] of text.matchAll(/"([a-z]+\/[a-z0-9-]+)"/g)) {
      if (code !== undefined && areas.has(code.split("/")[0])) used.add(code);
    }
  }
  expect([...listed].sort()).toEqual([...used].sort());
  expect(new Set(listed).size).toBe(listed.length);
});
