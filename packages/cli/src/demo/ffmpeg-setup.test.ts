import { expect, test } from "vitest";
import { ensureFfmpeg, type Host } from "./ffmpeg-setup.ts";

/** A machine that has the named programs; installing adds `ffmpeg` and `ffprobe`, unless it fails. */
function machine(options: {
  readonly has: readonly string[];
  readonly isRoot?: boolean;
  readonly failing?: readonly string[];
  readonly encoders?: string;
}): Host & { readonly ran: string[] } {
  const programs = new Set(options.has);
  const ran: string[] = [];
  return {
    ran,
    isRoot: options.isRoot ?? false,
    async run(program, args) {
      if (!programs.has(program)) return undefined;
      const output = args.includes("-encoders") ? (options.encoders ?? " V....D libx264  H.264") : "version";
      return { ok: true, output };
    },
    async show(program, args) {
      const line = [program, ...args].join(" ");
      ran.push(line);
      if (options.failing?.includes(line)) return false;
      if (line.includes(" ffmpeg")) {
        programs.add("ffmpeg");
        programs.add("ffprobe");
      }
      return true;
    },
  };
}

/** What it said and what it threw. */
async function ensure(host: Host, mayInstall = true): Promise<{ readonly said: string[]; readonly error: string }> {
  const said: string[] = [];
  const error = await ensureFfmpeg({ mayInstall }, { host, say: (line) => said.push(line) }).then(
    () => "",
    (thrown: unknown) => String(thrown),
  );
  return { said, error };
}

test("nothing is installed where FFmpeg is there", async () => {
  const host = machine({ has: ["ffmpeg", "ffprobe", "apt-get"], isRoot: true });
  expect(await ensure(host)).toEqual({ said: [], error: "" });
  expect(host.ran).toEqual([]);
});

test("root installs it with the system's package manager and says so", async () => {
  const host = machine({ has: ["apt-get"], isRoot: true });
  const { said, error } = await ensure(host);
  expect(error).toBe("");
  expect(host.ran).toEqual(["apt-get update -qq", "apt-get install -y -qq --no-install-recommends ffmpeg"]);
  expect(said).toHaveLength(2);
  expect(said[1]).toContain("apt-get install");
});

test("another user does so with sudo, where that asks for no password", async () => {
  const host = machine({ has: ["sudo", "pacman"] });
  expect((await ensure(host)).error).toBe("");
  expect(host.ran).toEqual(["sudo -n pacman -Sy --noconfirm --needed ffmpeg"]);
});

test("a second package is tried where the first one does not exist", async () => {
  const host = machine({ has: ["dnf"], isRoot: true, failing: ["dnf install -y ffmpeg"] });
  expect((await ensure(host)).error).toBe("");
  expect(host.ran).toEqual(["dnf install -y ffmpeg", "dnf install -y ffmpeg-free"]);
});

test.each([
  ["without the right to", machine({ has: ["apt-get"] }), true, "apt-get install"],
  ["when told not to", machine({ has: ["apt-get"], isRoot: true }), false, "apt-get install"],
  ["without a package manager that it knows", machine({ has: ["sudo"] }), true, "ffmpeg.org"],
] as const)("%s it installs nothing and says in one line what to do", async (_why, host, mayInstall, advice) => {
  const { error } = await ensure(host, mayInstall);
  expect(error).toContain("[demo/no-ffmpeg]");
  expect(error).toContain(advice);
  expect(error).not.toContain("\n");
  expect(host.ran).toEqual([]);
});

test("an install that fails, and an FFmpeg without x264, are told", async () => {
  const failing = machine({ has: ["zypper"], isRoot: true, failing: ["zypper --non-interactive install ffmpeg"] });
  expect((await ensure(failing)).error).toContain("[demo/ffmpeg-install-failed]");
  const crippled = machine({ has: ["ffmpeg", "ffprobe"], encoders: " V....D libopenh264  OpenH264" });
  expect((await ensure(crippled)).error).toContain("[demo/ffmpeg-without-x264]");
});
