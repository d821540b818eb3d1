import { execFile } from "node:child_process";

export interface ToolRun {
  /** Exit code; undefined when it was killed or never started. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** `ENOENT` and the like when it did not start. */
  readonly startError: string | undefined;
}

/** Runs a program to its end and returns what it said; never rejects. */
export function runTool(
  program: string,
  args: readonly string[],
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly cwd?: string },
): Promise<ToolRun> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      {
        timeout: options.timeoutMs,
        killSignal: "SIGKILL",
        maxBuffer: 4 << 20,
        windowsHide: true,
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : undefined) : 0;
        const startError = error && typeof error.code === "string" ? error.code : undefined;
        resolve({ code, stdout, stderr, startError });
      },
    );
    child.stdin?.on("error", () => {});
    child.stdin?.end();
  });
}
