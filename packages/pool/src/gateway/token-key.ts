import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** The key that signs session tokens: kept, so that sessions outlive a restart. */
export async function loadTokenKey(dataDir: string): Promise<Uint8Array> {
  const file = join(dataDir, "token.key");
  const stored = await readFile(file).catch(() => undefined);
  if (stored?.length === 32) return stored;
  const key = randomBytes(32);
  await writeFile(`${file}.new`, key, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return key;
}
