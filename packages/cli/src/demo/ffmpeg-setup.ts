import { execFile, spawn } from "node:child_process";
import { errorText, PoolError } from "@openpool/base";

class FfmpegSetupError extends PoolError<{
  readonly code: "demo/no-ffmpeg" | "demo/ffmpeg-install-failed" | "demo/ffmpeg-without-x264";
}> {}

/** How to run programs, so that tests need not install anything. */
export interface Host {
  /** Runs a program to its end; undefined: there is no such program. */
  run(program: string, args: readonly string[]): Promise<{ readonly ok: boolean; readonly output: string } | undefined>;
  /** Runs a program whose output the user should see. */
  show(program: string, args: readonly string[]): Promise<boolean>;
  readonly isRoot: boolean;
}

interface PackageManager {
  readonly program: string;
  /** Tried in order until one works, each a row of commands. */
  readonly ways: readonly (readonly (readonly string[])[])[];
}

const managers: readonly PackageManager[] = [
  {
    program: "apt-get",
    ways: [
      [
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "ffmpeg"],
      ],
    ],
  },
  // Fedora's own package has no x264; the full one comes from RPM Fusion, where that is set up.
  { program: "dnf", ways: [[["dnf", "install", "-y", "ffmpeg"]], [["dnf", "install", "-y", "ffmpeg-free"]]] },
  { program: "yum", ways: [[["yum", "install", "-y", "ffmpeg"]]] },
  { program: "pacman", ways: [[["pacman", "-Sy", "--noconfirm", "--needed", "ffmpeg"]]] },
  { program: "apk", ways: [[["apk", "add", "--no-cache", "ffmpeg"]]] },
  { program: "zypper", ways: [[["zypper", "--non-interactive", "install", "ffmpeg"]]] },
];

/**
 * Makes sure that FFmpeg and ffprobe are here and can encode H.264: installs them with the system's package manager where
 * that is allowed and possible, and otherwise says in one line what to do.
 *
 * @throws FfmpegSetupError
 */
export async function ensureFfmpeg(
  options: { readonly mayInstall: boolean },
  { host, say }: { readonly host: Host; readonly say: (line: string) => void },
): Promise<void> {
  if (!(await hasFfmpeg(host))) {
    const manager = await firstManager(host);
    const byHand = manager
      ? `install it with \`${manager.ways[0]!.map((command) => command.join(" ")).join(" && ")}\` (as root)`
      : "install FFmpeg (https://ffmpeg.org/download.html) so that `ffmpeg` and `ffprobe` are on the PATH";
    const prefix = host.isRoot ? [] : (await host.run("sudo", ["-n", "true"]))?.ok ? ["sudo", "-n"] : undefined;
    if (!options.mayInstall || !manager || !prefix) {
      throw new FfmpegSetupError({ code: "demo/no-ffmpeg" }, `FFmpeg is not installed: ${byHand}, then start again`);
    }
    await install(manager, prefix, host, say);
    if (!(await hasFfmpeg(host))) {
      throw new FfmpegSetupError(
        { code: "demo/ffmpeg-install-failed" },
        `${manager.program} could not install FFmpeg: ${byHand}, then start again`,
      );
    }
  }
  const encoders = await host.run("ffmpeg", ["-hide_banner", "-encoders"]);
  if (!/\blibx264\b/.test(encoders?.output ?? "")) {
    throw new FfmpegSetupError(
      { code: "demo/ffmpeg-without-x264" },
      "this FFmpeg cannot encode H.264 on the processor (no libx264): install a full build, on Fedora from RPM Fusion",
    );
  }
}

async function hasFfmpeg(host: Host): Promise<boolean> {
  const found = await Promise.all(["ffmpeg", "ffprobe"].map((program) => host.run(program, ["-version"])));
  return found.every((one) => one?.ok);
}

async function firstManager(host: Host): Promise<PackageManager | undefined> {
  for (const manager of managers) {
    if (await host.run(manager.program, ["--version"])) return manager;
  }
  return undefined;
}

async function install(
  manager: PackageManager,
  prefix: readonly string[],
  host: Host,
  say: (line: string) => void,
): Promise<void> {
  for (const way of manager.ways) {
    let ok = true;
    for (const command of way) {
      const [program, ...args] = [...prefix, ...command];
      say(`FFmpeg is missing, installing it: ${[...prefix, ...command].join(" ")}`);
      ok = program !== undefined && (await host.show(program, args));
      if (!ok) break;
    }
    if (ok) return;
  }
}

/** This machine. Output of installers goes to `write`. */
export function thisHost(write: (text: string) => void): Host {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return {
    isRoot: process.getuid?.() === 0,
    run: (program, args) =>
      new Promise((resolve) => {
        execFile(program, [...args], { env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
          const missing = error !== null && "code" in error && error.code === "ENOENT";
          resolve(missing ? undefined : { ok: error === null, output: stdout + stderr });
        });
      }),
    show: (program, args) =>
      new Promise((resolve) => {
        const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
        child.stdout.on("data", (chunk) => write(String(chunk)));
        child.stderr.on("data", (chunk) => write(String(chunk)));
        child.on("error", (error) => {
          write(`${errorText(error)}\n`);
          resolve(false);
        });
        child.on("close", (code) => resolve(code === 0));
      }),
  };
}
