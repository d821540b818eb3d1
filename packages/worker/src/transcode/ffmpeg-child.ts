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
  /** Gives it its input and closes that; calls back when it has read nearly all of it. */
  feed(data: Uint8Array, onRead?: () => void): void;
  /** Calls back on the first error of its decoder, also one that has happened already. */
  onDecodeError(callback: () => void): void;
  /** It has ended. */
  readonly over: boolean;
  /** Ends it at once: nothing that it would still write is wanted. */
  stop(): void;
  /** Settles when the process is gone and all of its output was read; never rejects. */
  readonly ended: Promise<ChildEnd>;
}

export interface FfmpegChildOptions {
  readonly ffmpegPath: string;
  /** A program and its arguments that start FFmpeg instead of us; empty: none. */
  readonly wrapper: readonly string[];
  readonly args: readonly string[];
  /** Where it runs: file names in `args` are relative to it, so that no path needs FFmpeg's quoting. */
  readonly cwd: string;
}

/** Starts an FFmpeg that reads its input from us. */
export function startFfmpeg({ ffmpegPath, wrapper, args, cwd }: FfmpegChildOptions): FfmpegChild {
  const [program = ffmpegPath, ...rest] = [...wrapper, ffmpegPath];
  const child = spawn(program, [...rest, ...args], { cwd, stdio: ["pipe", "ignore", "pipe"], windowsHide: true });
  let onDecodeError = (): void => {};
  const reader = createLogReader(() => onDecodeError());
  let stopped = false;
  let over = false;
  let failed: string | undefined;
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => reader.push(text));
  // It may end before it has read everything: a broken pipe is no news.
  child.stdin.on("error", () => {});
  const ended = new Promise<ChildEnd>((resolve) => {
    child.once("error", (error) => {
      failed = error.message;
      over = child.pid === undefined;
      if (over) resolve({ kind: "not-started", why: error.message });
    });
    child.once("close", (code, signal) => {
      over = true;
      reader.end();
      if (stopped) resolve({ kind: "stopped" });
      else if (code !== null) resolve({ kind: "exited", code });
      else if (signal !== null) resolve({ kind: "died", signal });
      else resolve({ kind: "not-started", why: failed ?? "unknown reason" });
    });
  });
  return {
    log: reader.log,
    feed(data, onRead) {
      if (onRead) child.stdin.once("finish", onRead);
      child.stdin.end(data);
    },
    onDecodeError(callback) {
      onDecodeError = callback;
      if (reader.log.decodeErrors > 0) callback();
    },
    get over() {
      return over;
    },
    stop() {
      if (over) return;
      stopped = true;
      child.stdin.destroy();
      child.kill("SIGKILL");
    },
    ended,
  };
}
