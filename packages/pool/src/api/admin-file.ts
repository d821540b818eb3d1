import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "@openpool/base";
import { z } from "zod";

const adminFileSchema = z.object({
  url: z.string(),
  tokenFile: z.string(),
  pid: z.int().positive(),
  supervisorPid: z.int().positive().optional(),
});

/** How the commands find the pool that runs in a data directory: `admin.json` in it. */
export interface AdminFile {
  /** `http://HOST:PORT` of the admin server, no trailing slash. */
  readonly url: string;
  /** The file with the token that allows writing. */
  readonly tokenFile: string;
  /** The process that serves. */
  readonly pid: number;
  /** The process to signal for a restart, when another one than the one that serves. */
  readonly supervisorPid?: number | undefined;
}

/** Tells the commands where this pool is; replaced in one step, so that no reader meets half a file. */
export async function writeAdminFile(dataDir: string, file: AdminFile): Promise<void> {
  const path = join(dataDir, "admin.json");
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(file, undefined, 2)}\n`);
  await rename(draft, path);
}

/** Who serves in this data directory, or undefined if nobody said so. What it says may be out of date. */
export async function readAdminFile(dataDir: string): Promise<AdminFile | undefined> {
  try {
    const parsed = adminFileSchema.safeParse(JSON.parse(await readFile(join(dataDir, "admin.json"), "utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR" || error instanceof SyntaxError)
      return undefined;
    throw error;
  }
}

/** Takes the note back, unless another process has written its own by now. */
export async function removeAdminFile(dataDir: string, pid: number): Promise<void> {
  const file = await readAdminFile(dataDir);
  if (file?.pid === pid) await rm(join(dataDir, "admin.json"), { force: true });
}

/** The token that allows writing through the admin port: made once, readable by the pool's user alone. */
export async function openAdminToken(dataDir: string): Promise<{ readonly token: string; readonly tokenFile: string }> {
  const tokenFile = join(dataDir, "admin-token");
  await mkdir(dataDir, { recursive: true });
  try {
    await writeFile(tokenFile, `${randomBytes(32).toString("base64url")}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    await chmod(tokenFile, 0o600);
  }
  return { token: (await readFile(tokenFile, "utf8")).trim(), tokenFile };
}

/** Compares secrets in a time that tells nothing about them. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
