import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadTlsIdentity } from "./front/certificate.ts";
import { loadTokenKey } from "./gateway/token-key.ts";

test.each([
  ["token.key", (dataDir: string) => loadTokenKey(dataDir)],
  [
    "tls/identity.pem",
    (dataDir: string) =>
      loadTlsIdentity({ dataDir, tlsCertFile: undefined, tlsKeyFile: undefined, host: "pool.example" }, Date.now()),
  ],
])("%s that is there and cannot be read is an error, and nothing new takes its place", async (name, load) => {
  const dataDir = await mkdtemp(join(tmpdir(), "openpool-kept-"));
  try {
    const file = join(dataDir, name);
    // Nobody can read a directory as a file, not even root.
    await mkdir(file, { recursive: true });
    await expect(load(dataDir)).rejects.toMatchObject({ info: { code: "supervisor/unreadable-file" } });
    expect((await stat(file)).isDirectory()).toBe(true);
    await rm(file, { recursive: true });
    await load(dataDir);
    expect(await load(dataDir)).toEqual(await load(dataDir));
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
