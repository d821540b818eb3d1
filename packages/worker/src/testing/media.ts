import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { runTool } from "../devices/run-tool.ts";

/** Waits for something that another process or socket brings about. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => void setTimeout(resolve, 5));
}

/** What FFmpeg makes of these arguments; the output file's name, here a pattern with `%d` in it, comes last by itself. */
export async function ffmpegMadeAll(pattern: string, args: readonly string[]): Promise<Buffer[]> {
  const dir = await mkdtemp(join(tmpdir(), "openpool-media-"));
  try {
    const run = await runTool("ffmpeg", ["-y", "-v", "error", "-nostdin", ...args, pattern], {
      timeoutMs: 30_000,
      cwd: dir,
    });
    if (run.code !== 0) throw new Error(`ffmpeg: ${run.stderr}`);
    const names = (await readdir(dir)).filter((name) => name.endsWith(extname(pattern))).sort();
    return await Promise.all(names.map((name) => readFile(join(dir, name))));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The same for a single output file. */
export async function ffmpegMade(name: string, args: readonly string[]): Promise<Buffer> {
  const [made] = await ffmpegMadeAll(name, args);
  if (!made) throw new Error(`ffmpeg made no ${name}`);
  return made;
}

/** A moving test picture as input arguments. */
export function picture(size: string, rate: string, seconds: number): string[] {
  return ["-f", "lavfi", "-i", `testsrc2=size=${size}:rate=${rate}:duration=${seconds}`];
}

export const X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
export const TONE = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-c:a", "aac"];

/** What ffprobe, an outsider to all of this, says of a file: `entries` as for `-show_entries`. */
export async function ffprobed(data: Uint8Array, entries: string, select = "v:0"): Promise<Record<string, string>[]> {
  const { spawn } = await import("node:child_process");
  const child = spawn(
    "ffprobe",
    ["-v", "error", "-select_streams", select, "-count_packets", "-show_entries", entries, "-of", "json", "pipe:0"],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin.on("error", () => {});
  child.stdin.end(data);
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  const parsed = JSON.parse(text) as Record<string, Record<string, string>[]>;
  return parsed["streams"] ?? parsed["packets"] ?? parsed["frames"] ?? [];
}
