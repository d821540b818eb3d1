import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

test("docs/events.md has every type of event that the pool appends, and no other", async () => {
  const source = new URL("../", import.meta.url);
  const files = (await readdir(source, { recursive: true })).filter((name) => /(?<!\.test)\.ts$/.test(name));
  const appended = new Set<string>();
  for (const file of files) {
    if (file.includes("testing/")) continue;
    const text = await readFile(new URL(file, source), "utf8");
    for (const [, type] of text.matchAll(/(?:\btype: |[#.]record\([^"]*?)"([a-z]+\.[a-z-]+)"/g))
      appended.add(type ?? "");
  }
  const doc = await readFile(new URL("../../../../docs/events.md", import.meta.url), "utf8");
  // The first column of the tables of types.
  const rows = doc.matchAll(/^\| ((?:`[a-z]+\.[a-z-]+`(?:, )?)+)\s+\|/gm);
  const documented = [...rows].flatMap(([, cell]) => [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, type]) => type));
  expect(documented.toSorted()).toEqual([...appended].toSorted());
});
