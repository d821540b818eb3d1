import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { errorText, PoolError } from "@openpool/base";

/** An account of this machine that Postgres may run as. */
export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Children get none of our environment: it may hold secrets, and another user can read theirs. */
export const cleanEnvironment: Readonly<Record<string, string>> = { LC_ALL: "C", PATH: "/usr/bin:/bin" };

async function accounts(): Promise<readonly (SystemUser & { readonly home: string })[]> {
  const text = await readFile("/etc/passwd", "utf8");
  return text.split("\n").flatMap((line) => {
    const [name, , uid, gid, , home = ""] = line.split(":");
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [];
  });
}

/** Whether a directory is somebody's home. */
export async function isHome(directory: string): Promise<boolean> {
  return (await accounts()).some(({ home }) => home === directory);
}

/** Who Postgres runs as when we are root, which it refuses: the system's `postgres` if there is one, else `nobody`. */
export async function unprivilegedUser(): Promise<SystemUser> {
  const all = await accounts();
  const user = ["postgres", "nobody"].map((name) => all.find((a) => a.name === name && a.uid !== 0)).find(Boolean);
  if (user) return user;
  throw new PoolError(
    { code: "store/no-unprivileged-user" },
    "Postgres refuses to run as root and this machine has neither a `postgres` nor a `nobody` account. Run the pool as another user, or use --database-url.",
  );
}

/** The account with a user id. initdb wants one that has a name. */
export async function userById(uid: number, gid: number): Promise<SystemUser> {
  const known = (await accounts()).find((a) => a.uid === uid);
  return known ? { ...known, gid } : { name: String(uid), uid, gid };
}

export interface RunResult {
  readonly ok: boolean;
  readonly stdout: string;
  /** What it said on stderr, or why it could not run. */
  readonly stderr: string;
}

/** Runs a short command, as `user` when given, with a clean environment and from `/`. Never throws. */
export function runAs(
  user: SystemUser | undefined,
  file: string,
  args: readonly string[],
  { input, timeoutMs = 60_000 }: { readonly input?: string; readonly timeoutMs?: number } = {},
): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      [...args],
      {
        cwd: "/",
        env: cleanEnvironment,
        timeout: timeoutMs,
        maxBuffer: 1 << 20,
        ...(user ? { uid: user.uid, gid: user.gid } : {}),
      },
      (error, stdout, stderr) =>
        resolve({ ok: !error, stdout, stderr: error ? stderr.trim() || errorText(error) : stderr }),
    );
    // A child that could not be spawned, or that does not read, must not take us with it.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input ?? "");
  });
}

/** Whether `user` can enter a directory. Asked by trying: modes alone do not tell about ACLs and mounts. */
export async function canEnter(user: SystemUser, directory: string): Promise<boolean> {
  return (await runAs(user, "/bin/sh", ["-c", 'cd -- "$1"', "sh", directory])).ok;
}
