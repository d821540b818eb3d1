import type { Keyboard, Terminal } from "./demo/screen.ts";

/** What a command may touch of the world around it: handed in, so that tests run commands inside their own process. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths start here. */
  readonly cwd: string;
  /** What `~` stands for. */
  readonly home: string;
  /** Writes data. Resolves when the reader keeps up, and rejects never: a reader that is gone ends the program. */
  out(text: string): Promise<void>;
  /** Writes everything that is not data: logs, progress, errors. */
  err(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Aborted by the first SIGINT or SIGTERM: finish what is held, then end. The second one ends the process. */
  readonly stop: AbortSignal;
  /** Aborted by the second one, shortly before the process ends. */
  readonly kill: AbortSignal;
  /** From now on SIGHUP calls this instead of ending the program. */
  onHangup(callback: () => void): void;
  /** The command line that starts this program again, without its arguments. */
  readonly self: readonly [string, ...string[]];
  /** The terminal to draw on and the keyboard before it, where there are both. */
  readonly terminal: Terminal | undefined;
  readonly keyboard: Keyboard | undefined;
}

/** What a command ends with. `docs/cli.md` explains them; scripts rely on them. */
export const exitCode = {
  ok: 0,
  /** It ran, and what was asked for was not achieved. */
  failed: 1,
  /** A flag, variable or file is wrong; nothing was started. */
  usage: 2,
  /** No pool answers where one was looked for. */
  unreachable: 3,
  /** The pool answered: no. */
  refused: 4,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** How a command runs; what it throws is told to the user and becomes an exit code. */
export type Run = (io: Io) => Promise<ExitCode>;
