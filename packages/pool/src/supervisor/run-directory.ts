import { createHash } from "node:crypto";
import { lstat, mkdir, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PoolError } from "@openpool/base";

/** A unix socket's path must fit into sun_path with its end mark; 37 are left for a slash and the longest name of a socket. */
const MAX_DIRECTORY_BYTES = (process.platform === "linux" ? 107 : 103) - 37;

const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_DIRECTORY_BYTES;

/** Makes a directory that is ours alone, or says that somebody else got there first. */
export async function privateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(path).then((found) => (found.isDirectory() ? found : { uid: -1, mode: 0 }));
  const ours = process.getuid?.() ?? uid;
  if (uid !== ours || (mode & 0o077) !== 0) {
    throw new PoolError(
      { code: "supervisor/unsafe-directory" },
      `${path} is not a private directory of this user: others could listen in. Remove it, or correct its owner and mode (0700).`,
    );
  }
}

/** A short name for a data directory that is the same however it is spelled. */
export function directoryTag(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 16);
}

/**
 * Where the sockets of a pool lie: `run/` in its data directory, or a private directory below the temporary one (or
 * `/tmp`) when that path is too long for a unix socket. The same for all who know the data directory, which must exist.
 */
export async function runDirectory(dataDir: string): Promise<string> {
  const path = await realpath(dataDir);
  const inside = join(path, "run");
  if (fits(inside)) return inside;
  const name = `openpool-${directoryTag(path)}`;
  const below = join(tmpdir(), name);
  return fits(below) ? below : join("/tmp", name);
}
