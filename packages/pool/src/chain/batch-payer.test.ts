import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { artifactFile, batchPayerArtifact } from "../../contracts/compile.ts";

test("the committed contract is what its source compiles to, byte for byte", () => {
  expect(readFileSync(artifactFile, "utf8")).toBe(batchPayerArtifact());
});
