import { spawn } from "node:child_process";
import { createLogReader, type FfmpegLog } from "./ffmpeg-log.ts";

export type ChildEnd =
  | { readonly kind: "exited"; readonly code: number }
  /** Something else than us ended it. */
  | { readonly kind: "died"; readonly signal: NodeJS.Signals }
  | { readonly kind: "not-started"; readonly why: string }
  /** We ended it. */
  | { readonly kind: "stopped" };

export interface FfmpegChild {
  /** What it has said so far. */
  readonly log: FfmpegLog;
  /** Gives it its input and closes that. */
  feed(data: Uint8Array): void;
  /** Ends it at once: nothing that it would still write is wanted. */
  stop(): void;
  /** Settles when the process is gone and all of its output was read; never rejects. */
  readonly ended: Promise<ChildEnd>;
}

export interface FfmpegChildOptions {
  readonly ffmpegPath: string;
  readonly args: readonly string[];
  /** Where it runs: file names in `args` are relative to it, so that no path needs FFmpeg's quoting. */
  readonly cwd: string;
  /** Called on the first error of its decoder; the input is damaged and the rest of the work wasted. */
  readonly onDecodeError?: () => void;
}

/** Starts an FFmpeg that reads its input from us. */
export function startFfmpeg({ ffmpegPath, args, cwd, onDecodeError }: FfmpegChildOptions): FfmpegChild {
  const child = spawn(ffmpegPath, args, { cwd, stdio: ["pipe", "ignore", "pipe"], windowsHide: true });
  const reader = createLogReader(onDecodeError);
  let stopped = false;
  let failed: string | undefined;
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => reader.push(text));
  // It may end before it has read everything: a broken pipe is no news.
  child.stdin.on("error", () => {});
  const ended = new Promise<ChildEnd>((resolve) => {
    child.once("error", (error) => {
      failed = error.message;
      if (child.pid === undefined) resolve({ kind: "not-started", why: error.message });
    });
    child.once("close", (code, signal) => {
      reader.end();
      if (stopped) resolve({ kind: "stopped" });
      else if (code !== null) resolve({ kind: "exited", code });
      else if (signal !== null) resolve({ kind: "died", signal });
      else resolve({ kind: "not-started", why: failed ?? "unknown reason" });
    });
  });
  return {
    log: reader.log,
    feed(data) {
      child.stdin.end(data);
    },
    stop() {
      stopped = true;
      child.stdin.destroy();
      child.kill("SIGKILL");
    },
    ended,
  };
}
