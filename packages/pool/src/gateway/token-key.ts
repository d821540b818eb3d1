import { randomBytes } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readKeptFile } from "../kept-file.ts";

/** The key that signs session tokens: kept, so that sessions outlive a restart. */
export async function loadTokenKey(dataDir: string): Promise<Uint8Array> {
  const file = join(dataDir, "token.key");
  const stored = await readKeptFile(file);
  if (stored?.length === 32) return stored;
  const key = randomBytes(32);
  await writeFile(`${file}.new`, key, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return key;
}
